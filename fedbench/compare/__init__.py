"""Has a run become worse than an earlier one? Two runs of one suite, seed by seed."""

from __future__ import annotations

from fedbench.compare.judging import Comparison, Gate, compare, judge, plain
from fedbench.compare.primary import PRIMARY, TOLERANCE, Asked, tolerances
from fedbench.compare.runs import About, Run

__all__ = [
    "PRIMARY",
    "TOLERANCE",
    "About",
    "Asked",
    "Comparison",
    "Gate",
    "Run",
    "compare",
    "judge",
    "plain",
    "tolerances",
]
