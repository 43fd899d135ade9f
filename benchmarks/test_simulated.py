"""A million simulated patients with ten visits each: seconds and memory of a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

VISITS = 12.5
"""For everybody followed throughout; follow-up that ends leaves 10 on average."""

# VmHWM is the new process's own peak; `ru_maxrss` starts from that of whoever started it.
DRAW = """
import json, time
from pathlib import Path
from fedbench.data import Cohort, DataStore
from fedbench.datasets.simulated import Simulated

seconds, check = [], Cohort.of_tables

def timed(*tables):
    begun = time.perf_counter()
    found = check(*tables)
    seconds.append(time.perf_counter() - begun)
    return found

Cohort.of_tables = timed
begun, busy = time.perf_counter(), time.process_time()
cohort = Simulated(patients=1_000_000, visits={visits}).load(DataStore())
seconds += [time.perf_counter() - begun, time.process_time() - busy]
peak = next(
    line.split()[1]
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmHWM")
)
print(json.dumps([*seconds, int(peak) / 2**20, len(cohort.visits), len(cohort.codes)]))
"""


def test_a_million_patients_take_less_than_a_minute_and_8_gigabytes(duel: Any) -> None:
    found: list[float] = []

    def draw() -> None:
        code = DRAW.format(visits=VISITS)
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=alone
        )
        found.extend(json.loads(done.stdout))

    duel.benchmark.pedantic(draw, rounds=1)
    checked, whole, busy, peak, visits, codes = found
    duel.say(
        f"simulated, 1,000,000 patients, {visits:,.0f} visits, {codes:,.0f} codes: {whole:.3g} s "
        f"({busy:.3g} of a processor), {checked:.3g} of them for checking every record; "
        f"{peak:.3g} GiB at most"
    )
    assert visits >= 10_000_000
    assert busy < 60, "on one thread: what a machine takes that does nothing else"
    assert peak < 8
