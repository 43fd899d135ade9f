"""Codes are as alike as scikit-learn and SciPy say, and what was changed is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr
from sklearn.metrics import r2_score

from fedbench.crosswalk import Crosswalk
from fedbench.data import Cohort, Column, Schema, Vocabulary
from fedbench.errors import DataError, SpecError
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.codes import Codes

KNOWN = ("I10", "E11", "N18", "J44", "C50", "K74", "F32", "M54", "I50", "E78", "Z85", "D50")
SCHEMA = Schema(
    name="coded",
    clock="",
    static={"age": Column(kind="integer", low=18, high=100)},
    vocabularies={"icd10cm": Vocabulary(codes={code: code for code in KNOWN})},
)
PARTS = {
    "prevalence",
    "rank",
    "together",
    "next",
    "recall",
    "per_visit",
    "per_patient",
    "chapters",
}

Judge = Callable[..., Evidence]


def coded(n: int, seed: int, usual: float = 0.3, keep: float = 0.5) -> Cohort:
    """Patients with one to four days, on which they have codes that come in twos and stay."""
    rng = np.random.default_rng(seed)
    chance = usual / np.sqrt(1 + np.arange(len(KNOWN)))
    chance[-2:] = 2 / 400
    rows = []
    for i in range(n):
        had = np.zeros(len(KNOWN), dtype=bool)
        for day in range(rng.integers(1, 5)):
            pairs = np.repeat(rng.random(len(KNOWN) // 2) < 0.2, 2)
            had = (
                (rng.random(len(KNOWN)) < chance)
                | (pairs & (chance > 0.01))
                | (had & (rng.random(len(KNOWN)) < keep))
            )
            rows += [(f"p{i:05d}", float(day), "icd10cm", code) for code in np.array(KNOWN)[had]]
    static = pd.DataFrame({"patient": [f"p{i:05d}" for i in range(n)], "age": 50.0})
    codes = pd.DataFrame(rows, columns=["patient", "day", "system", "code"])
    return Cohort.of_tables(SCHEMA, static, codes=codes)


def without(cohort: Cohort, codes: set[str]) -> Cohort:
    left = cohort.codes[~cohort.codes["code"].isin(list(codes))].reset_index(drop=True)
    return Cohort.of_tables(SCHEMA, cohort.static, codes=left)


def found(evidence: Evidence, **settings: Any) -> dict[tuple[str, str], Measure]:
    answers = Codes(**settings).measure(evidence, np.random.default_rng(0))
    return {(m.part, m.key.column): m for m in answers if isinstance(m, Measure)}


def days(cohort: Cohort) -> Iterator[list[set[str]]]:
    """Every patient's days with codes, in a plain way."""
    for _, mine in cohort.codes.groupby("patient"):
        yield [set(day["code"]) for _, day in mine.groupby("day")]


def shares(cohort: Cohort, what: str) -> dict[object, float]:
    """The share of patients with each item, in a plain way."""
    count: Counter[object] = Counter()
    for mine in days(cohort):
        items: set[object] = set()
        if what == "prevalence":
            items = set().union(*mine)
        elif what == "together":
            items = {pair for day in mine for pair in combinations(sorted(day), 2)}
        else:
            for day, after in pairwise(mine):
                items |= set(product(day, after))
        count.update(items)
    return {item: n / len(cohort) for item, n in count.items()}


def test_the_same_records_agree(judge: Judge) -> None:
    cohort = coded(150, 0)
    same = found(judge(cohort, cohort))
    assert {part for part, _ in same} == PARTS
    assert all(m.value == pytest.approx(1, abs=1e-9) for m in same.values())


@pytest.mark.parametrize("part", ["prevalence", "together", "next"])
def test_shares_of_patients_agree_as_scikit_learn_says(part: str, judge: Judge) -> None:
    test, fake = coded(120, 0), coded(90, 1, usual=0.2)
    mine, theirs = shares(test, part), shares(fake, part)
    items = sorted(set(mine) | set(theirs), key=str)
    expected = r2_score([mine.get(i, 0) for i in items], [theirs.get(i, 0) for i in items])
    ours = found(judge(test, fake))
    assert ours[part, ""].value == pytest.approx(expected, abs=1e-9)
    if part == "prevalence":
        rank = spearmanr(
            [mine.get(i, 0) for i in items], [theirs.get(i, 0) for i in items]
        ).statistic
        assert ours["rank", ""].value == pytest.approx(rank, abs=1e-9)


