"""What attacks on the training share: who is asked about, and who says what is usual."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from fedbench.attack import Game, Guess, PublicChallenge, Sight, Wired
from fedbench.data import Cohort
from fedbench.errors import Refused, Unsupported
from fedbench.generator import Statistic
from fedbench.nouns import plural
from fedbench.seeds import Rng
from fedbench.traces import Sums, Traces, cohort_of
from fedbench.wire import Glimpse, Wire

if TYPE_CHECKING:
    from fedbench.gradients import Along

__all__ = ["SILENT", "Floats", "Listening", "Tracing", "enough", "traces_of"]

SILENT = (
    "Neither sums over patients crossed in this training, nor gradients that others could compute."
)
"""Why an attack on the training has nothing to look at."""

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Listening(Wired):
    """An attack that knows what single patients add to what crossed.

    Attributes:
        reference: Other patients, at most, who say what is usual.
        draws: Over how much noise of a generator a patient's gradient is averaged.
    """

    reference: Annotated[int, Ge(2)] = 1500
    draws: Annotated[int, Ge(1)] = 4

    def usual(self, sight: Sight, rng: Rng) -> Cohort:
        """Return the patients who say what is usual, those of all sites together."""
        everyone = sight.reference
        if len(everyone) < 2:
            raise Unsupported("The attacker has no reference patients to compare with.")
        return everyone.take(rng.permutation(everyone.patients)[: self.reference])

    def heard(self, wire: Wire, site: str, usual: Cohort) -> Iterator[tuple[Traces, Glimpse]]:
        """Yield the rounds that tell about the patients of a site.

        Raises:
            Unsupported: none do.
        """
        silent = True
        for glimpse in wire.glimpses(site, self.rounds):
            if (traces := traces_of(wire, glimpse, usual, self.draws)) is not None:
                silent = False
                yield traces, glimpse
        if silent:
            raise Unsupported(SILENT)


@dataclass(frozen=True, kw_only=True)
class Tracing(Listening):
    """An attack that scores each target by her trace in what crossed, summed over rounds."""

    game: ClassVar[Game] = "membership"

    @abstractmethod
    def scores(self, traces: Traces, usual: Cohort, targets: Cohort, patients: float) -> Floats:
        """Return how much one round looks as if each target were among its ``patients``."""

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        targets = cohort_of(sight.schema, challenge.targets)
        usual = self.usual(sight, rng)
        return Guess(self.along(sight.wire, targets, challenge.sites, usual))

    def along(
        self, wire: Wire, targets: Cohort, sites: NDArray[np.object_], usual: Cohort
    ) -> Floats:
        """Return the scores of patients at these hospitals, summed over rounds."""
        found = np.zeros(len(targets))
        for site in sorted(set(sites.tolist())):
            rows = np.flatnonzero(sites == site)
            mine = targets.take(targets.patients[rows])
            for traces, glimpse in self.heard(wire, site, usual):
                found[rows] += self.scores(traces, usual, mine, glimpse.patients)
        return found


def traces_of(
    wire: Wire, glimpse: Glimpse, like: Cohort, draws: int, along: Along = "middle"
) -> Traces | None:
    """Return what single patients add to what was seen in a round, see ``Gradients``.

    None, if that was neither gradients nor sums over patients, or gradients of a network of which
    hospitals keep a part to themselves.
    """
    generator = wire.generator
    if isinstance(generator, Statistic):
        return Sums(wire, generator, glimpse) if glimpse.sums else None
    from fedbench.gradients import Gradients  # noqa: PLC0415  (torch is slow to import)
    from fedbench.training import Neural  # noqa: PLC0415

    if isinstance(generator, Neural) and glimpse.after and glimpse.steps:
        with contextlib.suppress(Unsupported):
            return Gradients(wire, glimpse, like, draws, along)
    return None


def enough(usual: Cohort, least: int) -> None:
    """Refuse to say what is usual of too few patients.

    Raises:
        Refused: there are fewer than ``least``.
    """
    if len(usual) < least:
        raise Refused(
            f"The attacker has {plural(len(usual), 'reference patient')}; to know how gradients "
            f"vary takes {least:,}. Give more to `reference` in the suite's parts, or covariance = "
            "'identity'."
        )
