"""Games an attacker plays, and exactly what the attacker is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import pandas as pd
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import sparse

from fedbench.data import Cohort, Feature, Schema
from fedbench.errors import ContractError, Unsupported
from fedbench.plugin import Plugin
from fedbench.seeds import Rng
from fedbench.wire import Seen, Wire

__all__ = [
    "Attack",
    "Game",
    "Guess",
    "Knowledge",
    "Links",
    "Planting",
    "PublicChallenge",
    "Rebuilt",
    "Roster",
    "Sight",
    "Wired",
    "answers_of",
    "levels_of",
    "plain_columns",
]

T = TypeVar("T")

Game = Literal[
    "membership",
    "attribute",
    "linkage",
    "singling-out",
    "source",
    "property",
    "reconstruction",
    "planted",
]


class Knowledge(StrEnum):
    """What an attacker may hold."""

    SYNTHETIC = "synthetic"
    REFERENCE = "reference"
    GENERATOR = "generator"
    MODEL = "model"
    UPDATES = "updates"
    AGGREGATE = "aggregate"
    PEER = "peer"
    OTHER_COLUMNS = "other columns"
    LABELS = "labels"
    ROSTER = "roster"


WIRED: Mapping[Knowledge, Seen] = {
    Knowledge.UPDATES: "updates",
    Knowledge.AGGREGATE: "aggregate",
    Knowledge.PEER: "peer",
}
"""What is seen of the training itself rather than of what it released."""


@dataclass(frozen=True)
class Sight:
    """All that the attacker sees; the public schema comes for free.

    Touching anything the attack did not declare raises ``ContractError``.
    """

    schema: Schema
    allowed: frozenset[Knowledge]
    _held: Mapping[Knowledge, Any] = field(repr=False)
    _found: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)

    @property
    def synthetic(self) -> Cohort:
        """The released records."""
        return cast("Cohort", self._get(Knowledge.SYNTHETIC))

    @property
    def reference(self) -> Cohort:
        """Other patients of the same hospitals, none of them a target; may be empty."""
        return cast("Cohort", self._get(Knowledge.REFERENCE))

    @property
    def roster(self) -> Roster:
        """Lists of patients, one of whom at each hospital is of those whom it trained on."""
        return cast("Roster", self._get(Knowledge.ROSTER))

    @property
    def wire(self) -> Wire:
        """What crossed during training, as far as the attack declared it.

        Raises:
            Unsupported: nothing of it is known here.
        """
        for what in self.allowed & WIRED.keys():
            if what in self._held:
                return cast("Wire", self._held[what])
        for what in WIRED:
            if what in self.allowed:
                raise Unsupported("Nothing is known of what crossed during this training.")
        raise ContractError("The attack looked at what crossed without declaring it in `knows`.")

    def shared(
        self,
        name: str,
        challenge: PublicChallenge,
        what: AbstractSet[Knowledge],
        compute: Callable[[Sight], T],
    ) -> T:
        """Return what ``compute`` makes of a challenge and ``what``, made once for all attacks.

        Raises:
            ContractError: an attack asks for what was made of something it did not declare.
        """
        for each in sorted(what):
            self._check(each)
        key = (name, id(challenge))
        if key not in self._found:
            # The challenge is kept, so that no other one can have its id.
            self._found[key] = challenge, compute(replace(self, allowed=frozenset(what)))
        return cast("T", self._found[key][1])

    def _check(self, what: Knowledge) -> None:
        if what not in self.allowed:
            raise ContractError(
                f"The attack looked at {what.value!r} without declaring it in `knows`."
            )

    def _get(self, what: Knowledge) -> Any:
        self._check(what)
        if what not in self._held:
            raise ContractError(f"This game has no {what.value!r} to look at.")
        return self._held[what]


@dataclass(frozen=True)
class Roster:
    """Lists of patients: at each hospital one of those whom it trained on, which is not marked.

    The others are of about as many other patients each. ``lists`` has the number of its list for
    every target. ``known`` are patients of whom nothing is asked, as they lack the secret;
    ``known_lists`` has their lists.
    """

    lists: NDArray[np.int64]
    known: pd.DataFrame
    known_lists: NDArray[np.int64]


@dataclass(frozen=True)
class PublicChallenge:
    """What is asked; the truth stays elsewhere.

    ``targets`` is a patient table in random order under meaningless row numbers. In the
    attribute game it lacks the column ``secret``, and every other column that gives the secret
    away. In the linkage game it has half of the columns, and ``others`` has the other half, of
    the same patients in another order. ``sites`` is the hospital of every target. In the
    singling-out game nobody is shown, and ``size`` is how many patients there are to point at.
    ``choices`` is what the secret can be: its levels, or a number from the middle of each range
    between ``cuts``. In the source game it is the hospitals, and ``sites`` says nothing; in the
    property game too, and ``targets`` has a row per property, with its ``column`` and ``level``;
    in the reconstruction game too, in which nobody is shown. ``records`` are the whole records of
    the targets, in the games about whom was trained on.
    """

    game: Game
    targets: pd.DataFrame
    sites: NDArray[np.object_]
    secret: str = ""
    others: pd.DataFrame | None = None
    size: int = 0
    choices: tuple[str | float, ...] = ()
    cuts: tuple[float, ...] = ()
    _gather: Callable[[], Cohort] | None = field(default=None, repr=False)

    @cached_property
    def records(self) -> Cohort:
        """Every visit and code of the targets, whose names are their row numbers in order.

        Put together when first asked for: most attacks look at the patient table only.

        Raises:
            ContractError: this game shows no whole records.
        """
        if self._gather is None:
            raise ContractError(f"The {self.game} game shows no whole records.")
        return self._gather()


@dataclass(frozen=True)
class Guess:
    """An attacker's answer.

    ``scores``: membership: one number per target, higher means surer that it is a member;
    attribute: one probability per target and level of the secret, shape ``(n, levels)``; source:
    a number per target and hospital, the highest is the answer; property: the share of each
    property (in the order of ``targets``) at each hospital. ``by`` is what it went by, for a
    report to say where it gives somebody away: names of columns, and nobody's values.
    """

    scores: NDArray[np.float64]
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Links(Guess):
    """An answer in the linkage game.

    ``first`` and ``second`` have a row per row of ``targets`` and of ``others``: how likely it is
    each of the released records, shape ``(n, records)``. Rows sum to at most 1.
    """

    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    first: sparse.csr_array
    second: sparse.csr_array


@dataclass(frozen=True, kw_only=True)
class Rebuilt(Guess):
    """An answer in the reconstruction game.

    ``records`` are whole patients by hospital, with all columns of the patient table: those that
    the attacker is surest of first, and none where nothing looks like a patient.
    """

    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    records: Mapping[str, pd.DataFrame]


class Attack(Plugin):
    """An adversary with declared knowledge, playing one game."""

    game: ClassVar[Game]
    knows: ClassVar[frozenset[Knowledge]]
    version: ClassVar[int]
    yes: ClassVar[str] = ""
    """What its yes says of patients, of a membership attack that scores by yes and no alone."""
    misses: ClassVar[str] = ""
    """What it would not notice, for whoever reads a report."""
    secrets: tuple[str, ...] = ()
    """Columns that the attribute game asks for; without any, the sensitive categories."""

    @property
    def threat(self) -> str:
        """What the attacker holds, as rows say it."""
        return "+".join(sorted(self.knows))

    @abstractmethod
    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        """Answer the challenge."""

    def lacking(self, schema: Schema) -> str:
        """Return what such records lack that it looks at, as a reason not to ask it, or nothing."""
        return ""

    def without(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess | None:
        """Return what anybody could have guessed who holds reference patients alone.

        None, if that is guessing from a release of these patients, or nothing at all.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class Wired(Attack):
    """An attack on the training itself: it looks at what crossed, see ``Sight.wire``.

    Attributes:
        rounds: of each phase it looks at, evenly spaced; what crossed in them is kept meanwhile.
    """

    rehearsed: ClassVar[int] = 20
    """On how many patients of each hospital it must recognise an exact step, at most."""

    rounds: Annotated[int, Ge(1)] = 4

    def inapplicable(self, wire: Wire) -> str:
        """Return why there is nothing in such a training that it could look at, or nothing."""
        return ""


