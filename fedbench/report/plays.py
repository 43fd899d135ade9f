"""What was attacked, and by what: every game is told by the words it declares."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fedbench.attack import Attack, Game
from fedbench.errors import FedbenchError
from fedbench.games.telling import TOLD, Telling, told_as
from fedbench.kinds import ATTACKS
from fedbench.report.numbers import Numbers

__all__ = ["Play", "explained", "game_of", "plays"]


@dataclass(frozen=True)
class Play:
    """One attack and, in the games that have one, the secret it is after."""

    attack: str
    secret: str = ""
    game: Game | Literal[""] = "membership"

    @property
    def said(self) -> Telling:
        """The words of its game."""
        return told_as(self.game)

    @property
    def name(self) -> str:
        """The name of its main number."""
        return f"{self.attack}.{self.said.main}"

    @property
    def yes(self) -> str:
        """What its yes says; nothing where it ranks patients, or is not here."""
        found = _declared(self.attack)
        return found.yes if found else ""

    def called(self, among: Sequence[Play], words: Mapping[str, str]) -> str:
        """Say what is attacked: the secret, with the attack where several are after it.

        Where there is no secret it is the attack itself.
        """
        if not self.secret:
            return self.attack
        several = {play.attack for play in among if play.secret == self.secret} != {self.attack}
        secret = words.get(self.secret) or self.secret
        return f"“{secret}” ({self.attack})" if several else f"“{secret}”"

    def tried(self, among: Sequence[Play], words: Mapping[str, str]) -> str:
        """Say what was tried, as it stands before what came of it."""
        return self.said.tried.format(self.called(among, words))


def plays(numbers: Numbers) -> list[Play]:
    """Return every attack that was played, membership first, in the order of the games."""
    named = {(n["name"], n["secret"]) for n in numbers.where(family="privacy")}
    found = [
        Play(attack, secret, _game(attack, part, secret))
        for attack, part, secret in ((*_parts(name), secret) for name, secret in named)
        if attack and part in ("auc", "advantage")
    ]
    order = [*TOLD, ""]
    # Where nobody could guess, a row has no secret: others of the same attack tell of theirs.
    guessing = {play.attack for play in found if play.secret}
    mine = {
        play
        for play in found
        if (play.name, play.secret) in named and (play.secret or play.attack not in guessing)
    }
    return sorted(mine, key=lambda play: (order.index(play.game), play.attack, play.secret))


def explained(found: Sequence[Play]) -> dict[str, str]:
    """Return what each of these attacks asks, and what it would not notice."""
    texts = {}
    for attack in dict.fromkeys(play.attack for play in found):
        declared = _declared(attack)
        if declared is not None:
            asks = (sys.modules[declared.__module__].__doc__ or "").strip().partition("\n")[0]
            misses = f"It would not notice {declared.misses}." if declared.misses else ""
            texts[f"Attack {attack}"] = f"{asks} {misses}".strip()
    return texts


def _parts(name: str) -> tuple[str, str]:
    attack, _, part = name.rpartition(".")
    return attack, part


def _game(attack: str, part: str, secret: str) -> Game | Literal[""]:
    """Return the game: what the attack declares, or what its rows look like if it is not here."""
    if secret:
        return "attribute"
    return game_of(attack) or ("membership" if part == "auc" else "")


def game_of(attack: str) -> Game | Literal[""]:
    """Return the game that an attack declares; nothing if there is no such attack here."""
    found = _declared(attack)
    return found.game if found else ""


def _declared(attack: str) -> type[Attack] | None:
    with contextlib.suppress(FedbenchError):
        if attack in ATTACKS.names():
            return ATTACKS.find(attack)
    return None
