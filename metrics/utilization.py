"""What do counts and dates of visits alone foresee?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt

from fedbench.metric import Evidence, Family, Measure, Metric, Refusal
from fedbench.metrics._answers import Question
from fedbench.seeds import Rng
from fedbench.task import utilization

__all__ = ["Utilization"]


@dataclass(frozen=True, kw_only=True)
class Utilization(Metric):
    """How well a model of real records foresees outcomes from counts and dates alone.

    Stands beside ``utility``, whose numbers mean little where they are no higher. Learnt from all
    real training patients up to the index time, and the same whatever the generator.
    """

    family: ClassVar[Family] = "utility"
    better: ClassVar = "higher"
    version: ClassVar[int] = 4
    needs_synthetic: ClassVar[bool] = False
    judges_few: ClassVar[bool] = True

    penalty: Annotated[float, Gt(0)] = 0.01

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ValueError(f"penalty is {self.penalty}; expected a number above 0")

    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        # Neither the model nor the patients change from one generator to the next.
        return evidence.test.shared(
            f"utilization {self.penalty!r}", lambda: self._answers(evidence)
        )

    def _answers(self, evidence: Evidence) -> Sequence[Measure | Refusal]:
        found: list[Measure | Refusal] = []
        for name, task in evidence.schema.tasks.items():
            question = Question(name=name, task=task, pose=utilization, penalty=self.penalty)
            found += question.answers(evidence.train, evidence)
        return found or [Refusal(reason="the schema names no task", status="not applicable")]
