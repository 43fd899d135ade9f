"""Would any attack succeed, release or no release?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedbench.attack import plain_columns
from fedbench.data import Schema
from fedbench.games.dealing import Challenge
from fedbench.games.scoring import Ranked, Site, auc_of, counts_of, sites_of
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Rng, Seeds

__all__ = ["DIFFER", "STRICT", "blind_baseline", "distrust"]

STRICT = 0.001
"""The level at which a control or a baseline silences what it controls."""

DIFFER = "patients who were trained on and others differ"
"""How the verdict of a baseline begins that tells them apart."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def blind_baseline(
    schema: Schema, challenge: Challenge, seeds: Seeds, folds: int = 3
) -> Measure | Refusal:
    """Tell members from others without looking at the release: it should be guessing.

    A model is trained on the *truth* of some clusters and judges the others. If it succeeds,
    the two classes differ for reasons that no generator is to blame for, and every attack
    would look successful (Das, Zhang and Tramèr 2024, https://arxiv.org/abs/2406.16201). Beside the
    patient table it sees how long records are, as attacks do that look at every visit and code.
    Limits are at the level ``STRICT``; ask ``distrust`` what they mean. There is no p-value: the
    scores of patients who taught each other's judges are not independent, and p below 0.05 was
    seen three times as often as it should be.
    """
    sites = sites_of(challenge, seeds.child("bootstrap"))
    sites = [site for site in sites if min(site.n) > 1]
    fold = _folds(sites, folds, seeds.child("folds").rng(), len(challenge.truth))
    for held in range(folds):
        if len(np.unique(challenge.truth[(fold >= 0) & (fold != held)])) < 2:
            return Refusal(reason="Too few patients to train a blind baseline.", part="blind")
    records = np.column_stack([_with_site(schema, challenge), *_lengths(schema, challenge)])
    scores = np.zeros(len(challenge.truth))
    for held in range(folds):
        learn, judge = (fold >= 0) & (fold != held), fold == held
        if judge.any():
            rng = seeds.child("blind", held).rng()
            scores[judge] = _tell_apart(records[learn], challenge.truth[learn], rng, records[judge])
    ranked = [Ranked(site, scores[site.rows]) for site in sites]
    row = auc_of(ranked, 1 - STRICT)
    kept = {name: value for name, value in row.facts.items() if not name.startswith("p_")}
    facts = {**counts_of(sites, challenge), **kept, "verdict": _words(row)}
    return replace(row, part="blind", facts=facts)


def _words(row: Measure) -> str:
    if row.low > 0.5:
        return f"{DIFFER} even without the release"
    return (
        "no difference between patients who were trained on and others that an attack could "
        "mistake for a leak"
    )


def distrust(blind: Measure | Refusal) -> str:
    """Return why membership claims about this challenge would be worthless, or nothing."""
    if isinstance(blind, Refusal) or not blind.low > 0.5:
        return ""
    return (
        f"{DIFFER[0].upper()}{DIFFER[1:]} even for a model that never saw the release (AUC "
        f"{blind.value:.3f}, {blind.low:.3f} to {blind.high:.3f} at level {STRICT:g}), so no "
        "success could be put down to the release. Draw the control from the same population, "
        "before training."
    )


def _folds(sites: Sequence[Site], folds: int, rng: Rng, n: int) -> Ints:
    """Deal whole clusters to folds, evenly within site and class; -1 for sites left out."""
    fold = np.full(n, -1)
    for site in sites:
        for side in (True, False):
            rows, clusters = site.rows[site.truth == side], site.clusters[site.truth == side]
            names, owner = np.unique(clusters, return_inverse=True)
            fold[rows] = rng.permutation(np.arange(len(names)) % folds)[owner]
    return fold


def _with_site(schema: Schema, challenge: Challenge) -> Floats:
    known = [f for f in schema.features if f.name in challenge.public.targets]
    number = np.unique(challenge.sites.astype(str), return_inverse=True)[1]
    return np.column_stack([plain_columns(challenge.public.targets, known), number])


def _lengths(schema: Schema, challenge: Challenge) -> Iterator[Floats]:
    """Yield how many visits and codes patients have, on how many days, and from when to when."""
    parts = {"visits": bool(schema.visits), "codes": bool(schema.vocabularies)}
    for name in (name for name, there in parts.items() if there):
        table, n = getattr(challenge.public.records, name), len(challenge.truth)
        # Targets are called by their row numbers.
        who, day = table["patient"].astype(np.int64).to_numpy(), table["day"].to_numpy(np.float64)
        days = np.unique(np.column_stack([who, day]), axis=0)[:, 0].astype(np.int64)
        ends = np.full((2, n), np.nan)
        np.fmin.at(ends[0], who, day)
        np.fmax.at(ends[1], who, day)
        yield from (np.bincount(who, minlength=n), np.bincount(days, minlength=n), *ends)


def _tell_apart(records: Floats, truth: Bools, rng: Rng, asked: Floats) -> Floats:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    model = HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=8,
        early_stopping=False,
        random_state=int(rng.integers(2**31)),
    )
    filled = np.isfinite(records).any(axis=0)  # trees cannot bin a column without a value
    with threadpool_limits(1):
        model.fit(records[:, filled], truth)
        return np.asarray(model.predict_proba(asked[:, filled])[:, 1])
