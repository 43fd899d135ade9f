"""How long do the messages take over real lines?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from fedbench.metric import Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.seeds import Rng

__all__ = ["LINES", "Line", "Wallclock"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What joins a hospital to the server.

    ``up`` and ``down`` are megabits a second from and to the hospital, ``latency`` the seconds
    until the first byte of a message arrives.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    up: Annotated[float, Gt(0)]
    down: Annotated[float, Gt(0)]
    latency: Annotated[float, Ge(0)] = 0.0


LINES: Mapping[str, Line] = {
    "fibre": Line(up=1000, down=1000, latency=0.01),
    "broadband": Line(up=10, down=50, latency=0.03),
    "mobile": Line(up=2, down=10, latency=0.1),
}
"""Made up, of the orders of size that hospitals, practices and ambulances have."""


@dataclass(frozen=True, kw_only=True)
class Wallclock(Metric):
    """Seconds that messages take over lines of given speed, and who waits for whom.

    Computed from the ledger, so it is exact, and the interval is the number itself. All hospitals
    speak to the server at once, each over a line of its own, and it goes on when the last one has
    answered. What computing takes is not in it: that depends on the machine.

    ``seconds`` is all exchanges together, ``waiting`` the share of the hospitals' time in which
    they wait for the slowest, and ``straggler`` the seconds that are added if the line of one
    hospital, the one for which it costs most, is ``slowdown`` times as slow. Of a single hospital
    ``seconds`` is its own time on the line.
    """

    family: ClassVar[Family] = "communication"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    version: ClassVar[int] = 1

    networks: Mapping[str, Line] = field(default_factory=lambda: dict(LINES))
    slowdown: Annotated[float, Ge(1)] = 10.0

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        ledger = evidence.ledger
        if ledger is None:
            return [Refusal(reason="records were given; nothing was sent", status="not applicable")]
        return [
            found
            for name, line in self.networks.items()
            for found in self._over(_times(ledger, line), evidence.site, name)
        ]

    def _over(self, times: pd.DataFrame, site: str, name: str) -> Iterator[Measure]:
        key = Key(level=name)
        spent, slowest = times.to_numpy(), _slowest(times.to_numpy())
        if site:
            mine = times[site].sum() if site in times else 0.0
            yield _exact(float(mine), "seconds", key)
            return
        yield _exact(float(slowest.sum()), "seconds", key)
        if slowest.sum() > 0 and spent.shape[1] > 1:
            idle = (slowest[:, None] - spent).sum() / (spent.shape[1] * slowest.sum())
            yield _exact(float(idle), "waiting", key, most=1.0)
            yield _exact(self._added(spent, slowest), "straggler", key)

    def _added(self, spent: Floats, slowest: Floats) -> float:
        """Return what it costs at most if one hospital's line is slow."""
        late = np.maximum(slowest[:, None], self.slowdown * spent)
        return float((late.sum(axis=0) - slowest.sum()).max())


def _times(ledger: pd.DataFrame, line: Line) -> pd.DataFrame:
    """Return seconds on the line, shape ``(exchanges, sites)``."""
    speed = ledger["way"].map({"up": line.up, "down": line.down}).astype(float)
    timed = ledger.assign(seconds=line.latency + 8 * ledger["bytes"] / (1e6 * speed))
    return timed.pivot_table("seconds", ["phase", "round"], "site", aggfunc="sum", fill_value=0.0)


def _slowest(spent: Floats) -> Floats:
    return spent.max(axis=1) if spent.size else np.zeros(len(spent))


def _exact(value: float, part: str, key: Key, most: float = np.inf) -> Measure:
    return Measure(value=value, low=value, high=value, n=1, part=part, key=key, least=0, most=most)
