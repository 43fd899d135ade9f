"""Fit a model of the package ctgan and write as many records as it was given.

Runs in an environment of its own: ``by_ctgan.py TVAE|CTGAN EPOCHS SEED TRAIN.csv OUT.csv``; says
the seconds of processor time that fitting and writing took.
"""

import sys
import time

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN, TVAE

kind, epochs, seed, given, out = sys.argv[1:]
torch.set_num_threads(1)
np.random.seed(int(seed))
torch.manual_seed(int(seed))
table = pd.read_csv(given, keep_default_na=False)
categories = [name for name in table if table[name].dtype.kind == "O"]
options = {"epochs": int(epochs), "enable_gpu": False}
model = {"TVAE": TVAE, "CTGAN": CTGAN}[kind](**options)
start = time.process_time()
model.fit(table, categories)
model.sample(len(table)).to_csv(out, index=False)
print(time.process_time() - start)
