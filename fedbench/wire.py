"""What crossed between the sites and the server, as an honest but curious party saw it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from fedbench.encoding import Encoder
from fedbench.errors import Unsupported
from fedbench.generator import Generator, Phase
from fedbench.strategy import Message, Update, averaged

__all__ = ["Glimpse", "Round", "Seen", "Wire", "chosen"]

Seen = Literal["updates", "aggregate", "peer"]
"""``updates``: what every site said; ``aggregate``: only all of it together; ``peer``: what one
site was told and what it said itself."""


def chosen(rounds: int, most: int) -> list[int]:
    """Return at most so many rounds, the first and the last among them, evenly spaced.

    >>> chosen(20, 3), chosen(2, 5), chosen(4, 1)
    ([0, 10, 19], [0, 1], [0])
    """
    return sorted({round(place) for place in np.linspace(0, rounds - 1, min(most, rounds))})


@dataclass(frozen=True)
class Round:
    """One round at the server's side of the door: what it told, and what every site said."""

    phase: Phase
    round: int
    rounds: int
    told: Message
    heard: Mapping[str, Update]


@dataclass(frozen=True)
class Glimpse:
    """What one round gave away about the training patients of these ``sites`` together.

    ``before`` and ``after`` are parameters, ``sums`` the sums over ``patients`` of them, and
    ``steps`` how often the optimizer stepped at each site. ``progress`` is how much of the
    training was done half way through the round, and ``length`` its share of the whole. ``noise``
    is the standard deviation of what privacy added to every number of ``sums`` or, where it is
    parameters that crossed, of the gradient's sum over the patients, as a mean over the steps;
    ``clip`` is how long each one's gradient was at most.
    """

    phase: Phase
    progress: float
    sites: tuple[str, ...]
    before: Message
    after: Message
    sums: Message
    patients: float
    steps: float
    length: float = 0.0
    noise: float = 0.0
    clip: float = math.inf


@dataclass(frozen=True)
class Wire:
    """The rounds of a training that were listened to, with all that is public about it.

    A peer takes what is told next for the weighted mean, as it is under plain averaging.
    """

    generator: Generator
    encoder: Encoder
    rounds: Sequence[Round]
    seen: Seen = "updates"
    agreed: Mapping[str, Update] = field(default_factory=dict)
    """The counts that every site sent to agree on the encoder, before the first round."""
    clip: float = math.inf
    """The longest gradient that a patient may have, where DP-SGD shortens them."""

    def seen_as(self, seen: Seen) -> Wire:
        """Return the same training as another party saw it."""
        return replace(self, seen=seen)

    @property
    def sites(self) -> tuple[str, ...]:
        """Who took part."""
        return tuple(sorted({site for each in self.rounds for site in each.heard}))

    def glimpses(self, site: str, most: int) -> list[Glimpse]:
        """Return what this party saw that depends on the patients of a site.

        Args:
            site: whose patients are asked about. A peer is the site before it by name, the last
                one for the first.
            most: rounds of each phase to look at, see ``chosen``.

        Raises:
            Unsupported: the party saw nothing that does.
        """
        picked = [each for each in self.rounds if each.round in chosen(each.rounds, most)]
        found = [glimpse for each in picked if (glimpse := self._glimpse(each, site))]
        if not found:
            who = "Another hospital" if self.seen == "peer" else "The server"
            raise Unsupported(f"{who} saw nothing here that depends on the patients of {site!r}.")
        return found

    def agreement(self, site: str) -> Glimpse:
        """Return what the server saw of the counts that agreed the encoder.

        Raises:
            Unsupported: they are not known, or another party is asked.
        """
        if site not in self.agreed or self.seen == "peer":
            raise Unsupported(f"The counts of {site!r} that agreed the encoder are not known here.")
        sites = [site] if self.seen == "updates" else list(self.agreed)
        return _together(Round(Phase("encoder"), 0, 1, {}, self.agreed), sites)

    def _glimpse(self, each: Round, site: str) -> Glimpse | None:
        if site not in each.heard:
            return None
        if self.seen == "updates":
            return self._stepped(each, [site])
        if self.seen == "aggregate":
            return self._stepped(each, list(each.heard))
        return self._by_a_peer(each, site)

    def _by_a_peer(self, each: Round, site: str) -> Glimpse | None:
        """Take a peer's own part out of what everybody was told next."""
        sites = self.sites
        peer = sites[sites.index(site) - 1]
        after = [other for other in self.rounds if other.phase == each.phase]
        told = next((other.told for other in after if other.round == each.round + 1), None)
        if told is None or peer == site or peer not in each.heard:
            return None
        whole = _together(each, list(each.heard))
        own, n = each.heard[peer], each.heard[peer].weight
        names = [name for name in own.parameters if name in told]
        if not names:
            return None
        share = n / whole.patients
        rest = {name: (told[name] - share * own.parameters[name]) / (1 - share) for name in names}
        others = [other for other in whole.sites if other != peer]
        return replace(
            self._stepped(each, others),
            after=rest,
            sums={},
            patients=whole.patients - n,
            steps=own.steps,
        )

    def _stepped(self, each: Round, sites: Sequence[str]) -> Glimpse:
        """Return what these sites said together, and how DP-SGD changed their gradients."""
        seen = _together(each, sites)
        if not math.isfinite(self.clip) or seen.sums:
            return seen
        noise = math.hypot(*(_shaken(each.heard[site], self.clip) for site in sites))
        return replace(seen, noise=noise, clip=self.clip)


def _shaken(update: Update, clip: float) -> float:
    """Return the noise in the sum of all patients' gradients, as a mean over a site's steps.

    A step divides the noised sum over a sample by how many are in it on average.
    """
    paid = sum(charge.steps for charge in update.charges)
    squares = sum(c.steps * (c.noise / c.rate) ** 2 for c in update.charges)
    return clip * math.sqrt(squares) / max(paid, 1)


def _together(each: Round, sites: Sequence[str]) -> Glimpse:
    heard = {site: each.heard[site] for site in sites}
    weights = {site: update.weight for site, update in heard.items()}
    patients = sum(weights.values())
    steps = sum(weights[site] * update.steps for site, update in heard.items())
    sums = {
        name: np.sum([update.sums[name] for update in heard.values()], axis=0)
        for name in next(iter(heard.values())).sums
    }
    parameters = {site: update.parameters for site, update in heard.items()}
    return Glimpse(
        phase=each.phase,
        progress=(each.round + 0.5) / each.rounds,
        sites=tuple(sites),
        before=each.told,
        after=averaged(parameters, weights),
        sums=sums,
        patients=patients,
        steps=steps / max(patients, 1e-300),
        length=1 / each.rounds,
        noise=math.hypot(*(update.noise for update in heard.values())),
    )
