"""How much crossed the wire?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from fedbench.metric import Evidence, Family, Key, Measure, Metric, Refusal
from fedbench.seeds import Rng


@dataclass(frozen=True, kw_only=True)
class Communication(Metric):
    """Bytes up and down as serialized for the wire, and the rounds it took.

    Counted, not estimated: the interval is the number itself. A round is one exchange with the
    sites, agreeing on the encoder included.
    """

    family: ClassVar[Family] = "communication"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    version: ClassVar[int] = 1

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        ledger = evidence.ledger
        if ledger is None:
            return [Refusal(reason="records were given; nothing was sent", status="not applicable")]
        if evidence.site:
            ledger = ledger[ledger["site"] == evidence.site]
        found = [
            _exact(float(ledger.loc[ledger["way"] == way, "bytes"].sum()), "bytes", way)
            for way in ("up", "down")
        ]
        found.append(_exact(float(ledger["bytes"].sum()), "bytes", ""))
        rounds = ledger[["phase", "round"]].drop_duplicates()
        return [*found, _exact(float(len(rounds)), "rounds", "")]


def _exact(value: float, part: str, way: str) -> Measure:
    return Measure(value=value, low=value, high=value, n=1, part=part, key=Key(level=way))