@dataclass(frozen=True, kw_only=True)
class Planting(Attack):
    """An audit of a training into which it put records of its own, the canaries.

    Each of them is trained on or not by a fair coin, and the attack scores all of them. Cells
    trained on canaries are beside those of the suite, and are asked nothing else.

    Attributes:
        canaries: how many there are, those left out included.
    """

    game: ClassVar[Game] = "planted"

    canaries: Annotated[int, Ge(20)] = 1000

    @abstractmethod
    def plant(self, like: Cohort, rng: Rng) -> Cohort:
        """Return the canaries, all different and within the public ranges of the schema.

        Args:
            like: the attacker's own patients, none of whom is trained on; perhaps nobody.
            rng: draws them.
        """


def levels_of(table: pd.DataFrame, feature: Feature) -> NDArray[np.int64]:
    """Return the number of each patient's level of a category, -1 for missing."""
    found = pd.Categorical(table[feature.name], categories=list(feature.column.levels))
    return found.codes.astype(np.int64)


def answers_of(table: pd.DataFrame, secret: Feature, cuts: tuple[float, ...]) -> NDArray[np.int64]:
    """Return the number of each patient's level, or of her range between cuts, -1 for missing."""
    if secret.column.kind == "category":
        return levels_of(table, secret)
    values = table[secret.name].to_numpy(dtype=np.float64)
    found = np.searchsorted(cuts, values, side="right")
    return np.where(np.isfinite(values), found, -1).astype(np.int64)


def plain_columns(table: pd.DataFrame, known: Sequence[Feature]) -> NDArray[np.float64]:
    """Return columns as trees take them: level numbers for categories, NaN for missing."""
    found = np.empty((len(table), len(known)))
    for at, feature in enumerate(known):
        if feature.column.kind == "category":
            levels = levels_of(table, feature)
            found[:, at] = np.where(levels < 0, np.nan, levels)
        else:
            found[:, at] = table[feature.name].to_numpy(dtype=np.float64)
    return found