def test_numbers_of_codes_are_as_alike_as_scipy_says(judge: Judge) -> None:
    test, fake = coded(120, 0), coded(90, 1, usual=0.2)
    counts = []
    for cohort in (test, fake):
        each = [len(set().union(*mine)) for mine in days(cohort)]
        counts.append(each + [0] * (len(cohort) - len(each)))
    expected = 1 - ks_2samp(*counts).statistic
    assert found(judge(test, fake))["per_patient", ""].value == pytest.approx(expected, abs=1e-9)


def test_rare_codes_that_nobody_has_are_missed_in_the_first_tenth(judge: Judge) -> None:
    train, test, fake = coded(400, 2), coded(150, 0), coded(400, 1)
    full = found(judge(test, fake, train))
    ours = found(judge(test, without(fake, {"Z85", "D50"}), train))
    assert ours["recall", "tenth 1"].value == 0
    assert ours["recall", "tenth 10"].value == 1
    assert ours["recall", ""].value == pytest.approx(full["recall", ""].value - 2 / 12)


def test_a_draw_that_lost_all_with_a_code_has_not_recalled_it(judge: Judge) -> None:
    train, fake = coded(400, 2), coded(30, 1)
    evidence = judge(coded(30, 0), fake, train, b=20)
    measure = found(evidence)["recall", ""]
    assert measure.replicates is not None
    has = pd.crosstab(fake.codes["patient"], fake.codes["code"]).reindex(fake.patients).fillna(0)
    drawn = (evidence.synthetic.weights @ (has.to_numpy() > 0) > 0).sum(axis=1) / 12
    assert measure.replicates == pytest.approx(drawn - drawn.mean() + measure.value)


def test_what_is_written_twice_on_a_day_counts_once(judge: Judge) -> None:
    test, fake = coded(120, 0), coded(90, 1, usual=0.2)
    twice = pd.concat([fake.codes, fake.codes], ignore_index=True)
    other = Cohort.of_tables(SCHEMA, fake.static, codes=twice)
    once, ours = found(judge(test, fake)), found(judge(test, other))
    assert {key: m.value for key, m in ours.items()} == {key: m.value for key, m in once.items()}


@pytest.mark.parametrize("part", ["next", "together", "per_visit"])
def test_what_was_changed_is_found(part: str, judge: Judge) -> None:
    test, fake = coded(300, 0), coded(300, 1)
    codes = fake.codes.copy()
    rng = np.random.default_rng(0)
    if part == "per_visit":
        changed = codes[codes.index % 2 == 0].reset_index(drop=True)
    else:
        changed = codes.assign(code=rng.permutation(codes["code"].to_numpy()))
    other = Cohort.of_tables(SCHEMA, fake.static, codes=changed.drop_duplicates(ignore_index=True))
    before, after = found(judge(test, fake)), found(judge(test, other))
    assert after[part, ""].value < before[part, ""].low


def test_chapters_are_those_of_the_coding_system(judge: Judge) -> None:
    test, fake = coded(200, 0), coded(200, 0)
    swapped = {"I10": "I50", "I50": "I10"}  # of one chapter
    codes = fake.codes.assign(code=fake.codes["code"].replace(swapped))
    other = Cohort.of_tables(SCHEMA, fake.static, codes=codes)
    ours = found(judge(test, other))
    assert ours["chapters", ""].value == pytest.approx(1, abs=1e-9)
    assert ours["prevalence", ""].value < 0.9


