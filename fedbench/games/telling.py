"""How what an attack finds is told to readers who have never heard of its game."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fedbench.attack import Game

__all__ = ["OTHER", "TOLD", "Telling", "told_as"]

_COPIED = "even a copy of the training records gave it no advantage"


@dataclass(frozen=True, kw_only=True, eq=False)
class Telling:
    """The words of one game; ``{}`` stands for what was attacked.

    ``question`` is what an attacker wants to know, and ``empty`` is said where there is nothing to
    ask. ``main`` is the part of its rows that says how much was given away. The sentences are about
    games whose main part is an advantage: how much more often an attack succeeds for training
    patients than for others. ``unasked`` is what cannot be spoken about where no such attack was
    run, if that is to be said at all. ``parts`` are what its further rows are called. ``unit`` is
    what its main part, or its share, is a share of.
    """

    question: str = ""
    empty: str
    main: Literal["auc", "advantage", "epsilon"] = "advantage"
    easier: str = "The attack {} succeeded more often for training patients than for others."
    level: str = (
        "The attack {} was not shown to succeed more often for training patients than for others."
    )
    unsaid: str = "What the attack {} gives away cannot be said, see below."
    unasked: str = ""
    found: str = "The attack {} succeeded more often for training patients than for others"
    unfound: str = (
        "The attack {} was not shown to succeed more often for training patients than for others"
    )
    whether: str = "what the attack {} gives away"
    tried: str = "attack {}"
    passed: str = "by {}"
    none_passed: str = "by no such attack were both passed"
    verdict: str = "The attack {} succeeds more often for training patients than for others"
    useless: str = _COPIED
    unit: str = "training patients"
    parts: Mapping[str, str] = field(default_factory=dict)


MEMBERSHIP = Telling(
    main="auc",
    question="who was trained on",
    empty="There is nobody to tell apart.",
    whether="whether training patients can be recognized (attack {})",
    useless="the attack did not even catch a copy of the training records",
)
ATTRIBUTE = Telling(
    question="which sensitive facts are easier to guess about them",
    empty="The schema declares nothing sensitive to infer.",
    easier="Guessing {} was easier for training patients than for others.",
    level="Guessing {} was not shown to be easier for training patients than for others.",
    unsaid="Whether {} can be inferred cannot be said, see below.",
    unasked="sensitive facts",
    found="{} could be inferred better for training patients than for others",
    unfound="Guesses of {} were not shown to be better for training patients than for others",
    whether="whether {} can be inferred",
    tried="guessing {}",
    passed="in guessing {}",
    none_passed="for no sensitive fact were both passed",
    verdict="{} is guessed right more often for training patients than for others",
)
LINKAGE = Telling(
    question="which parts of a record belong to one patient",
    empty="There is only one column, which has no two halves to link.",
    easier="Which parts of a record belong to one patient was easier to tell for training "
    "patients than for others (attack {}).",
    level="Which parts of a record belong to one patient was not shown to be easier to tell for "
    "training patients than for others (attack {}).",
    unsaid="Whether parts of a record can be linked cannot be said, see below (attack {}).",
    found="Parts of a record were linked more often for training patients than for others "
    "(attack {})",
    unfound="Parts of a record were not shown to be linked more often for training patients than "
    "for others (attack {})",
    whether="whether parts of a record can be linked (attack {})",
    passed="in linking parts of records ({})",
    none_passed="in linking parts of records not both were passed",
    verdict="Which parts of a record belong to one patient is told more often for training "
    "patients than for others (attack {})",
    parts={
        "advantage": "linked more often for training patients than for others",
        "linked": "linked for training patients",
        "control": "linked for other patients",
        "ceiling": "linked for training patients if their own records were released",
    },
)
SINGLING = Telling(
    question="how single patients can be pointed at",
    empty="No hospital has both training patients and others to point at.",
    unit="descriptions of released records",
    easier="The released records told how to point at single training patients, more often than "
    "at others (attack {}).",
    level="The released records were not shown to tell how to point at single training patients "
    "more often than at others (attack {}).",
    unsaid="Whether single patients can be pointed at cannot be said, see below (attack {}).",
    found="Descriptions of released records fitted exactly one patient more often among training "
    "patients than among equally many others (attack {})",
    unfound="Descriptions of released records were not shown to fit exactly one patient more often "
    "among training patients than among equally many others (attack {})",
    whether="whether single patients can be pointed at (attack {})",
    passed="in singling patients out ({})",
    none_passed="in singling patients out not both were passed",
    verdict="The released records tell how to point at single training patients, more often than "
    "at others (attack {})",
    parts={
        "advantage": "singled out more often among training patients than among others",
        "singled": "descriptions that single out a training patient",
        "control": "descriptions that single out one of equally many others",
    },
)
SOURCE = Telling(
    question="at which hospital they were",
    empty="There is only one hospital to be from.",
    easier="At which hospital a patient was is easier to tell for training patients than for "
    "others (attack {}).",
    level="At which hospital a patient was is not shown to be easier to tell for training patients "
    "than for others (attack {}).",
    unsaid="Whether it can be told at which hospital a patient was cannot be said, see below "
    "(attack {}).",
    found="At which hospital a patient was is told more often for training patients than for "
    "others (attack {})",
    unfound="At which hospital a patient was is not shown to be told more often for training "
    "patients than for others (attack {})",
    whether="whether it can be told at which hospital a patient was (attack {})",
    passed="in telling hospitals apart ({})",
    none_passed="in telling hospitals apart not both were passed",
    verdict="At which hospital a patient was is told more often for training patients than for "
    "others (attack {})",
    parts={
        "advantage": "hospital told more often for training patients than for others",
        "accuracy": "hospital told for training patients",
        "control": "hospital told for other patients",
        "base": "hospital told by chance",
    },
)
PROPERTY = Telling(
    question="how common something is among those of a hospital",
    empty="There is no column whose shares could be asked for.",
    unit="shares",
    easier="How common something is among a hospital's training patients is given away (attack "
    "{}).",
    level="How common something is among a hospital's training patients is not shown to be given "
    "away (attack {}).",
    unsaid="Whether it is given away how common something is at a hospital cannot be said, see "
    "below (attack {}).",
    found="Shares of a hospital's training patients are told better than those of others (attack "
    "{})",
    unfound="Shares of a hospital's training patients are not shown to be told better than those "
    "of others (attack {})",
    whether="whether it is given away how common something is at a hospital (attack {})",
    passed="in telling how common something is ({})",
    none_passed="in telling how common something is not both were passed",
    verdict="Shares of a hospital's training patients are told better than those of others "
    "(attack {})",
    parts={
        "advantage": "nearer to shares of training patients than of others",
        "error": "error about shares of training patients",
        "control": "error about shares of other patients",
        "reference": "error of the shares of other patients, without the training",
        "gain": "nearer to shares of training patients than without the training",
    },
)
RECONSTRUCTION = Telling(
    question="what their whole records are",
    empty="No hospital has both training patients and others to compare with.",
    easier="Whole records of training patients are rebuilt from what crossed (attack {}).",
    level="Whole records of training patients are not shown to be rebuilt from what crossed "
    "(attack {}).",
    unsaid="Whether whole records can be rebuilt cannot be said, see below (attack {}).",
    found="Records are rebuilt in every column more often for training patients than for others "
    "(attack {})",
    unfound="Records are not shown to be rebuilt in every column more often for training patients "
    "than for others (attack {})",
    whether="whether whole records can be rebuilt (attack {})",
    passed="in rebuilding records ({})",
    none_passed="in rebuilding records not both were passed",
    verdict="Records are rebuilt in every column more often for training patients than for others "
    "(attack {})",
    parts={
        "advantage": "rebuilt in every column more often for training patients than for others",
        "accuracy": "training patients rebuilt in every column",
        "control": "others rebuilt in every column",
        "base": "training patients who are in every column as is usual",
        "reference": "training patients whom one of as many others equals in every column",
        "ceiling": "training patients rebuilt if their own encoded records were seen",
        "columns": "columns of training patients that are right",
        "usual": "columns that are right if what is usual is said",
        "population": "columns that are right if as many others are said",
        "gain": "columns that are right beyond the better of both",
    },
)
AUDIT = Telling(main="epsilon", empty="No canaries were planted here.")
"""Audits with canaries, which are told apart from attacks: they are about cells of their own."""

OTHER = Telling(empty="There is nothing to ask.")
"""A game of which nothing more is known than its rows."""

TOLD: Mapping[Game, Telling] = {
    "membership": MEMBERSHIP,
    "attribute": ATTRIBUTE,
    "linkage": LINKAGE,
    "singling-out": SINGLING,
    "source": SOURCE,
    "property": PROPERTY,
    "reconstruction": RECONSTRUCTION,
}
"""The games that are played, in the order in which they are told."""


def told_as(game: str) -> Telling:
    """Return the words of a game."""
    if game == "planted":
        return AUDIT
    return next((said for name, said in TOLD.items() if name == game), OTHER)
