"""Simulated patients against the truth that they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp, norm
from sklearn.metrics import roc_auc_score

from fedbench.data import TABLES, Cohort, DataStore, cohort_from_table
from fedbench.datasets._truth import AGE_SPREAD, HORIZON, MIDDLE_AGE, latent
from fedbench.datasets.simulated import Simulated, System
from fedbench.errors import SpecError
from fedbench.kinds import DATASETS
from fedbench.task import problem, utilization

Floats = NDArray[np.float64]

BOUND = norm.isf(1e-4 / 2)
"""A hundred such comparisons fail by chance once in a hundred worlds; seeds are fixed."""

WORLD = Simulated(
    patients=20_000, hospitals=3, unequal=0.5, shift=0.7, label_shift=0.6, outlier=2,
    informative=1.0, systems=("icd10", "snomed"), world=3,
)  # fmt: skip


@cache
def load(dataset: Simulated) -> Cohort:
    return dataset.load(DataStore())


def at(dataset: Simulated) -> list[NDArray[np.object_]]:
    """Return the patients of every hospital, in the order of the truth."""
    cohort = load(dataset)
    levels = dataset.schema.static["hospital"].levels
    return [cohort.patients[cohort.sites == level] for level in levels]


def labs(cohort: Cohort) -> pd.DataFrame:
    """Return all labs on the latent scale, by patient, while everybody is there."""
    early = cohort.visits[cohort.visits["day"] <= 0]
    named = early.set_index("patient")[list(cohort.schema.visits)]
    return named.apply(lambda column: latent(column.to_numpy()))


def close(groups: Sequence[NDArray[Any]], truth: Floats) -> None:
    """Means of independent values are as far from the truth as chance allows."""
    mean = np.array([group.mean(axis=0) for group in groups])
    error = np.array([group.std(axis=0) / np.sqrt(len(group)) for group in groups])
    assert mean.shape == np.shape(truth)
    assert (np.abs(mean - truth) <= BOUND * error).all(), np.abs(mean - truth) / error


def close_by_patient(tables: list[pd.DataFrame], truth: Floats) -> None:
    """Means over visits, whose error is that of patients: ratios of sums, linearized."""
    for table, expected in zip(tables, truth, strict=True):
        apart = (table - expected).groupby(level=0).sum()
        error = np.sqrt((apart**2).sum()) / table.notna().sum()
        assert (np.abs(table.mean() - expected) <= BOUND * error).all()


# The records follow the truth


def test_hospitals_have_their_shares() -> None:
    sizes = [len(patients) for patients in at(WORLD)]
    assert sizes == WORLD.sizes.tolist()
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(np.array(sizes) / len(load(WORLD)), WORLD.truth.shares, atol=1e-4)


def test_ages_lie_where_they_should() -> None:
    ages = load(WORLD).static.set_index("patient")["age"]
    close(
        [ages.loc[list(p)].to_numpy() for p in at(WORLD)],
        MIDDLE_AGE + AGE_SPREAD * WORLD.truth.age_shift,
    )


def test_labs_have_their_means_and_gaps() -> None:
    found = labs(load(WORLD))
    by_hospital = [found[found.index.isin(patients)] for patients in at(WORLD)]
    close_by_patient(by_hospital, WORLD.truth.measured_mean)
    gaps = [table.isna().astype(float) for table in by_hospital]
    close_by_patient(gaps, WORLD.truth.missing)


@pytest.mark.parametrize("effect", [0.0, 0.5, 2.0])
def test_labs_have_their_correlations(effect: float) -> None:
    dataset = replace(WORLD, effect=effect, informative=0.0, missing=0.0)
    found = labs(load(dataset)).groupby(level=0).last()  # one visit each: independent rows
    for h, patients in enumerate(at(dataset)):
        values = found[found.index.isin(patients)].to_numpy()
        apart = values - dataset.truth.lab_mean[h]
        products = apart[:, :, None] * apart[:, None, :]
        close([products], dataset.truth.lab_covariance[h][None])
    off = dataset.truth.lab_correlation[0] - np.eye(dataset.labs)
    assert (np.abs(off).max() < 1e-12) == (effect == 0)


def test_a_patient_keeps_a_known_share_of_a_lab() -> None:
    dataset = replace(WORLD, missing=0.0)
    found, truth = labs(load(dataset)), dataset.truth
    twice = found[found.groupby(level=0).transform("size") > 1].groupby(level=0)
    people = dict(zip(load(dataset).patients, range(dataset.patients), strict=True))
    first, last = twice.first(), twice.last()
    mine = [people[patient] for patient in first.index]
    known = dataset.people
    level = truth.lab_shift[known.hospital] + (truth.states @ truth.loadings)[known.state]
    products = (first.to_numpy() - level[mine]) * (last.to_numpy() - level[mine])
    close([products], np.full((1, dataset.labs), truth.persistence))


def test_codes_are_as_common_as_they_should_be_in_the_system_of_the_hospital() -> None:
    codes = load(WORLD).codes
    for h, patients in enumerate(at(WORLD)):
        system: System = WORLD.systems[h % 2]
        mine = codes[codes["patient"].isin(patients)]
        assert set(mine["system"]) == {f"simulated-{system}"}
        known = mine[mine["day"] <= 0]
        people = pd.Index(patients)
        has = [
            people.isin(known.loc[known["code"] == code, "patient"]) for code in WORLD.names(system)
        ]
        close([np.array(has, dtype=float).T], WORLD.truth.prevalence[[h]])


def test_visits_are_as_many_as_they_should_be() -> None:
    days = load(WORLD).visits
    assert not days.duplicated(["patient", "day"]).any()
    early = days[days["day"] <= 0].groupby("patient").size()
    counts = early.reindex(load(WORLD).patients, fill_value=0).to_numpy(dtype=float)
    close([counts], np.array([730 * WORLD.truth.daily]))


# The event


def test_events_are_as_frequent_as_they_should_be() -> None:
    ends = load(WORLD).outcome.set_index("patient")
    ill = ((ends["event"] == 1) & (ends["time"] <= HORIZON)).astype(float)
    close([ill.loc[list(p)].to_numpy() for p in at(WORLD)], WORLD.truth.event_rate)
    assert WORLD.truth.shares @ WORLD.truth.event_rate == pytest.approx(WORLD.event_rate)


def test_equal_patients_differ_in_hazard_as_declared() -> None:
    """Events over expected events, per hospital, are e to the declared log ratio."""
    ends, people, truth = load(WORLD).outcome, WORLD.people, WORLD.truth
    equal = np.exp(people.log_hazard - truth.log_rate[people.hospital])
    expected = equal * (ends["time"].to_numpy() - 0.5)  # days are rounded up
    for h, log_ratio in enumerate(truth.log_rate):
        mine = people.hospital == h
        seen = ends["event"].to_numpy()[mine].sum()
        assert abs(np.log(seen / expected[mine].sum()) - log_ratio) < BOUND / np.sqrt(seen)


@pytest.mark.parametrize("rare", [False, True])
def test_what_can_be_known_is_calibrated(rare: bool) -> None:  # noqa: FBT001
    """Also where who was measured at all says more than what was found."""
    few = replace(WORLD, visits=2.5, missing=0.8, informative=4.0)
    dataset = few if rare else WORLD
    cohort = load(dataset)
    asked = problem(cohort, cohort.schema.tasks["event"])
    risk = dataset.truth.risk(cohort)
    tenths = np.array_split(np.argsort(risk), 10)
    close([asked.event[rows] - risk[rows] for rows in tenths], np.zeros(10))


def test_nothing_beats_what_can_be_known_and_that_does_not_beat_what_is_true() -> None:
    cohort, truth = load(WORLD), WORLD.truth
    asked = problem(cohort, cohort.schema.tasks["event"])
    assert len(asked.event) == len(cohort)
    risk = truth.risk(cohort)
    known, true = (roc_auc_score(asked.event, s) for s in (risk, WORLD.people.log_hazard))
    assert true == pytest.approx(truth.best_auroc, abs=0.015)
    assert 0.7 < known < true - 0.01
    smoker = asked.predictors["smoker=yes"]
    for other in (asked.predictors["age"], smoker, asked.predictors["age"] + 10 * smoker):
        assert roc_auc_score(asked.event, other) < known - 0.02


def test_the_true_hazard_orders_patients_as_well_as_declared() -> None:
    from lifelines.utils import concordance_index

    ends = load(WORLD).outcome
    found = concordance_index(ends["time"], -WORLD.people.log_hazard, ends["event"])
    declared = WORLD.truth.best_concordance(np.random.default_rng(0))
    assert found == pytest.approx(declared, abs=0.012)


def test_later_records_change_no_predictor() -> None:
    cohort = load(WORLD)
    late = replace_late(cohort)
    for task in cohort.schema.tasks.values():
        for look in (problem, utilization):
            before, after = look(cohort, task).predictors, look(late, task).predictors
            pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert (WORLD.truth.risk(cohort) == WORLD.truth.risk(late)).all()


def replace_late(cohort: Cohort) -> Cohort:
    """Return the cohort with other labs after the index day, and no codes."""
    visits = cohort.visits.copy()
    visits.loc[visits["day"] > 0, "lab1"] = 10.0
    codes = cohort.codes[cohort.codes["day"] <= 0]
    return Cohort.of_tables(cohort.schema, cohort.static, visits, codes, cohort.outcome)


def test_nothing_is_dated_after_the_end() -> None:
    cohort = load(WORLD)
    end = cohort.outcome.set_index("patient")["time"]
    for name in ("visits", "codes"):
        table = getattr(cohort, name)
        assert (table["day"] <= table["patient"].map(end)).all()
        assert (table["day"] > -730).all()


# What the settings do


@pytest.mark.parametrize("hospitals", [2, 5])
def test_hospitals_are_as_far_apart_as_declared(hospitals: int) -> None:
    dataset = Simulated(hospitals=hospitals, shift=0.7, label_shift=0.4)
    for found, size in ((dataset.truth.lab_shift, 0.7), (dataset.truth.log_rate[:, None], 0.4)):
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.sqrt((found**2).mean(axis=0)), size)
    one = replace(dataset, outlier=3.0, outlier_hospital=2).truth
    np.testing.assert_allclose(np.abs(one.lab_shift - dataset.truth.lab_shift)[1], 3.0)
    assert (one.lab_shift[0] == dataset.truth.lab_shift[0]).all()


def test_a_single_hospital_is_shifted_from_nothing() -> None:
    assert not Simulated(hospitals=1, shift=1, label_shift=1).truth.lab_shift.any()


def test_without_effect_columns_are_independent() -> None:
    alone = replace(WORLD, effect=0.0, informative=0.0, shift=0.0, label_shift=0.0, outlier=0.0)
    assert alone.truth.best_auroc == pytest.approx(0.5)
    assert np.ptp(alone.truth.risk(load(alone))) < 1e-9


def test_another_seed_is_another_sample_of_the_same_truth() -> None:
    other = replace(WORLD, seed=1, patients=100)
    for name, value in vars(WORLD.truth).items():
        np.testing.assert_array_equal(value, getattr(other.truth, name))
    assert not set(load(WORLD).patients) & set(load(other).patients)
    assert load(other).fingerprint != load(replace(other, seed=2)).fingerprint


def test_another_seed_looks_alike_in_every_column() -> None:
    """A generator that knew the truth would write this."""
    one, two = load(WORLD).table, load(replace(WORLD, seed=1)).table
    for name, column in one.items():
        pair = [column.dropna(), two[name].dropna()]
        counts = np.array([[len(known), WORLD.patients - len(known)] for known in pair])
        if isinstance(column.dtype, pd.CategoricalDtype):
            counts = np.array([known.value_counts(sort=False) for known in pair])
        else:
            assert ks_2samp(*pair).pvalue > 1e-4, name
        if counts.all():
            assert chi2_contingency(counts).pvalue > 1e-4, name


def test_another_world_is_another_truth() -> None:
    assert (replace(WORLD, world=4).truth.loadings != WORLD.truth.loadings).any()


@pytest.mark.parametrize(
    "settings",
    [
        {"missing": 0.0, "labs": 1, "codes": 1, "diseases": 1, "hospitals": 1},
        {"labs": 30, "codes": 40, "diseases": 6, "systems": ["icd9", "snomed", "icd10"]},
        {"shift": 2.0, "outlier": 4.0, "effect": 3.0, "event_rate": 0.9, "informative": 5.0},
        {"visits": 0.001, "patients": 10},
    ],
)
def test_extreme_settings_give_valid_records(settings: dict[str, object]) -> None:
    dataset = DATASETS.build("simulated", {"patients": 200, **settings})
    assert isinstance(dataset, Simulated)
    cohort = load(dataset)
    again = cohort_from_table(cohort.schema, cohort.table)
    pd.testing.assert_frame_equal(again.table, cohort.table)
    risk = dataset.truth.risk(cohort)
    assert ((risk > 0) & (risk < 1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"patients": 5, "hospitals": 4}, "leave one with 1; expected at least 2"),
        ({"outlier_hospital": 9}, "'outlier_hospital' is 9, and there are 4"),
        ({"systems": ["icd9", "icd9"]}, "names one twice"),
        ({"systems": []}, r"'systems' is \[\]; expected 1 or more of them\."),
        ({"shift": -1.0}, "'shift' is -1.0; expected at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        DATASETS.build("simulated", settings)


# Never presented as real


def test_everything_says_that_it_is_simulated() -> None:
    schema, dataset = WORLD.schema, WORLD
    assert "SIMULATED" in dataset.title
    said = [dataset.licence, dataset.citation, schema.name, schema.clock]
    said += [column.label for column in (*schema.static.values(), *schema.visits.values())]
    said += [label for words in schema.vocabularies.values() for label in words.codes.values()]
    said += [*schema.vocabularies, *schema.static["hospital"].levels]
    said += [task.label for task in schema.tasks.values()]
    assert schema.outcome is not None
    assert all("simulated" in text for text in [*said, schema.outcome.label])
    assert all(code.startswith("sim-") for w in schema.vocabularies.values() for code in w.codes)
    assert all(str(patient).startswith("sim") for patient in load(WORLD).patients)


def test_records_are_in_normal_form() -> None:
    small = load(replace(WORLD, patients=300))
    again = Cohort.of_tables(small.schema, *(getattr(small, name) for name in TABLES))
    assert again.fingerprint == small.fingerprint
