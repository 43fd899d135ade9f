"""Benchmarks for federated synthetic health records.

The names below are all that a plug-in needs; each is imported when it is first used, so that
``fedbench --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench.attack import Attack, Guess, Knowledge, PublicChallenge, Sight
    from fedbench.codec import Codec
    from fedbench.data import (
        Cohort,
        Column,
        Dataset,
        DataStore,
        Outcome,
        Part,
        Schema,
        Task,
        Vocabulary,
        Window,
    )
    from fedbench.encoding import Encoder, Records
    from fedbench.generator import Generator, Local, Phase, Site, Statistic
    from fedbench.metric import Anchors, Evidence, Key, Measure, Metric, Refusal
    from fedbench.partition import Partition, Partitioner
    from fedbench.seeds import Rng, Seeds
    from fedbench.strategy import Combined, Correction, Strategy, Update
    from fedbench.training import Neural

_HOME = {
    "attack": ("Attack", "Guess", "Knowledge", "PublicChallenge", "Sight"),
    "codec": ("Codec",),
    "data": (
        "Cohort",
        "Column",
        "DataStore",
        "Dataset",
        "Outcome",
        "Part",
        "Schema",
        "Task",
        "Vocabulary",
        "Window",
    ),
    "encoding": ("Encoder", "Records"),
    "generator": ("Generator", "Local", "Phase", "Site", "Statistic"),
    "metric": ("Anchors", "Evidence", "Key", "Measure", "Metric", "Refusal"),
    "partition": ("Partition", "Partitioner"),
    "seeds": ("Rng", "Seeds"),
    "strategy": ("Combined", "Correction", "Strategy", "Update"),
    "training": ("Neural",),
}

__all__ = [
    "Anchors",
    "Attack",
    "Codec",
    "Cohort",
    "Column",
    "Combined",
    "Correction",
    "DataStore",
    "Dataset",
    "Encoder",
    "Evidence",
    "Generator",
    "Guess",
    "Key",
    "Knowledge",
    "Local",
    "Measure",
    "Metric",
    "Neural",
    "Outcome",
    "Part",
    "Partition",
    "Partitioner",
    "Phase",
    "PublicChallenge",
    "Records",
    "Refusal",
    "Rng",
    "Schema",
    "Seeds",
    "Sight",
    "Site",
    "Statistic",
    "Strategy",
    "Task",
    "Update",
    "Vocabulary",
    "Window",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"fedbench.{module}"), name)
    raise AttributeError(f"module 'fedbench' has no attribute {name!r}")
