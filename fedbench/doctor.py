"""What fedbench would run on, for people who ask for help and for people who answer them."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedbench.data import DataStore
from fedbench.errors import FedbenchError
from fedbench.kinds import DATASETS, cohort_of

__all__ = ["Readiness", "cores", "examine", "readiness"]

PACKAGES = (
    "fedbench-ehr",
    "flwr",
    "torch",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "lifelines",
    "pyarrow",
    "pydantic",
    "typer",
)


@dataclass(frozen=True)
class Readiness:
    """Whether a dataset can be used here, and what is missing."""

    name: str
    patients: int | None
    missing: str = ""


def cores() -> int:
    """Return how many processor cores this process may use."""
    # Not everywhere is there such a mask; os.cpu_count counts cores that a container withholds.
    mask = getattr(os, "sched_getaffinity", None)
    return len(mask(0)) if mask else os.cpu_count() or 1


def readiness(name: str, store: DataStore) -> Readiness:
    """Load a dataset, to see whether it can be."""
    try:
        return Readiness(name, len(cohort_of(name, {}, store)))
    except FedbenchError as error:
        return Readiness(name, None, str(error))


def examine(store: DataStore, out: Path) -> Mapping[str, Any]:
    """Return all that matters, in values that JSON knows."""
    import psutil  # noqa: PLC0415

    datasets = [readiness(name, store) for name in DATASETS.names()]
    memory = psutil.virtual_memory()
    return {
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cores": cores(),
        **_torch(),
        "memory": {"total": memory.total, "available": memory.available},
        "disk": {"folder": str(out.resolve()), "free": shutil.disk_usage(_existing(out)).free},
        "data": {
            "folder": None if store.root is None else str(store.root),
            "ready": {d.name: d.patients for d in datasets if not d.missing},
            "not ready": {d.name: d.missing for d in datasets if d.missing},
        },
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _torch() -> Mapping[str, Any]:
    """Ask torch, which may be broken on its own: that is what a doctor should then say."""
    try:
        import torch  # noqa: PLC0415
    except (ImportError, OSError) as error:
        return {"threads": None, "cuda": None, "torch": f"cannot be imported: {error}"}
    seen = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "cuda": seen}


def _existing(path: Path) -> Path:
    """Return the nearest folder above that is there."""
    path = path.resolve()
    return next(folder for folder in (path, *path.parents) if folder.exists())
