"""The kinds of plug-in and where each lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedbench.attack import Attack
from fedbench.codec import Codec
from fedbench.data import Dataset
from fedbench.generator import Generator
from fedbench.metric import Metric
from fedbench.partition import Partitioner
from fedbench.registry import Kind
from fedbench.strategy import Strategy

__all__ = [
    "ATTACKS",
    "CODECS",
    "DATASETS",
    "GENERATORS",
    "KINDS",
    "METRICS",
    "PARTITIONERS",
    "STRATEGIES",
]

ATTACKS = Kind("fedbench.attacks", Attack)
CODECS = Kind("fedbench.federation.codecs", Codec)
DATASETS = Kind("fedbench.datasets", Dataset)
GENERATORS = Kind("fedbench.baselines", Generator)
METRICS = Kind("fedbench.metrics", Metric)
PARTITIONERS = Kind("fedbench.partitioners", Partitioner)
STRATEGIES = Kind("fedbench.federation.strategies", Strategy)

KINDS: Mapping[str, Kind[Any]] = {
    "datasets": DATASETS,
    "partitioners": PARTITIONERS,
    "generators": GENERATORS,
    "strategies": STRATEGIES,
    "codecs": CODECS,
    "metrics": METRICS,
    "attacks": ATTACKS,
}
