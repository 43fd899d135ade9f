"""The kinds of plug-in and where each lives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbench.attack import Attack
from fedbench.codec import Codec
from fedbench.data import Cohort, Dataset, DataStore
from fedbench.errors import ContractError, DataError, FedbenchError
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
    "cohort_of",
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


def cohort_of(name: str, settings: Mapping[str, Any], store: DataStore) -> Cohort:
    """Return the records of a dataset; whatever is wrong with them is told with its name.

    Raises:
        FedbenchError: there is no such dataset, or its files are not there or do not fit.
        ContractError: the plug-in breaks, or returns something else.
    """
    dataset = DATASETS.build(name, settings)
    try:
        cohort, schema = dataset.load(store), dataset.schema
    except FedbenchError as error:
        error.args = (f"{name}: {error}",)
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name}: {_absent(error, store)}") from error
    except Exception as error:
        raise ContractError(f"{name}: load broke with {type(error).__name__}: {error}") from error
    if not isinstance(cohort, Cohort):
        raise ContractError(f"{name}: load returned {cohort!r:.80}; expected a Cohort.")
    if cohort.schema != schema:
        raise ContractError(f"{name}: load returned records of another schema than it declares.")
    return cohort


def _absent(error: FileNotFoundError, store: DataStore) -> str:
    """Say which file a dataset misses, where it was looked for, and what to do."""
    path = str(error.filename or error)
    here = "" if Path(path).is_absolute() else f" (looked for in {Path.cwd()})"
    found = f"it is {store.root}" if store.root else "none is set"
    return (
        f"load found no file {path!r}{here}. Put it there; or let load read it from "
        f"store.folder(NAME), a folder of the data folder, which is --data-dir or FEDBENCH_DATA "
        f"({found})."
    )
