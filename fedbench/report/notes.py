"""What must be said with every report, in words."""

from __future__ import annotations

from collections.abc import Sequence

from fedbench.report.leaks import VERBATIM
from fedbench.report.numbers import RULE
from fedbench.report.words import joined
from fedbench.report.world import World

__all__ = [
    "ATTRIBUTES",
    "FLATTERED",
    "FLATTERING",
    "GLOSSARY",
    "SINGLE",
    "caveats",
    "how",
    "introduction",
    "meaning",
    "reading",
]


def introduction(worlds: Sequence[World]) -> list[str]:
    """Return what a reader must know who has never seen such a report."""
    done = [
        "compared with real patients who had been kept back",
        *(["attacked"] * _attacked(worlds)),
        *(["used to train models that foresee what happens to such patients"] * _useful(worlds)),
    ]
    return [
        (
            "A generator learns from patients' records and writes synthetic ones. It can be "
            "trained in four ways: federated (hospitals train together, records stay where they "
            "are), centralized (all records in one place), local (every hospital alone) and "
            "mixture (what the local generators write, put together)."
        ),
        (
            f"The synthetic records were {joined(done)}. A seed is one way to split the patients "
            "and to start the training; everything was repeated for every seed."
        ),
    ]


def caveats(worlds: Sequence[World]) -> list[str]:
    """Return what must be said of this run; nothing about what is not in it."""
    said = [
        (VERBATIM, _recognized(worlds)),
        (RULE, _seeds(worlds) > 1),
        (_CHANCE if _seeds(worlds) > 1 else _CHANCE_OF_ONE, bool(worlds)),
        (_SUMMARIES, bool(worlds)),
        (_SMALL, _few(worlds)),
        (_KINDS_OF_ATTACK.format(how(worlds)), _recognized(worlds)),
        (ATTRIBUTES, _guessed(worlds)),
        (_NO_DIFFERENCE, any(n["target"] in ("gain", "tax") for w in worlds for n in w.own)),
        (_PICKED, any(w.standing == "best" for w in worlds)),
        (_BYTES, any(n["name"] == "communication.bytes" for w in worlds for n in w.own)),
    ]
    return [text for text, holds in said if holds]


def reading(worlds: Sequence[World]) -> list[str]:
    """Return how tables and words are meant."""
    regimes = list(dict.fromkeys(r for w in worlds for r in w.regimes))
    who = joined(regimes)
    differ = f"{who[:1].upper()}{who[1:]} differ only in who trains with whom; patients, "
    return [
        READING[0],
        *([f"{differ}split and generator are the same."] if len(regimes) > 1 else []),
        *READING[1:],
        *([f"The scale from floor to ceiling flatters {_COURSES}: {FLATTERING}"] * _flat(worlds)),
    ]


FLATTERED = ("visits.", "codes.next", "codes.per_visit", "codes.together", "forecast")
"""Measures of what unfolds from visit to visit, by the beginning of their names."""
_COURSES = "what is measured of visits, codes and next values"
FLATTERING = (
    "their floor draws columns one by one, which leaves no order in time and next to no patient "
    "with two visits, so that it is about as bad as can be and records that are badly wrong may "
    "lie near the ceiling. Read the number beside what real training records reach."
)


def _flat(worlds: Sequence[World]) -> bool:
    """Whether there is a number whose floor has no order in time."""
    return any(
        n["name"].startswith(FLATTERED) and n.floor is not None for w in worlds for n in w.own
    )


_CHANCE = (
    "An interval covers chance in which patients were tested and, over seeds, in how patients were "
    "dealt, split and trained on. It does not cover that other hospitals are different."
)
_CHANCE_OF_ONE = (
    "There is one seed. An interval covers chance in which patients were tested, not how they were "
    "dealt, split and trained on, nor that other hospitals are different."
)
_SUMMARIES = (
    "Only summaries of visits are modelled: per patient and time window the last value measured, "
    "the day of the last visit and whether a code was ever recorded. How a course unfolds from "
    "visit to visit is not in the synthetic records, and nothing here speaks about it."
)
_SMALL = (
    "Hospitals with few patients or few events have wide intervals and, in all seeds or some, no "
    "number of their own. Means over hospitals still use what little they tell; a hospital that "
    "had to be left out is named beside the mean."
)
_KINDS_OF_ATTACK = (
    "“Could not be told from others” means: not by this attack, with this many patients. "
    "Membership was attacked {} only. Other attacks, and attackers who know more, may see what "
    "was not seen here."
)
ATTRIBUTES = (
    "An attribute attack counts only how much better it does for training patients than for "
    "others; what can be inferred about anybody is medicine, and is not counted as a leak."
)
_NO_DIFFERENCE = (
    "“No difference could be shown” does not mean that there is none. What would probably have "
    "been seen or noticed is at least 1.43 times the half-width of the interval (a power of 80 %)."
)
_PICKED = (
    "Where the answers are about the generator that scores best, that it was picked by its score "
    "flatters it a little."
)
_BYTES = (
    "Amounts of data are measured as the size of serialized protobuf messages, without transport "
    "overhead; 1 MB is a million bytes."
)


def _seeds(worlds: Sequence[World]) -> int:
    return max((n.asked for world in worlds for n in world.own), default=0)


def _recognized(worlds: Sequence[World]) -> bool:
    return any(world.attacks for world in worlds)


def _guessed(worlds: Sequence[World]) -> bool:
    return any(play.game == "attribute" for world in worlds for play in world.plays)


def _attacked(worlds: Sequence[World]) -> bool:
    return any(world.plays for world in worlds)


def _useful(worlds: Sequence[World]) -> bool:
    return any(world.utility[0] for world in worlds)


def _few(worlds: Sequence[World]) -> bool:
    """Whether a hospital lacks a number that was asked of it."""
    return any(
        n["site"] not in ("", "worst") and n.seeds < n.asked and n["target"] == "specialist"
        for world in worlds
        for n in world.own
        if n["family"] in ("fidelity", "utility")
    )


def how(worlds: Sequence[World]) -> str:
    """Say by which attacks it was asked who was trained on."""
    names = sorted({attack for world in worlds for attack in world.attacks})
    if names == ["dcr"]:
        return "in one kind of way, by the distance to released records (dcr),"
    return f"by {joined(names)}" if names else "by no attack,"


SINGLE = (
    "Numbers about one column or code alone, such as every test of equivalence, are no part of "
    "this: they stand in results.parquet, in rows with a column."
)
READING = (
    (
        "A value stands beside its range, the 95 % interval. Where the range of an attack holds "
        "the value of guessing, or that of a gain holds 0, chance alone may have made it."
    ),
    (
        "Two kinds of patients are asked. Gain compares on each hospital's own patients and is "
        "the mean over hospitals; cost, the main table and the picture of leakage are about all "
        "hospitals' patients together, where a local generator's number is the mean over the "
        "hospitals' generators, weighted by patients, unless a note under the table names own "
        "patients. The two may point different ways."
    ),
    (
        "A gain or a difference above 0 means that training together is better, in every table "
        "and whatever the direction of its measure."
    ),
    (
        "The floor is what a generator reaches that knows single columns only; the ceiling is "
        "what the real training records reach when they are scored as if they were synthetic."
    ),
    (
        "Refused means that there were too few patients to say anything, or that an attack failed "
        "its control; skipped, that something was not there to ask with; not applicable, that the "
        "question makes no sense there; failed, that something broke. “1 of 3 seeds” means that "
        "the number is that of one seed, and that the others have none."
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
        "How much more often an attack succeeds for training patients than for others, such as in "
        "guessing a sensitive fact: 0.01 is one more in a hundred."
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
