"""Does what hospitals send tell which planted records they trained on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Knowledge
from fedbench.attacks._among import among
from fedbench.attacks._canaries import Auditing
from fedbench.attacks._training import Tracing
from fedbench.data import Cohort
from fedbench.traces import Floats, Traces

__all__ = ["CanaryUpdates"]


@dataclass(frozen=True, kw_only=True)
class CanaryUpdates(Auditing, Tracing):
    """A one-run audit of the updates: the score of ``gradient``, which knows of all canaries.

    Steinke, Nasr and Jagielski 2023 (https://arxiv.org/abs/2305.08846).
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 3

    def scores(self, traces: Traces, usual: Cohort, targets: Cohort, patients: float) -> Floats:
        known, each = (
            np.concatenate([traces.of(block) for block in traces.blocks(cohort)])
            for cohort in (usual, targets)
        )
        return among(traces.seen, known, each, patients)
