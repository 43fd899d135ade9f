"""What the copula over time writes is asserted about patients whose course is planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench.accounting import Accountant
from fedbench.baselines.renewal import Renewal
from fedbench.data import Cohort, Column, Outcome, Schema, Vocabulary, Window
from fedbench.encoding import Encoder
from fedbench.generator import Local, Site
from fedbench.privacy import Noised, Patient, planned
from fedbench.seeds import Seeds
from fedbench.sequences import Sequences

SCHEMA = Schema(
    name="planted",
    clock="days since entry",
    static={"sex": Column(kind="category", levels=("female", "male"))},
    visits={
        "lab": Column(kind="number", low=-10, high=10),
        "other": Column(kind="number", low=-10, high=10),
        "state": Column(kind="category", levels=("well", "ill")),
    },
    vocabularies={"icd": Vocabulary(codes={"A": "lasting", "B": "by chance", "C": "once"})},
    windows=(Window(name="before", start=-1, end=400),),
    outcome=Outcome(label="death", low=0, high=600),
)


def planted(n: int) -> Cohort:
    """Patients who come every 25 to 35 days; men have higher values and A, which stays."""
    rng = np.random.default_rng(0)
    male = rng.random(n) < 0.5
    patients = np.array([f"p{i:04d}" for i in range(n)], dtype=object)
    visits, codes = [], []
    for i, who in enumerate(patients):
        days = np.cumsum([0, *rng.integers(25, 36, rng.integers(2, 11))]).astype(float)
        own, lab, ill = rng.normal() + male[i], rng.normal(), False
        once = rng.integers(len(days)) if rng.random() < 0.3 else -1
        for t, day in enumerate(days):
            both = rng.random() < 0.6
            visits.append(
                (who, day, own + lab if both else np.nan, rng.normal() if both else np.nan,
                 "ill" if ill else "well")
            )  # fmt: skip
            lab = 0.7 * lab + np.sqrt(1 - 0.49) * rng.normal()
            ill = rng.random() < (0.9 if ill else 0.2)
            told = {"A": male[i], "B": rng.random() < 0.2, "C": t == once}
            codes += [(who, day, "icd", code) for code, there in told.items() if there]
    return Cohort.of_tables(
        SCHEMA,
        pd.DataFrame({"patient": patients, "sex": np.where(male, "male", "female")}),
        pd.DataFrame(visits, columns=["patient", "day", "lab", "other", "state"]),
        pd.DataFrame(codes, columns=["patient", "day", "system", "code"]),
        pd.DataFrame({"patient": patients, "time": 500.0, "event": rng.integers(0, 2, n)}),
    )


@pytest.fixture(scope="module")
def real() -> Cohort:
    return planted(1500)


@pytest.fixture(scope="module")
def run(trained: Callable[..., Any], real: Cohort) -> Any:
    return trained(Renewal(), {"all": real})


@pytest.fixture(scope="module")
def written(run: Any) -> Cohort:
    return Renewal().sample(run.state, run.encoder, 1500, np.random.default_rng(1))


def remembered(steps: Sequences) -> float:
    there = steps.measured[:, 0]
    owner, lab = steps.owner[there], steps.numbers[there, 0]
    same = owner[1:] == owner[:-1]
    return float(np.corrcoef(lab[1:][same], lab[:-1][same])[0, 1])


def per_patient(steps: Sequences) -> np.ndarray:
    """How many days each patient has each code."""
    owner = np.repeat(steps.owner, np.diff(steps.code_starts))
    found = np.zeros((len(steps), 3))
    np.add.at(found, (owner, steps.codes), 1)
    return found


def test_days_are_those_of_patients(real: Cohort, written: Cohort) -> None:
    mine, theirs = written.sequences, real.sequences
    gap = mine.gap[~np.isnan(mine.gap)]
    assert np.mean((gap >= 25) & (gap <= 35)) > 0.99
    lengths, found = np.diff(theirs.starts), np.diff(mine.starts)
    assert found.mean() == pytest.approx(lengths.mean(), abs=0.3)
    assert found.std() == pytest.approx(lengths.std(), abs=0.3)
    assert (mine.day <= 500).all()


def test_a_number_goes_around_the_patients_own_mean(real: Cohort, written: Cohort) -> None:
    mine, theirs = written.sequences, real.sequences
    assert remembered(mine) == pytest.approx(remembered(theirs), abs=0.06)
    for steps, cohort in ((mine, written), (theirs, real)):
        male = (cohort.static["sex"] == "male").to_numpy()[steps.owner]
        there = steps.measured[:, 0]
        gap = steps.numbers[there & male, 0].mean() - steps.numbers[there & ~male, 0].mean()
        assert gap == pytest.approx(1.0, abs=0.25)


def test_what_is_measured_together_stays_together(real: Cohort, written: Cohort) -> None:
    for steps in (written.sequences, real.sequences):
        assert steps.measured[:, 0].mean() == pytest.approx(0.6, abs=0.04)
        assert (steps.measured[:, 0] == steps.measured[:, 1]).mean() > 0.9


def test_states_last_as_long_as_they_do(real: Cohort, written: Cohort) -> None:
    found = []
    for steps in (written.sequences, real.sequences):
        same = steps.owner[1:] == steps.owner[:-1]
        ill = steps.levels[:-1, 0][same] == 1
        again = steps.levels[1:, 0][same] == 1
        found.append([again[ill].mean(), again[~ill].mean()])
    assert found[0] == pytest.approx(found[1], abs=0.04)


def test_codes_are_kept_by_those_who_have_them(real: Cohort, written: Cohort) -> None:
    mine, theirs = per_patient(written.sequences), per_patient(real.sequences)
    assert (mine > 0).mean(axis=0) == pytest.approx((theirs > 0).mean(axis=0), abs=0.05)
    assert mine.mean(axis=0) == pytest.approx(theirs.mean(axis=0), abs=0.5)
    assert mine[:, 2].max() == 1
    male = (written.static["sex"] == "male").to_numpy()
    assert (mine[male, 0] > 0).mean() > 0.9
    assert (mine[~male, 0] > 0).mean() < 0.1


def test_sites_together_are_as_everybody_in_one_place(
    trained: Callable[..., Any], real: Cohort, run: Any
) -> None:
    cuts = {"a": slice(0, 900), "b": slice(900, None)}
    apart = trained(Renewal(), {name: real.take(real.patients[cut]) for name, cut in cuts.items()})
    for name, array in run.state.items():
        assert np.allclose(apart.state[name], array, atol=1e-9), name


def test_a_cohort_without_visits_is_written_as_one(trained: Callable[..., Any]) -> None:
    schema = Schema(name="flat", clock="none", static=SCHEMA.static)
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(40)], "sex": ["female", "male"] * 20})
    run = trained(Renewal(), {"all": Cohort.of_tables(schema, static)})
    found = Renewal().sample(run.state, run.encoder, 30, np.random.default_rng(0))
    assert len(found) == 30
    assert not len(found.visits)
    assert set(found.static["sex"]) == {"female", "male"}


def test_one_patient_is_bounded_under_privacy(real: Cohort, run: Any) -> None:
    """The released sums of a site with and without a patient are no further apart than said."""
    generator = Renewal()
    message: Mapping[str, Any] = {}
    for phase in generator.phases():
        told = [
            _released(generator, phase, message, real.take(real.patients[low:60]), run.encoder)
            for low in (0, 1)
        ]
        gap = np.sqrt(sum(((told[0][0][k] - told[1][0][k]) ** 2).sum() for k in told[0][0]))
        assert 0 < gap <= told[0][1] * (1 + 1e-6)
        message = run.state


def _released(
    generator: Renewal, phase: Any, message: Any, cohort: Cohort, encoder: Encoder
) -> Any:
    noted: dict[str, Any] = {}

    class Note(Noised):
        def release(self, sums: Mapping[str, Any], bound: float) -> Mapping[str, Any]:
            noted["sums"], noted["bound"] = dict(sums), bound
            return sums

    promise = Patient(epsilon=1.0)
    budget = Note(
        promise=promise, accountant=Accountant(), run="r", what=phase.name,
        plan=planned(promise, "encoder", ()), normals=np.zeros,
    )  # fmt: skip
    site = Site("all", encoder.encode(cohort), encoder, {}, cohort)
    generator.update(
        phase, message, site, Local(0, 1, Seeds(0), budget=budget), np.random.default_rng(0)
    )
    return noted["sums"], noted["bound"]
