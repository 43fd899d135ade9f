from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fedbench.attack import Attack, Game, Guess, Knowledge, Links, PublicChallenge, Sight
from fedbench.attacks.linkage import Linkage
from fedbench.data import Cohort, Column, Outcome, Schema
from fedbench.errors import ContractError
from fedbench.games import Challenge, halves_of, linkage_challenges, play_linkage, show
from fedbench.metric import Measure, Refusal
from fedbench.seeds import Rng, Seeds

SCHEMA = Schema(
    name="wards",
    clock="",
    static={
        "lab": Column(kind="number", low=-9, high=9),
        "dose": Column(kind="number", low=-9, high=9),
        **{f"ward{i}": Column(kind="category", levels=tuple("abcd")) for i in range(6)},
    },
)
WARDS = replace(SCHEMA, static={n: c for n, c in SCHEMA.static.items() if n.startswith("ward")})


def patients(n: int, seed: int, prefix: str, schema: Schema = SCHEMA) -> Cohort:
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.normal(size=n) if column.kind == "number" else rng.choice(column.levels, n)
        for name, column in schema.static.items()
    }
    names = [f"{prefix}{i}" for i in range(n)]
    return Cohort.of_tables(schema, pd.DataFrame({"patient": names, **columns}))


def dealt(members: Cohort, others: Cohort, seed: int = 0) -> Challenge:
    sides = {"a": members}, {"a": others}
    rng = np.random.default_rng(seed)
    return linkage_challenges(members.schema, *sides, rng, halves_of(members))[0]


def played(
    released: Cohort, challenge: Challenge, attack: Attack | None = None
) -> dict[str, Measure | Refusal]:
    attack = attack or Linkage()
    sight = show(attack, released.schema, {Knowledge.SYNTHETIC: released})
    found = play_linkage(attack, sight, challenge, Seeds(0))[1]
    assert not any(each.site for each in found)
    return {each.measure.part: each.measure for each in found}


def measure(found: dict[str, Measure | Refusal], part: str) -> Measure:
    answer = found[part]
    assert isinstance(answer, Measure)
    return answer


def test_a_copy_links_every_half_that_is_unique() -> None:
    members, others = patients(200, 0, "m"), patients(200, 1, "o")
    found = played(members, dealt(members, others))
    assert measure(found, "ceiling").value == 1
    assert measure(found, "linked").value == 1
    assert measure(found, "advantage").low > 0.95
    assert "linked were 100% of members" in measure(found, "advantage").facts["verdict"]


def test_halves_that_many_patients_share_link_as_often_as_they_can() -> None:
    """A copy of columns with few values: ties are guessed, and the ceiling says how often."""
    members, others = patients(400, 0, "m", WARDS), patients(100, 1, "o", WARDS)
    challenge = dealt(members, others)
    found = played(members, challenge)
    ceiling = measure(found, "ceiling").value
    assert 0.01 < ceiling < 0.5
    linked = measure(found, "linked")
    assert linked.low <= ceiling <= linked.high


def test_an_independent_release_links_nobody_better() -> None:
    members, others = patients(300, 0, "m"), patients(300, 1, "o")
    found = measure(played(patients(300, 2, "s"), dealt(members, others)), "advantage")
    assert found.low <= 0 <= found.high
    assert found.facts["p_value"] > 0.05
    assert found.facts["verdict"].startswith("not detectable")


def test_the_challenge_hides_which_halves_belong_together() -> None:
    members, others = patients(60, 0, "m"), patients(60, 1, "o")
    challenge = dealt(members, others)
    public = challenge.public
    assert public.others is not None
    assert not set(public.targets) & set(public.others)
    assert list(public.targets.index) == list(public.others.index) == list(range(120))
    whole = pd.concat([members.table, others.table]).loc[list(challenge.patients)]
    again = public.others.iloc[challenge.pairs]
    for half in (public.targets, again):
        for name in half:
            assert (half[name].to_numpy() == whole[name].to_numpy()).all()
    assert (challenge.pairs != np.arange(120)).sum() > 100


def test_the_order_of_targets_changes_nothing() -> None:
    members, others = patients(150, 0, "m", WARDS), patients(150, 1, "o", WARDS)
    first, second = (
        measure(played(patients(150, 2, "s", WARDS), dealt(members, others, seed)), "advantage")
        for seed in (0, 1)
    )
    assert replace(first, replicates=None) == replace(second, replicates=None)


def test_windows_of_a_source_stay_in_one_half_and_halves_are_even() -> None:
    schema = Schema(
        name="mixed",
        clock="",
        static={
            "smoker": Column(kind="category", levels=("no", "yes")),
            "packs": Column(kind="integer", low=0, high=9, implies="smoker"),
            "lab": Column(kind="number", low=-9, high=9),
        },
        outcome=Outcome(label="death", low=0, high=9),
    )
    rng = np.random.default_rng(0)
    static = pd.DataFrame({"patient": [f"p{i}" for i in range(50)], "lab": rng.normal(size=50)})
    static = static.assign(packs=rng.integers(0, 9, 50), smoker="no")
    ends = pd.DataFrame({"patient": static["patient"], "time": rng.random(50), "event": 1})
    first, second = halves_of(Cohort.of_tables(schema, static, outcome=ends))
    assert {*first, *second} == {"smoker", "packs", "lab", "event", "time"}
    for half in (first, second):
        assert ("smoker" in half) == ("packs" in half)
        assert ("event" in half) == ("time" in half)
    assert ("lab" in first) != ("time" in first)


def test_one_column_has_no_halves() -> None:
    schema = replace(SCHEMA, static={"lab": SCHEMA.static["lab"]})
    cohort = patients(20, 0, "m", schema)
    assert not linkage_challenges(
        schema, {"a": cohort}, {"a": cohort}, np.random.default_rng(0), halves_of(cohort)
    )


def test_few_patients_are_refused() -> None:
    members, others = patients(19, 0, "m"), patients(50, 1, "o")
    (refused,) = played(members, dealt(members, others)).values()
    assert isinstance(refused, Refusal)
    assert refused.reason == "There are 19 members and 50 others; 20 of each are needed."


@dataclass(frozen=True, kw_only=True)
class Wrong(Attack):
    """Answer with what is no answer."""

    game: ClassVar[Game] = "linkage"
    knows: ClassVar[frozenset[Knowledge]] = frozenset({Knowledge.SYNTHETIC})
    version: ClassVar[int] = 1

    how: str

    def guess(self, sight: Sight, challenge: PublicChallenge, rng: Rng) -> Guess:
        fine = sparse.csr_array(np.full((100, 4), 0.25))
        answers = {
            "scores": Guess(np.zeros(100)),
            "shape": Links(first=fine, second=fine[:99]),
            "sum": Links(first=fine, second=fine * 2),
            "sign": Links(first=fine, second=-fine),
        }
        return answers[self.how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("scores", "must give Links: .*; found Guess"),
        ("shape", "found shapes .100, 4. and .99, 4."),
        ("sum", "sums to more than 1"),
        ("sign", "is negative"),
    ],
)
def test_what_is_no_answer_is_named(how: str, message: str) -> None:
    challenge = dealt(patients(50, 0, "m"), patients(50, 1, "o"))
    with pytest.raises(ContractError, match=message):
        played(patients(4, 2, "s"), challenge, Wrong(how=how))
