"""Do synthetic patients live, and stay in follow-up, as long as real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Gt, Le
from numpy.typing import NDArray

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, averaged, draws, measured
from fedbench.seeds import Rng

__all__ = ["Survival"]

Bools = NDArray[np.bool_]

FEW = 5
"""Patients at risk below whom a curve ends."""
LEAST = 0.25
"""Of the time to be compared, less than which is not compared."""
MOST = 1000
"""Times at which curves are compared; where there are more, evenly many of them."""
_NUMBERS = 1 << 21  # that a block may hold


@dataclass(frozen=True, kw_only=True)
class Survival(Metric):
    """Mean distance of the Kaplan-Meier curves of real and synthetic patients.

    Part ``events``: the area between the two curves of the outcome, divided by its length: by how
    much the share of patients who are free of the event differs on average over time. Part
    ``censoring``: the same for the end of follow-up without an event, which tells of who is
    followed how long. Where both fall on one time, whoever has no event is at risk of one, as
    usual; for the end of follow-up the two come mixed, in constant proportion, as rounding leaves
    them: else more events at a time would make follow-up look longer. Kaplan and Meier 1958,
    https://doi.org/10.1080/01621459.1958.10501452.

    Both up to the time by which ``share`` of the training patients are no longer followed. Beyond
    the last time at which a side has five at risk its curve is unknown, except that it is no higher
    than there: from then on only as much counts as the other one is above that, and where it is
    not, the time is left out. Refused where less than a quarter of the time is left.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    share: Annotated[float, Gt(0), Le(1)] = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; expected a number above 0, 1 at most")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if evidence.schema.outcome is None:
            return [Refusal(reason="the schema has no outcome", status="not applicable")]
        trained = evidence.train.cohort.outcome["time"].to_numpy(float)
        end = float(np.quantile(trained, self.share)) if len(trained) else 0.0
        if not end > 0:
            return [Refusal(reason="no training patient is followed for any time")]
        found: list[Measure | Refusal] = []
        for part, event in (("events", True), ("censoring", False)):
            real, fake = (_Side.of(v, event) for v in (evidence.test, evidence.synthetic))
            rows = distance(real, fake, end)
            if rows is not None:
                found.append(measured(rows, len(evidence.test), part=part))
                continue
            known, who = min((real.known, "real test"), (fake.known, "synthetic"))
            reason = (
                f"fewer than {FEW} {who} patients are followed beyond {known:g}, "
                f"{100 * known / end:.0f} % of the time to be compared ({end:g}); "
                f"this needs {100 * LEAST:.0f} %"
            )
            found.append(Refusal(reason=reason, part=part))
        return found


@dataclass(frozen=True)
class _Side:
    """Patients by their last day: ``time`` ascending and whether what is asked for ended it.

    ``first``: what is asked for comes before what else ends it at the same time.
    """

    time: Floats
    happened: Bools
    weights: NDArray[np.uint8]
    first: bool

    @classmethod
    def of(cls, view: View, event: bool) -> _Side:  # noqa: FBT001
        time = view.cohort.outcome["time"].to_numpy(float)
        order = np.argsort(time, kind="stable")
        happened = view.cohort.event == event
        return cls(time[order], happened[order], draws(view)[:, order], first=event)

    @property
    def known(self) -> float:
        """Until when the curve is known, the same for all rows of weights."""
        return float(self.time[-FEW]) if len(self.time) >= FEW else 0.0

    def curves(self, rows: slice, times: Floats) -> Floats:
        """Return the share still free at each of these times, under these rows of weights.

        Beyond what is known, it is the last share that is.
        """
        drawn = self.weights[rows].astype(np.float64)
        starts = np.flatnonzero(np.diff(self.time, prepend=-np.inf) > 0)
        happened = np.add.reduceat(drawn * self.happened, starts, axis=1)
        left = np.add.reduceat(drawn, starts, axis=1)
        at_risk = left[:, ::-1].cumsum(axis=1)[:, ::-1]
        gone = happened if self.first else left
        stays = 1 - np.divide(gone, at_risk, out=np.zeros_like(left), where=at_risk > 0)
        if not self.first:
            stays **= np.divide(happened, left, out=np.zeros_like(left), where=left > 0)
        found = np.cumprod(stays, axis=1)
        place = np.searchsorted(self.time[starts], np.minimum(times, self.known), side="right")
        return np.concatenate([np.ones((len(found), 1)), found], axis=1)[:, place]


def distance(real: _Side, fake: _Side, end: float) -> Floats | None:
    """Return the mean distance of two curves where both are known, ``(1 + B,)``.

    None where that is less than ``LEAST`` of the time up to ``end``.
    """
    times = np.unique(np.concatenate([[0.0], real.time, fake.time]))
    times = times[times < end]
    if len(times) > MOST:
        times = times[np.linspace(0, len(times) - 1, MOST).astype(np.int64)]
    lengths = np.diff(times, append=end)
    gaps = np.empty((len(real.weights), len(times)))
    step = max(1, _NUMBERS // (len(real.time) + len(fake.time)))
    for start in range(0, len(gaps), step):
        rows = slice(start, start + step)
        gaps[rows] = real.curves(rows, times) - fake.curves(rows, times)
    # What is unknown of one is told where the other lies above all that it may be.
    told = ((times < real.known) | (gaps < 0)) & ((times < fake.known) | (gaps > 0))
    time = (told @ lengths)[:, None]
    if time[0] < LEAST * end:
        return None
    gaps = np.where(times < min(real.known, fake.known), gaps, np.abs(gaps)) * told
    return averaged(gaps * lengths * (len(times) / time))
