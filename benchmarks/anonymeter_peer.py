"""Anonymeter's attacks on tables, for an environment of its own: it needs an older NumPy.

    python anonymeter_peer.py FOLDER ATTACKS HALF SECRET

prints the seconds of a processor and the success of each attack as JSON. FOLDER holds
``train.csv``, ``control.csv`` and ``synthetic.csv``; HALF are columns separated by commas.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from anonymeter.evaluators import (
    InferenceEvaluator,
    LinkabilityEvaluator,
    SinglingOutEvaluator,
)

warnings.filterwarnings("ignore")


def main(folder: Path, attacks: int, half: list[str], secret: str) -> dict[str, Any]:
    names = ("train", "control", "synthetic")
    train, control, synthetic = (pd.read_csv(folder / f"{name}.csv") for name in names)
    others = [name for name in train if name not in half]
    known = [name for name in train if name != secret]
    common = {"ori": train, "syn": synthetic, "control": control, "n_attacks": attacks}
    asked = {
        "linkage": lambda: LinkabilityEvaluator(**common, aux_cols=(half, others), n_neighbors=1),
        "inference": lambda: InferenceEvaluator(
            **common, aux_cols=known, secret=secret, regression=False
        ),
        "singling": lambda: SinglingOutEvaluator(**common, n_cols=4),
    }
    return {name: timed(name, make) for name, make in asked.items()}


def timed(name: str, make: Any) -> dict[str, float]:
    how = {"mode": "multivariate"} if name == "singling" else {"n_jobs": 1}
    make().evaluate(**how)  # its kernels are compiled on the way
    start = time.process_time()
    found = make()
    found.evaluate(**how)
    seconds = time.process_time() - start
    results = found.results()
    return {
        "seconds": seconds,
        "members": results.attack_rate.value,
        "others": results.control_rate.value,
    }


if __name__ == "__main__":
    _, place, n, columns, about = sys.argv
    sys.stdout.write(json.dumps(main(Path(place), int(n), columns.split(","), about)))
