"""Return SynthEval's nearest-neighbour adversarial accuracy of two tables of numbers.

Runs in an environment of its own: ``by_syntheval.py REAL.csv FAKE.csv``; says the accuracy, and
the seconds of processor time it took.
"""

import sys
import time

import pandas as pd
from syntheval.metrics.privacy.metric_nn_adversarial_accuracy import evaluate_dataset_nnaa

real, fake = (pd.read_csv(path) for path in sys.argv[1:])
start = time.process_time()
accuracy, _ = evaluate_dataset_nnaa(real, fake, list(real), [], "euclid", 1)
print(accuracy, time.process_time() - start)
