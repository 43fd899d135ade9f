"""Is a patient's loss low under what her hospital sent?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedbench.attack import Knowledge
from fedbench.attacks._training import Floats, Tracing
from fedbench.data import Cohort
from fedbench.traces import Traces

__all__ = ["Loss"]


@dataclass(frozen=True, kw_only=True)
class Loss(Tracing):
    """Minus the patient's loss under the parameters that her hospital sent (a weak attack).

    Yeom et al. 2018, https://doi.org/10.1109/CSF.2018.00027.
    """

    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.UPDATES, Knowledge.REFERENCE})
    version: ClassVar[int] = 4

    def scores(self, traces: Traces, usual: Cohort, targets: Cohort, patients: float) -> Floats:
        return np.concatenate([-traces.losses(block) for block in traces.blocks(targets)])
