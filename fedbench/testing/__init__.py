"""Promises that every plug-in keeps; run them on yours.

>>> from fedbench.testing import check_partitioner
>>> from fedbench.partitioners.iid import Iid
>>> check_partitioner(Iid(sites=3))
"""

from __future__ import annotations

from fedbench.testing.checks import (
    check_attack,
    check_codec,
    check_dataset,
    check_generator,
    check_metric,
    check_partitioner,
    check_plugin,
    check_strategy,
)
from fedbench.testing.cohorts import made_up, made_up_sites

__all__ = [
    "check_attack",
    "check_codec",
    "check_dataset",
    "check_generator",
    "check_metric",
    "check_partitioner",
    "check_plugin",
    "check_strategy",
    "made_up",
    "made_up_sites",
]
