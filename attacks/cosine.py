"""Do updates point where a patient's gradient does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Knowledge
from fedbench.attacks._training import Floats, Tracing
from fedbench.data import Cohort
from fedbench.traces import Traces

__all__ = ["Cosine"]


@dataclass(frozen=True, kw_only=True)
class Cosine(Tracing):
    """The cosine between what a hospital sends and the patient's gradient (a weak attack).

    Without whitening, the few directions in which all gradients are long decide.
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 6

    def scores(self, traces: Traces, usual: Cohort, targets: Cohort, patients: float) -> Floats:
        found, length = [], max(float(np.linalg.norm(traces.seen)), 1e-30)
        for block in traces.blocks(targets):
            each = traces.of(block)
            norms = np.maximum(np.linalg.norm(each, axis=1), 1e-30)
            found.append((each @ traces.seen).astype(np.float64) / (norms * length))
        return np.concatenate(found)
