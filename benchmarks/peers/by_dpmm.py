"""Fit the MST of the package dpmm and write as many records as it was given.

Runs in an environment of its own: ``by_dpmm.py EPSILON SEED TRAIN.csv OUT.csv``; says the seconds
of processor time that fitting and writing took.
"""

import sys
import time

import numpy as np
import pandas as pd
from dpmm.pipelines import MSTPipeline

epsilon, seed, given, out = sys.argv[1:]
np.random.seed(int(seed))
table = pd.read_csv(given, keep_default_na=False)
for name in table:
    if table[name].dtype.kind == "O":
        table[name] = table[name].astype("category")
start = time.process_time()
model = MSTPipeline(epsilon=float(epsilon), delta=1e-5, proc_epsilon=float(epsilon) / 10)
model.fit(table)
model.generate(len(table)).to_csv(out, index=False)
print(time.process_time() - start)