def test_what_cannot_be_asked_has_a_reason(judge: Judge) -> None:
    plain = Schema(name="plain", clock="", static=SCHEMA.static)
    cohort = Cohort.of_tables(plain, coded(50, 0).static)
    answers = Codes().measure(judge(cohort, cohort), np.random.default_rng(0))
    assert [a.status for a in answers if isinstance(a, Refusal)] == ["not applicable"]
    test = coded(100, 0)
    nobody = Cohort.of_tables(SCHEMA, test.static)
    answers = Codes().measure(judge(test, nobody), np.random.default_rng(0))
    refused = {a.part for a in answers if isinstance(a, Refusal) and a.status == "refused"}
    assert not refused
    ours = found(judge(test, nobody))
    assert {part for part, _ in ours} == PARTS
    assert all(ours[part, ""].value == 0 for part in ("rank", "recall", "per_visit", "chapters"))
    answers = Codes().measure(judge(nobody, test, test), np.random.default_rng(0))
    refused = {a.part for a in answers if isinstance(a, Refusal) and a.status == "refused"}
    assert refused == {"prevalence", "rank", "together", "next", "per_visit", "chapters"}


def test_few_codes_are_not_correlated(judge: Judge) -> None:
    test = without(coded(200, 0), {*KNOWN[4:]})
    few = without(test, {*KNOWN[3:]})
    for fake in (test, coded(200, 1)):
        answers = Codes().measure(judge(few, fake, test), np.random.default_rng(0))
        told = {answer.part: answer.reason for answer in answers if isinstance(answer, Refusal)}
        needs = "among the real test patients; this needs at least 10"
        for part in ("prevalence", "rank", "together", "next"):
            assert told[part] == f"3 codes {needs}"
        assert {"recall", "per_visit", "per_patient", "chapters"} <= {
            answer.part for answer in answers if isinstance(answer, Measure)
        }


def test_what_is_asked_depends_on_real_patients_alone(judge: Judge) -> None:
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(12)], "age": 50.0})
    rows = [(f"p{i}", 0.0, "icd10cm", code) for i, code in enumerate(KNOWN)]
    codes = pd.DataFrame(rows, columns=["patient", "day", "system", "code"])
    test = Cohort.of_tables(SCHEMA, static, codes=codes)
    for fake in (test, coded(200, 1), Cohort.of_tables(SCHEMA, static)):
        answers = Codes().measure(judge(test, fake), np.random.default_rng(0))
        told = {answer.part: answer.reason for answer in answers if isinstance(answer, Refusal)}
        same = "all codes are as frequent as each other among the real test patients"
        assert told["prevalence"] == told["rank"] == same
        needs = "among the real test patients; this needs at least 10"
        assert told["together"] == f"0 pairs of codes on one day {needs}"
        assert told["next"] == f"0 pairs of codes on one day and the next {needs}"


BOTH = replace(
    SCHEMA,
    vocabularies={
        "old": Vocabulary(codes={code: code for code in ("1", "2", "3", "4")}),
        "icd10cm": SCHEMA.vocabularies["icd10cm"],
    },
)
OLD = {"1": ["I10"], "2": ["E11", "N18"], "3": ["J44"]}
"""What the codes of another system stand for; 4 is not in the map."""


@pytest.fixture
def mapping(tmp_path: Path) -> dict[str, Any]:
    rows = [(source, target) for source, targets in OLD.items() for target in targets]
    pd.DataFrame(rows, columns=["source", "target"]).to_csv(tmp_path / "map.csv", index=False)
    return {"map": str(tmp_path / "map.csv"), "source": "old", "level": "code", "which": "all"}


def in_both(cohort: Cohort, seed: int, share: float) -> Cohort:
    """Some patients' codes are of the other system, where it has a code for just that."""
    rng = np.random.default_rng(seed)
    mine = cohort.codes["patient"].isin(cohort.patients[rng.random(len(cohort)) < share])
    single = {targets[0]: source for source, targets in OLD.items() if len(targets) == 1}
    moved = mine & cohort.codes["code"].isin(list(single))
    codes = cohort.codes.assign(
        system=cohort.codes["system"].mask(moved, "old"),
        code=cohort.codes["code"].mask(moved, cohort.codes["code"].map(single)),
    )
    return Cohort.of_tables(BOTH, cohort.static, codes=codes)


