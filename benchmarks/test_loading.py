"""How long files that users put in place take to load: seconds and memory of a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = os.environ.get("FEDBENCH_DATA")

FILES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "heart4": ("uci_heart_disease", {}),
    "p12": ("physionet2012", {}),
    "diabetes130": ("uci_diabetes130", {}),
    "eicu_demo": ("eicu_demo", {}),
    "mimic3": ("mimic3_demo", {}),
    "mimic4": ("mimic4_demo_partial", {}),
    "omop": ("synthea27nj_omop", {"folder": "synthea27nj_omop", "index": "2015-01-01"}),
    "fhir": ("synthea_fhir_r4", {"folder": "synthea_fhir_r4", "index": "2015-01-01"}),
}
"""Of each dataset the folder in the data folder, and its settings."""

SECONDS, GIBIBYTES = 60, 2
"""More than any of these needs; seconds of a processor, which other work does not change much."""

# VmHWM is the new process's own peak; `ru_maxrss` starts from that of whoever started it.
LOAD = """
import json, sys, time
from pathlib import Path
from fedbench.data import DataStore
from fedbench.kinds import cohort_of

name, settings = json.loads(sys.argv[1])
begun, busy = time.perf_counter(), time.process_time()
cohort = cohort_of(name, settings, DataStore.default())
seconds, busy = time.perf_counter() - begun, time.process_time() - busy
peak = next(
    line.split()[1]
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmHWM")
)
size = [len(cohort), len(cohort.visits), len(cohort.codes)]
print(json.dumps([seconds, busy, int(peak) / 2**20, *size]))
"""


@pytest.mark.parametrize("name", FILES)
def test_files_load_in_seconds(duel: Any, name: str) -> None:
    folder, settings = FILES[name]
    if not ROOT or not (Path(ROOT) / folder).is_dir():
        pytest.skip(f"needs the folder {folder} in FEDBENCH_DATA")
    size = sum(path.stat().st_size for path in (Path(ROOT) / folder).rglob("*") if path.is_file())
    found: list[float] = []

    def load() -> None:
        asked = json.dumps([name, settings])
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", LOAD, asked], capture_output=True, check=True, text=True,
            env=alone,
        )  # fmt: skip
        found[:] = json.loads(done.stdout)

    duel.benchmark.pedantic(load, rounds=1)
    seconds, busy, peak, patients, visits, codes = found
    duel.say(
        f"{name}, folder of {size / 2**20:.3g} MiB: {patients:,.0f} records, {visits:,.0f} visits, "
        f"{codes:,.0f} codes in {seconds:.3g} s ({busy:.3g} of a processor); {peak:.3g} GiB at most"
    )
    assert patients
    assert busy < SECONDS
    assert peak < GIBIBYTES
