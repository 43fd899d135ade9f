"""What must be said with every report, in words."""

from __future__ import annotations

from fedbench.report.leaks import VERBATIM
from fedbench.report.numbers import RULE

__all__ = ["CAVEATS", "GLOSSARY", "INTRODUCTION", "READING", "meaning"]

INTRODUCTION = (
    (
        "A generator learns from patients' records and writes synthetic ones. It can be trained in "
        "four ways: federated (hospitals train together, records stay where they are), centralized "
        "(all records in one place), local (every hospital alone) and mixture (what the local "
        "generators write, put together)."
    ),
    (
        "The synthetic records were compared with real patients who had been kept back, used to "
        "train models that foresee what happens to such patients, and attacked. A seed is one way "
        "to split the patients and to start the training; everything was repeated for every seed."
    ),
)
"""What a reader must know who has never seen such a report."""

CAVEATS = (
    VERBATIM,
    RULE,
    (
        "An interval covers chance in which patients were tested and, over seeds, in how "
        "patients were dealt, split and trained on. It does not cover that other hospitals are "
        "different."
    ),
    (
        "Only summaries of visits are modelled: per patient and time window the last value "
        "measured, the day of the last visit and whether a code was ever recorded. How a course "
        "unfolds from visit to visit is not in the synthetic records, and nothing here speaks "
        "about it."
    ),
    (
        "Hospitals with few patients or few events have wide intervals, or no number of their "
        "own; means over hospitals still use them."
    ),
    (
        "“Could not be told from others” means: not by this attack, with this many patients. "
        "Membership was attacked in one kind of way only, by the distance to released records. "
        "Other attacks, and attackers who know more, may see what this one does not."
    ),
    (
        "An attribute attack counts only how much better it does for training patients than for "
        "others; what can be inferred about anybody is medicine, and is not counted as a leak."
    ),
    (
        "“No difference could be shown” does not mean that there is none. What would probably "
        "have been seen or noticed is at least 1.43 times the half-width of the interval (a power "
        "of 80 %)."
    ),
    (
        "Sentences are about the generator that scores best here; that it was picked by its "
        "score flatters it a little."
    ),
    (
        "Amounts of data are measured as the size of serialized protobuf messages, without "
        "transport overhead; 1 MB is a million bytes."
    ),
)

READING = (
    (
        "A value stands above its range, the 95 % interval. Where the range of an attack holds "
        "the value of guessing, or that of a gain holds 0, chance alone may have made it."
    ),
    (
        "Federated, centralized, local and mixture differ only in who trains with whom; "
        "patients, split and generator are the same."
    ),
    (
        "Two kinds of patients are asked. Gain compares on each hospital's own patients and is "
        "the mean over hospitals; cost, the main table and the picture of leakage are about all "
        "hospitals' patients together, where a local generator's number is the mean over the "
        "hospitals' generators, weighted by patients. The two may point different ways."
    ),
    (
        "The floor is what a generator reaches that knows single columns only; the ceiling is "
        "what the real training records reach when they are scored as if they were synthetic."
    ),
    (
        "Refused means that there were too few patients to say anything; not applicable, that "
        "the question makes no sense there; failed, that something broke."
    ),
)

GLOSSARY = {
    "AUROC, C-index": (
        "How well a model that learnt from synthetic records foresees what happens to real "
        "patients: the chance that, of two patients, it ranks the one with the (earlier) event "
        "higher. 0.5 is guessing, 1 is perfect."
    ),
    "associations": (
        "How far correlations between pairs of columns are off, on average. 0 is perfect."
    ),
    "single columns": (
        "Which share of patients would have to change a value, per column, until synthetic and "
        "real columns agree. 0 is perfect."
    ),
    "detection": (
        "AUC of a classifier that tells synthetic from real patients. 0.5 means that it cannot."
    ),
    "AUC of an attack": (
        "The chance that the attacker ranks a training patient above one who was not trained on. "
        "0.5 is guessing; a released copy of the training records reaches 1."
    ),
    "leak at 1 % false alarms": (
        "The share of training patients that an attacker finds beyond luck, while wrongly "
        "accusing 1 % of the others."
    ),
    "leak at 10 % false alarms": (
        "The share of training patients that an attacker finds beyond luck, while wrongly "
        "accusing 10 % of the others; shown where patients are too few to ask for 1 %."
    ),
    "TPR at 1 % FPR": (
        "The share of training patients found while wrongly accusing 1 % of non-members, patients "
        "who were not trained on. It needs many of them, otherwise it is refused."
    ),
    "advantage": (
        "How much more often a sensitive fact is guessed right for training patients than for "
        "others: 0.01 is one more in a hundred."
    ),
}
"""What measures mean, for readers who do not use them every day."""

_TERMS = {
    "auroc": "AUROC, C-index",
    "c_index": "AUROC, C-index",
    "associations": "associations",
    "marginals": "single columns",
    "detection": "detection",
    "auc": "AUC of an attack",
    "leak@1%": "leak at 1 % false alarms",
    "leak@10%": "leak at 10 % false alarms",
    "advantage": "advantage",
}


def meaning(name: str) -> str:
    """Return what a measure means; nothing where the glossary does not know it."""
    return GLOSSARY.get(_TERMS.get(name.rpartition(".")[2], ""), "")