def meant(cohort: Cohort) -> dict[object, float]:
    """The share of patients with each meaning, in a plain way."""
    has: set[tuple[str, str]] = set()
    for patient, system, code in cohort.codes[["patient", "system", "code"]].astype(str).to_numpy():
        concepts = OLD.get(code, [f"old {code}"]) if system == "old" else [code]
        has |= {(patient, concept) for concept in concepts}
    return {c: n / len(cohort) for c, n in Counter(concept for _, concept in has).items()}


def test_who_writes_another_system_means_the_same(judge: Judge, mapping: dict[str, Any]) -> None:
    test, fake = in_both(coded(300, 0), 0, 0.9), in_both(coded(300, 1), 1, 0.1)
    ours = found(judge(test, fake), **mapping)
    alone = found(judge(*(in_both(coded(300, seed), 0, 0.0) for seed in (0, 1))))
    assert ours["prevalence", ""].value < 0.3
    assert ours["mapped", ""].value == pytest.approx(alone["prevalence", ""].value, abs=1e-9)


def test_a_code_may_mean_several_or_nothing_that_is_known(
    judge: Judge, mapping: dict[str, Any]
) -> None:
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(40)], "age": 50.0})

    def of(seed: int) -> Cohort:
        rng = np.random.default_rng(seed)
        rows = [
            (f"p{i}", 0.0, system, code)
            for i in range(40)
            for system, codes in {"old": "1234", "icd10cm": KNOWN}.items()
            for code in rng.permutation(list(codes))[: rng.integers(0, 4)]
        ]
        codes = pd.DataFrame(rows, columns=["patient", "day", "system", "code"])
        return Cohort.of_tables(BOTH, static, codes=codes)

    test, fake = of(0), of(1)
    mine, theirs = meant(test), meant(fake)
    items = sorted(set(mine) | set(theirs), key=str)
    expected = r2_score([mine.get(i, 0) for i in items], [theirs.get(i, 0) for i in items])
    assert found(judge(test, fake), **mapping)["mapped", ""].value == pytest.approx(
        expected, abs=1e-9
    )


def test_full_codes_are_mapped_by_their_category() -> None:
    pairs = pd.DataFrame({"source": ["25000", "25001"], "target": ["E119", "E109"], "part": ""})
    walk = Crosswalk("icd9cm", "icd10cm", pairs).by_category()
    systems = ["icd9cm", "icd10cm", "icd9cm", "x"]
    told = walk.concepts(systems, ["250.0", "E11.9", "4019", "E119"])
    assert told.to_numpy().tolist() == [[0, "E11"], [1, "E11"], [2, "icd9cm\t4019"], [3, "x\tE119"]]


def test_a_map_that_cannot_be_read_is_told_at_once(judge: Judge) -> None:
    with pytest.raises(DataError, match=r"no file gone\.csv"):
        Codes(map="gone.csv")
    with pytest.raises(SpecError, match="There are no GEMs from old"):
        Codes(map="gems", source="old")
    cohort = coded(50, 0)
    for metric, reason in (
        (Codes(), "no map from one coding system to another is named"),
        (Codes(map="gems"), "the schema has no codes of 'icd9cm', which the map is about"),
    ):
        answers = metric.measure(judge(cohort, cohort), np.random.default_rng(0))
        (refusal,) = (a for a in answers if a.part == "mapped")
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.reason) == ("not applicable", reason)


def test_results_know_what_the_map_said(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("source,target\n1,I10\n")
    first = Codes(map=str(tmp_path / "map.csv"), source="old").contents
    (tmp_path / "map.csv").write_text("source,target\n1,E11\n")
    assert first != Codes(map=str(tmp_path / "map.csv"), source="old").contents
    assert not Codes().contents


def test_intervals_cover(judge: Judge) -> None:
    numbers: dict[str, list[Measure]] = {}
    train = coded(400, 99)
    for seed in range(60):
        test, fake = coded(120, 1000 + seed), coded(150, 2000 + seed, usual=0.2, keep=0.2)
        for (part, level), measure in found(judge(test, fake, train, seed=seed)).items():
            if not level:
                numbers.setdefault(part, []).append(measure)
    for part, measures in numbers.items():
        truth = np.mean([m.value for m in measures])
        share = np.mean([m.low <= truth <= m.high for m in measures])
        # 60 draws, three standard errors below .95.
        assert share > 0.86, (part, share)
