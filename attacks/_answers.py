"""What do released records say about a secret?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import Sight, levels_of

__all__ = ["Answers"]


@dataclass(frozen=True)
class Answers:
    """The released records that have an answer.

    Attributes:
        records: their patient table.
        said: a row per record with a one at its answer, shape ``(records, levels)``.
        usual: the share of every answer, none of them 0, ``(levels,)``.
    """

    records: pd.DataFrame
    said: NDArray[np.float64]
    usual: NDArray[np.float64]

    @classmethod
    def of(cls, sight: Sight, secret: str) -> Answers:
        feature = sight.schema.feature(secret)
        answers = levels_of(sight.synthetic.table, feature)
        there = answers >= 0
        said = np.eye(len(feature.column.levels))[answers[there]]
        usual = (said.sum(axis=0) + 1) / (len(said) + said.shape[1])
        return cls(sight.synthetic.table[there], said, usual)
