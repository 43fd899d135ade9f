"""Is a model trained on synthetic patients of use for real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt

from fedbench.metric import Anchors, Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics._answers import Question
from fedbench.seeds import Rng
from fedbench.task import problem

__all__ = ["Utility"]


@dataclass(frozen=True, kw_only=True)
class Utility(Metric):
    """How well models trained on synthetic patients foresee what happens to real ones.

    For every task of the schema a ridge-penalized logistic (parts ``auroc``, ``auprc``,
    ``brier_skill``) or Cox regression (part ``c_index``, Harrell's). Models and preprocessing are
    fixed by the synthetic records alone; replicates weigh test patients and refit nothing, so
    intervals are about these models. Those of ``auprc`` and ``c_index`` are spread by log odds, of
    ``r2`` by the log of what is left, all by Student's t: see ``unit`` and ``explained``.

    Train on synthetic, test on real: Esteban, Hyland and Raetsch 2017,
    https://arxiv.org/abs/1706.02633.
    """

    family: ClassVar[Family] = "utility"
    better: ClassVar = "higher"
    version: ClassVar[int] = 4
    anchors: ClassVar[Anchors] = Anchors(floor="independent", ceiling="real")
    judges_few: ClassVar[bool] = True

    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        found: list[Measure | Refusal] = []
        for name, task in evidence.schema.tasks.items():
            question = Question(name=name, task=task, pose=problem, penalty=self.penalty)
            found += question.answers(evidence.synthetic, evidence)
        return found or [Refusal(reason="the schema names no task", status="not applicable")]
