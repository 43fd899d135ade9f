"""Codes of two systems are found to be the same where records tell, and not where they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedbench.crosswalk import Crosswalk
from fedbench.data import Cohort, Schema, Vocabulary
from fedbench.errors import SpecError
from fedbench.meaning import Together, backed_off, fit, learned, together

CONCEPTS, CAUSES, PATIENTS = 300, 6, 1000


@pytest.fixture(scope="module")
def world() -> tuple[Together, Together, Crosswalk]:
    """Two hospitals' counts, other patients and other names each, and the true map."""
    rng = np.random.default_rng(0)
    brings = rng.normal(0, 1.2, (CAUSES, CONCEPTS))
    base = rng.uniform(-3.5, -1.0, CONCEPTS)

    def counted(system: str, names: list[str], order: np.ndarray) -> Together:
        logits = rng.standard_normal((PATIENTS, CAUSES)) @ brings + base
        has = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)[:, order]
        return Together(system, tuple(names), float(PATIENTS), has.T @ has)

    order = rng.permutation(CONCEPTS)
    ours, theirs = [f"A{i}" for i in range(CONCEPTS)], [f"B{i}" for i in range(CONCEPTS)]
    truth = pd.DataFrame(
        {"source": [f"A{i}" for i in order], "target": theirs, "part": ""}, dtype="string"
    )
    return (
        counted("a", ours, np.arange(CONCEPTS)),
        counted("b", theirs, order),
        Crosswalk("a", "b", truth),
    )


def anchored(truth: Crosswalk, share: float, *, wrong: bool = False) -> Crosswalk:
    pairs = truth.pairs.sample(frac=share, random_state=0)
    if wrong:
        pairs = pairs.assign(target=pairs["target"].sample(frac=1, random_state=1).to_numpy())
    return Crosswalk("a", "b", pairs)


def hits(found: Crosswalk, truth: Crosswalk) -> float:
    right = truth.pairs.set_index("source")["target"]
    return float((found.pairs["target"].to_numpy() == right[found.pairs["source"]]).mean())


def test_one_anchor_in_ten_finds_nine_in_ten(world: tuple[Together, Together, Crosswalk]) -> None:
    ours, theirs, truth = world
    found = learned(ours, theirs, anchored(truth, 0.1))
    assert len(found.pairs) > 0.8 * CONCEPTS
    assert hits(found, truth) >= 0.9


def test_where_anchors_do_not_find_each_other_nothing_is_said(
    world: tuple[Together, Together, Crosswalk],
) -> None:
    ours, theirs, truth = world
    with pytest.raises(SpecError, match="Of a and b 0 of 30 anchors are found again from the oth"):
        learned(ours, theirs, anchored(truth, 0.1, wrong=True))


def test_how_well_it_finds_what_is_known_says_how_well_the_rest(
    world: tuple[Together, Together, Crosswalk],
) -> None:
    ours, theirs, truth = world
    right = fit(ours, theirs, anchored(truth, 0.1))
    assert right.anchors == 30
    assert right.found >= 25
    assert right.chance < 1e-9
    wrong = anchored(truth, 0.1).pairs.reset_index(drop=True)
    wrong.loc[:14, "target"] = np.roll(wrong.loc[:14, "target"].to_numpy(), 1)
    half = Crosswalk("a", "b", wrong)
    assert fit(ours, theirs, half).found < 10
    assert hits(learned(ours, theirs, half), truth) < 0.5


def test_an_anchor_is_looked_for_without_those_of_the_same_target(
    world: tuple[Together, Together, Crosswalk],
) -> None:
    ours, theirs, truth = world
    same = anchored(truth, 0.1).pairs.assign(target="B7")
    assert fit(ours, theirs, Crosswalk("a", "b", same)).found == 0


def test_a_code_that_nobody_has_is_no_anchor(world: tuple[Together, Together, Crosswalk]) -> None:
    ours, theirs, truth = world
    few = anchored(truth, 0.1)
    gone = pd.Index(ours.codes).isin(few.pairs["source"])
    pairs = np.where(gone[:, None] | gone, 0.0, ours.pairs)
    with pytest.raises(SpecError, match="Only 0 codes of a are mapped to b that at least 3 pat"):
        learned(Together("a", ours.codes, ours.patients, pairs), theirs, few)


def test_counts_of_sites_are_added(world: tuple[Together, Together, Crosswalk]) -> None:
    ours, theirs, _ = world
    assert np.array_equal((ours + ours).pairs, 2 * ours.pairs)
    with pytest.raises(SpecError, match="different codes"):
        ours + theirs


def test_too_few_anchors_are_refused(world: tuple[Together, Together, Crosswalk]) -> None:
    ours, theirs, truth = world
    with pytest.raises(SpecError, match="Only 2 codes of a are mapped to b"):
        learned(ours, theirs, Crosswalk("a", "b", truth.pairs.head(2)))


def test_a_patient_counts_once_for_what_she_has() -> None:
    schema = Schema(
        name="coded",
        clock="days",
        static={},
        vocabularies={"icd": Vocabulary(codes={"I10": "", "E11": "", "J45": ""})},
    )
    codes = pd.DataFrame(
        [("p", 0.0, "icd", "I10"), ("p", 3.0, "icd", "I10"), ("p", 3.0, "icd", "E11"),
         ("q", 0.0, "icd", "I10")],
        columns=["patient", "day", "system", "code"],
    )  # fmt: skip
    static = pd.DataFrame({"patient": ["p", "q", "r"]})
    found = together(Cohort.of_tables(schema, static, codes=codes), "icd")
    assert found.patients == 3
    assert found.pairs.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    with pytest.raises(SpecError, match="no codes of 'snomed' here"):
        together(Cohort.of_tables(schema, static, codes=codes), "snomed")


def test_a_code_goes_where_most_of_its_category_go() -> None:
    known = Crosswalk(
        "icd10cm",
        "mine",
        pd.DataFrame(
            {"source": ["E110", "E111", "E112", "I10"], "target": ["x", "x", "y", "z"], "part": ""},
            dtype="string",
        ),
    )
    found = backed_off(known, pd.Series(["E119", "I10", "J459", "E119"]))
    assert found.pairs.to_numpy().tolist() == [["E119", "x", ""]]
    asked = known.or_else(found).mapped(pd.Series(["E119", "E112", "J459"]))
    assert asked["target"].tolist() == ["x", "y"]


def test_of_targets_with_as_many_codes_the_first_code_decides_as_between_categories() -> None:
    pairs = {"source": ["25001", "25000", "4019"], "target": ["E109", "E119", "I10"], "part": ""}
    known = Crosswalk("icd9cm", "icd10cm", pd.DataFrame(pairs, dtype="string"))
    found = backed_off(known, pd.Series(["25002", "4011"], dtype="string"))
    assert found.pairs["target"].tolist() == ["E119", "I10"]
    assert known.by_category().mapped(pd.Series(["250"]))["target"].tolist() == ["E11"]
