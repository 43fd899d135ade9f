"""Fit the autoregressive network (ARGN) of the package mostlyai-engine and write as many records.

Runs in an environment of its own: ``by_mostlyai.py SEED TRAIN.csv OUT.csv``, with the settings that
the package proposes (at most 100 epochs, stopped early on a tenth held back); says the seconds of
processor time that fitting and writing took.
"""

import os
import sys
import time

# Read when the package is loaded: work in other processes would not be counted.
os.environ["LOKY_MAX_CPU_COUNT"] = "1"

import pandas as pd
import torch
from mostlyai.engine import TabularARGN

seed, given, out = sys.argv[1:]
torch.set_num_threads(1)
table = pd.read_csv(given, keep_default_na=False)
start = time.process_time()
with TabularARGN(device="cpu", random_state=int(seed)) as model:
    model.fit(table)
    model.sample(len(table)).to_csv(out, index=False)
print(time.process_time() - start)
