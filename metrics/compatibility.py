"""Does what other hospitals' records teach hold at a hospital that none of them has seen?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from annotated_types import Gt

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal, View
from fedbench.metrics._answers import Question, together
from fedbench.metrics._models import Model, Unfit, learn
from fedbench.seeds import Rng
from fedbench.task import problem

__all__ = ["Compatibility"]

Answers = Iterator[Measure | Refusal]

_TOGETHER = Refusal(
    reason="one model wrote for all hospitals, so none of its records are without a hospital; "
    "this is about the regime 'local'",
    status="not applicable",
)


@dataclass(frozen=True, kw_only=True)
class Compatibility(Metric):
    """How well models foresee at a hospital whose patients no generator has seen.

    Where every hospital has a generator of its own: part ``without`` learns, as ``utility`` does,
    from what those of all other hospitals wrote, each as much as its share of training patients,
    and is asked about the patients of the hospital left out (model and site are that hospital).
    The worst hospital and means over hospitals follow. Part ``pair`` is the whole matrix: model i
    on hospital j, which is the column. The ceiling is as many real training records of the others.
    Beside ``utility`` of ``federated`` at the same site it says what taking part brings.

    Of each kind of task the first score counts: ``auroc``, ``c_index``, ``r2``. Replicates weigh
    test patients and refit nothing.
    """

    family: ClassVar[Family] = "fairness"
    better: ClassVar = "higher"
    version: ClassVar[int] = 3
    anchors: ClassVar[Anchors] = Anchors(ceiling="real")
    judges_few: ClassVar[bool] = True

    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        if not evidence.schema.tasks:
            return [Refusal(reason="the schema names no task", status="not applicable")]
        written = {
            site: each.written for site, each in evidence.beside.items() if each.written is not None
        }
        if len(written) < 2:
            return [] if evidence.site else [_TOGETHER]
        return [
            answer
            for name, task in evidence.schema.tasks.items()
            for answer in _asked(
                Question(name=name, task=task, pose=problem, penalty=self.penalty),
                written,
                evidence,
            )
        ]


def _asked(question: Question, written: Mapping[str, View], evidence: Evidence) -> Answers:
    """Yield what is known of one hospital, or of all that one hospital's model is asked about."""
    if evidence.site:
        others = [view for site, view in written.items() if site != evidence.site]

        def learnt() -> Model | Unfit:
            known = together([question.posed(view) for view in others])
            return learn(known, question.task, question.penalty)

        yield _first(question.asked(evidence.test, learnt), "without")
    elif evidence.model:
        for site, each in evidence.beside.items():
            found = question.asked(each.test, lambda: question.learnt(evidence.synthetic))
            yield _first(found, "pair", site)


def _first(found: Sequence[Measure | Refusal], part: str, column: str = "") -> Measure | Refusal:
    """Return what counts most, under its own name."""
    answer = found[0]
    key = replace(answer.key, column=column)
    return replace(answer, part=f"{part}.{answer.part}", key=key)
