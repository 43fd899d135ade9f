"""Every game by its name: how it is dealt, and how it is played and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from fedbench.attack import Attack, Game, Guess, Sight
from fedbench.data import Cohort
from fedbench.errors import Unsupported
from fedbench.games.canaries import Claim
from fedbench.games.dealing import (
    Challenge,
    attribute_challenges,
    membership_challenge,
    secrets_of,
)
from fedbench.games.inference import play_attribute
from fedbench.games.linkage import halves_of, linkage_challenges, play_linkage
from fedbench.games.membership import play_membership
from fedbench.games.planted import play_planted
from fedbench.games.property import play_property, properties_of, property_challenges
from fedbench.games.reconstruction import play_reconstruction, reconstruction_challenges
from fedbench.games.scoring import Scored
from fedbench.games.singling import play_singling, singling_challenges
from fedbench.games.source import play_source, source_challenges
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Rng, Seeds

__all__ = ["PLAYED", "Beside", "Dealt", "deal", "play"]

Played = tuple[Guess, list[Scored]]


@dataclass(frozen=True)
class Dealt:
    """Whom a game is about.

    ``members`` were trained on and ``others`` not, each by hospital. ``everybody`` is the whole
    cohort, from which is chosen what is asked, so that every cell is asked the same; ``secrets``
    is how many are asked for at most, unless ``named`` says which. ``claim`` is what is promised
    about members.
    """

    everybody: Cohort
    members: Mapping[str, Cohort]
    others: Mapping[str, Cohort]
    secrets: int = 2
    claim: Claim = field(default_factory=Claim)
    named: tuple[str, ...] = ()


class Beside(Protocol):
    """What is known beside the release, computed where a game asks for it."""

    def blind(self) -> Measure | Refusal | None:
        """Return what can be told without the release, see ``blind_baseline``."""

    def reference(self) -> Guess | None:
        """Return what the attack guesses from other patients, see ``reference_guess``."""


Play = Callable[[Attack, Sight, Challenge, Seeds, Beside], Played]


def deal(game: Game, dealt: Dealt, rng: Rng) -> list[Challenge]:
    """Return the challenges of a game; none, where there is nothing to ask.

    Raises:
        Unsupported: a column is named that there is not.
    """
    known = {feature.name for feature in dealt.everybody.schema.features}
    if unknown := sorted(set(dealt.named) - known):
        raise Unsupported(f"There is no column {unknown[0]!r} to ask for; `secrets` names it.")
    return _DEAL[game](dealt, rng)


def play(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds, beside: Beside
) -> Played:
    """Let an attack play its game and score it; see ``play_membership`` and its like."""
    return _PLAY[attack.game](attack, sight, challenge, seeds, beside)


def _membership(dealt: Dealt, rng: Rng) -> list[Challenge]:
    return [membership_challenge(dealt.everybody.schema, dealt.members, dealt.others, rng)]


def _attribute(dealt: Dealt, rng: Rng) -> list[Challenge]:
    secrets = dealt.named or secrets_of(dealt.everybody, dealt.secrets)
    return attribute_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng, secrets)


def _linkage(dealt: Dealt, rng: Rng) -> list[Challenge]:
    halves = halves_of(dealt.everybody)
    return linkage_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng, halves)


def _singling(dealt: Dealt, rng: Rng) -> list[Challenge]:
    return singling_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng)


def _planted(dealt: Dealt, rng: Rng) -> list[Challenge]:
    """Return nothing where nobody was planted."""
    if not any(map(len, (*dealt.members.values(), *dealt.others.values()))):
        return []
    return [replace(found, claim=dealt.claim) for found in _membership(dealt, rng)]


def _source(dealt: Dealt, rng: Rng) -> list[Challenge]:
    return source_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng)


def _property(dealt: Dealt, rng: Rng) -> list[Challenge]:
    asked = properties_of(dealt.everybody)
    return property_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng, asked)


def _reconstruction(dealt: Dealt, rng: Rng) -> list[Challenge]:
    return reconstruction_challenges(dealt.everybody.schema, dealt.members, dealt.others, rng)


def _play_membership(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds, beside: Beside
) -> Played:
    blind = beside.blind()
    guess, scored = play_membership(attack, sight, challenge, seeds, blind)
    return guess, scored if blind is None else [*scored, Scored("", blind)]


def _play_attribute(
    attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds, beside: Beside
) -> Played:
    return play_attribute(attack, sight, challenge, beside.reference(), seeds)


def _alone(play: Callable[[Attack, Sight, Challenge, Seeds], Played]) -> Play:
    """Return a game in which nothing but what is attacked says anything."""

    def played(
        attack: Attack, sight: Sight, challenge: Challenge, seeds: Seeds, beside: Beside
    ) -> Played:
        del beside
        return play(attack, sight, challenge, seeds)

    return played


_DEAL: Mapping[Game, Callable[[Dealt, Rng], list[Challenge]]] = {
    "membership": _membership,
    "attribute": _attribute,
    "linkage": _linkage,
    "singling-out": _singling,
    "source": _source,
    "property": _property,
    "reconstruction": _reconstruction,
    "planted": _planted,
}
_PLAY: Mapping[Game, Play] = {
    "membership": _play_membership,
    "attribute": _play_attribute,
    "linkage": _alone(play_linkage),
    "singling-out": _alone(play_singling),
    "source": _alone(play_source),
    "property": _alone(play_property),
    "reconstruction": _alone(play_reconstruction),
    "planted": _alone(play_planted),
}
PLAYED: tuple[Game, ...] = tuple(_DEAL)
"""The games that there are."""
