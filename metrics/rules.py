"""Do records say what cannot be?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fedbench.data import Rule
from fedbench.metric import FEWEST, Anchors, Evidence, Family, Key, Measure, Metric, Refusal, View
from fedbench.metrics._draws import Floats, draws, measured, mended, over
from fedbench.nouns import plural
from fedbench.rules import kept
from fedbench.seeds import Rng
from fedbench.stats import newcombe

__all__ = ["Rules"]


@dataclass(frozen=True, kw_only=True)
class Rules(Metric):
    """How much more often synthetic patients break the schema's rules than real ones.

    Per rule, of the patients of whom something could have broken it, the share of whom something
    did; synthetic minus real, because real records have slips of the pen too. Below 0 synthetic
    records break them less often, which is no defect. Named by the rule,
    and their mean. A rule that could have been broken of fewer than ``FEWEST`` patients of a side
    is refused. Limits are never closer than Newcombe's for two shares, which stay open where
    nobody breaks a rule.
    """

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 2
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if not evidence.schema.rules:
            return [Refusal(reason="the schema declares no rules", status="not applicable")]
        found = list(_by_rule(evidence))
        answers = [measure for measure, _ in found if isinstance(measure, Measure)]
        if not answers:
            return [measure for measure, _ in found]
        rows = np.stack([rows for measure, rows in found if isinstance(measure, Measure)])
        overall = measured(mended(rows).mean(axis=0), len(evidence.test), least=-1.0)
        if len(answers) == 1 or not np.ptp(rows):
            ends = np.mean([(measure.low, measure.high) for measure in answers], axis=0)
            overall = replace(overall, low=float(ends[0]), high=float(ends[1]))
        overall = over(overall, len(answers), len(found), "rule")
        return [overall, *(measure for measure, _ in found)]


def _by_rule(evidence: Evidence) -> Iterator[tuple[Measure | Refusal, Floats]]:
    for rule in evidence.schema.rules:
        real, fake = (_Side.of(view, rule) for view in (evidence.test, evidence.synthetic))
        key, rows = Key(column=rule.label), fake.rate - real.rate
        for side, name in ((real, "real test"), (fake, "synthetic")):
            if side.asked < FEWEST:
                patients = plural(side.asked, f"{name} patient")
                reason = f"{patients} could have broken it; this needs at least {FEWEST}"
                yield Refusal(reason=reason, key=key), rows
                break
        else:
            limits = newcombe(fake.broken, fake.asked, real.broken, real.asked)
            found = measured(rows, real.asked, key=key, least=-1.0)
            low, high = min(found.low, limits.low), max(found.high, limits.high)
            yield replace(found, low=low, high=high), rows


@dataclass(frozen=True)
class _Side:
    """How many could have broken a rule, how many did, and the share in every draw (1 + B,)."""

    asked: int
    broken: int
    rate: Floats

    @classmethod
    def of(cls, view: View, rule: Rule) -> _Side:
        return view.shared(f"rule: {rule}", lambda: cls._of(view, rule))

    @classmethod
    def _of(cls, view: View, rule: Rule) -> _Side:
        found, weights = kept(view.cohort, rule), draws(view)
        with np.errstate(invalid="ignore"):
            rate = (weights @ found.broken.astype(float)) / (weights @ found.asked.astype(float))
        return cls(int(found.asked.sum()), int(found.broken.sum()), np.asarray(rate))
