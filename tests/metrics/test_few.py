"""Of a handful of patients no metric says anything, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import pytest

from fedbench.data import Cohort
from fedbench.given import Case
from fedbench.kinds import METRICS
from fedbench.metric import FEWEST, Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics.communication import Communication
from fedbench.metrics.detection import Detection
from fedbench.metrics.utility import Utility
from fedbench.scoring import Answer, Aside, answers
from fedbench.seeds import Rng

Draw = Callable[[int, int], Cohort]
Ask = Callable[..., list[Answer]]

COMPARING = sorted(
    name
    for name in METRICS.names()
    if METRICS.find(name).family != "communication" and not METRICS.find(name).needs_model
)


@dataclass(frozen=True, kw_only=True)
class Visitors(Metric):
    """What somebody wrote who never thought of few patients: how often people come."""

    family: ClassVar[Family] = "fidelity"
    better: ClassVar = "lower"
    version: ClassVar[int] = 1

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        often = [len(v.cohort.visits) / len(v) for v in (evidence.test, evidence.synthetic)]
        value = abs(often[0] - often[1])
        return [Measure(value=value, low=value, high=value, n=len(evidence.test))]


@pytest.fixture
def ask(draw: Draw) -> Ask:
    """Asks a metric about ``test`` and ``synthetic`` patients, of 300 each."""

    def asked(metric: Metric, ledger: pd.DataFrame | None = None, **sizes: int) -> list[Answer]:
        parts: Mapping[str, Cohort] = {
            name: draw(sizes.get(name, 300), seed)
            for seed, name in enumerate(("train", "test", "synthetic"))
        }
        release = parts["synthetic"]
        real = {name: parts[name] for name in ("train", "test")}
        case = Case(
            files={},
            parts=real,
            release=release,
            public=release.schema,
            is_drafted=False,
            notes=(),
            records=10_000,
        )
        world, name = case.world, type(metric).__name__.lower()
        aside = Aside(ledger=ledger, beside=world.beside({}))
        views = {"": world.synthetic(release)}
        found = list(answers(world, name, metric, views, aside))
        return [answer for answer in found if not answer.question.site]

    return asked


def said(found: Sequence[Answer]) -> list[str]:
    """The reasons of what was refused, all of which must be."""
    assert all(isinstance(answer.found, Refusal) for answer in found), found
    return [a.found.reason for a in found if isinstance(a.found, Refusal)]


@pytest.mark.parametrize("name", COMPARING)
@pytest.mark.parametrize("side", ["synthetic", "test"])
def test_a_handful_of_patients_has_no_number(ask: Ask, name: str, side: str) -> None:
    metric = METRICS.build(name, {})
    if side == "synthetic" and not metric.needs_synthetic:
        return
    for n in (1, FEWEST - 1):
        found = ask(metric, **{side: n})
        assert found
        assert {answer.status for answer in found} <= {"done", "refused", "not applicable"}
        assert not [a for a in found if isinstance(a.found, Measure) and not a.found.weak]


def test_either_side_is_named_and_patients_are_counted(ask: Ask) -> None:
    for side, called in (("test", "real test"), ("synthetic", "synthetic")):
        metric = Visitors()
        (found,) = ask(metric, **{side: FEWEST - 1})
        assert found.status == "refused"
        assert said([found]) == [f"9 {called} patients; this needs at least 10."]
        assert said(ask(metric, **{side: 1})) == [f"1 {called} patient; this needs at least 10."]
        assert all(isinstance(a.found, Measure) for a in ask(metric, **{side: FEWEST}))


def test_what_needs_more_says_so_and_less_is_not_asked(ask: Ask) -> None:
    assert said(ask(Detection(), synthetic=29)) == [
        "29 synthetic patients; this needs at least 30."
    ]

    class Bold(Visitors):
        fewest = 2

    assert said(ask(Bold(), synthetic=2)) == ["2 synthetic patients; this needs at least 10."]


def test_what_does_not_look_at_patients_answers(ask: Ask) -> None:
    sent = pd.DataFrame(
        {"phase": ["fit"], "round": [1], "site": ["a"], "way": ["up"], "bytes": [8.0]}
    )
    found = ask(Communication(), ledger=sent, synthetic=1, test=1)
    assert next(a.found.value for a in found if isinstance(a.found, Measure)) == 8


def test_what_does_not_apply_is_no_matter_of_how_many(ask: Ask) -> None:
    (found,) = ask(METRICS.build("rules"), synthetic=1, test=1)
    assert found.status == "not applicable"


@pytest.mark.parametrize(("name", "side"), [("utility", "synthetic"), ("utilization", "train")])
def test_nothing_is_learnt_from_a_handful(ask: Ask, name: str, side: str) -> None:
    found = ask(METRICS.build(name), **{side: 1})
    assert {a.found.part for a in found} >= {"auroc", "c_index"}
    assert {*said(found)} == {"1 patient to learn from; this needs at least 10"}


def test_few_test_patients_still_count_in_gains(ask: Ask) -> None:
    found = [a.found for a in ask(Utility(), test=9)]
    weak = [one for one in found if isinstance(one, Measure)]
    assert weak
    assert all(one.weak and one.replicates is not None for one in weak)
