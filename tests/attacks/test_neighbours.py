from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from fedbench import stats
from fedbench.attack import Attack, Knowledge, PublicChallenge, Sight
from fedbench.attacks import _neighbours
from fedbench.attacks._neighbours import nearest, tied, units
from fedbench.attacks.dcr import Dcr
from fedbench.attacks.density import Density
from fedbench.attacks.ratio import Ratio
from fedbench.attacks.vote import Vote
from fedbench.data import Cohort, Column, Schema
from fedbench.errors import ContractError, Unsupported
from fedbench.games import show

People = Callable[..., Cohort]

CALIBRATED = [Ratio(), Vote(), Density()]


def ask(members: Cohort, others: Cohort) -> PublicChallenge:
    targets = pd.concat([members.table, others.table]).reset_index(drop=True)
    return PublicChallenge("membership", targets, np.full(len(targets), "a", dtype=object))


def area(attack: Attack, released: Cohort, reference: Cohort, members: Cohort, o: Cohort) -> float:
    held = {Knowledge.SYNTHETIC: released, Knowledge.REFERENCE: reference}
    sight = show(attack, released.schema, held)
    scores = attack.guess(sight, ask(members, o), np.random.default_rng(0)).scores
    return stats.auc(scores, np.arange(len(scores)) < len(members))


def test_the_nearest_are_those_of_all_distances_sorted(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets, released = people(60, 0), people(90, 1)
    about = (targets.schema, targets.table)
    unit = units(targets.schema, released.table)
    alone = [nearest(*about, released.table.iloc[[i]], unit, 1)[:, 0] for i in range(90)]
    monkeypatch.setattr(_neighbours, "_ROWS", 7)
    monkeypatch.setattr(_neighbours, "_COLUMNS", 11)
    found = nearest(*about, released.table, unit, 20)
    assert (found == np.sort(np.column_stack(alone), axis=1)[:, :20]).all()
    assert nearest(*about, released.table[:3], unit, 20).shape == (60, 3)
    assert nearest(*about, released.table[:0], unit, 20).shape == (60, 0)


def test_ties_are_shared_and_are_those_of_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema(
        name="ties",
        clock="",
        static={"ward": Column(kind="category", levels=("a", "b", "c"))}
        | {"lab": Column(kind="integer", low=0, high=4)},
    )
    rng = np.random.default_rng(0)

    def table(n: int) -> pd.DataFrame:
        static = pd.DataFrame(
            {"ward": rng.choice(["a", "b", "c"], n), "lab": rng.integers(0, 5, n)}
        )
        return Cohort.of_tables(schema, static.assign(patient=[f"p{i:02}" for i in range(n)])).table

    targets, released = table(40), table(70)
    unit = units(schema, released)
    alone = [nearest(schema, targets, released.iloc[[i]], unit, 1)[:, 0] for i in range(70)]
    distances = np.column_stack(alone)
    ties = distances == distances.min(axis=1, keepdims=True)
    monkeypatch.setattr(_neighbours, "_ROWS", 7)
    monkeypatch.setattr(_neighbours, "_COLUMNS", 11)
    found = tied(schema, targets, released, unit).toarray()
    np.testing.assert_allclose(found, ties / ties.sum(axis=1, keepdims=True))
    assert ties.sum(axis=1).max() > 3
    assert tied(schema, targets, released[:0], unit).shape == (40, 0)


@pytest.mark.parametrize("attack", CALIBRATED, ids=lambda a: type(a).__name__)
def test_a_copy_is_seen_and_an_independent_release_is_not(attack: Attack, people: People) -> None:
    members, others, reference = people(400, 0), people(400, 1, "o"), people(400, 2)
    # A vote among twenty gives a single copy little weight.
    assert area(attack, members, reference, members, others) > (0.52 if attack == Vote() else 0.9)
    assert 0.44 < area(attack, people(400, 3), reference, members, others) < 0.56


def test_the_ratio_sees_members_whom_distance_loses_in_the_crowd() -> None:
    """Half of the patients are a crowd, near to any record; what is near to an outlier tells."""
    labs = [f"lab{i}" for i in range(6)]
    columns = {lab: Column(kind="number", low=-99, high=99) for lab in labs}
    schema, rng = Schema(name="crowd", clock="", static=columns), np.random.default_rng(0)
    spread = np.repeat([0.2, 4.0], 200)[:, None]

    def cohort(values: np.ndarray, prefix: str) -> Cohort:
        table = pd.DataFrame(values, columns=labs)
        return Cohort.of_tables(
            schema, table.assign(patient=[f"{prefix}{i:03}" for i in range(400)])
        )

    members, others, reference = (spread * rng.normal(size=(400, 6)) for _ in range(3))
    released = cohort(members + 0.1 * spread * rng.normal(size=(400, 6)), "s")
    people = [cohort(reference, "r"), cohort(members, "m"), cohort(others, "o")]
    assert area(Ratio(), released, *people) > area(Dcr(), released, *people) + 0.1


@pytest.mark.parametrize("attack", CALIBRATED, ids=lambda a: type(a).__name__)
def test_nobody_to_compare_with_is_said(attack: Attack, people: People) -> None:
    members = people(20, 0)
    nobody = members.take(np.array([], dtype=object))
    with pytest.raises(Unsupported, match="no reference patients"):
        area(attack, members, nobody, members, people(20, 1, "o"))


@pytest.mark.parametrize("attack", [Dcr(), *CALIBRATED], ids=lambda a: type(a).__name__)
def test_an_empty_release_tells_nothing(attack: Attack, people: People) -> None:
    members = people(20, 0)
    nobody = members.take(np.array([], dtype=object))
    assert area(attack, nobody, members, members, people(20, 1, "o")) == 0.5


def test_the_neighbours_are_looked_up_once_for_all_attacks(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def counted(*args: object) -> np.ndarray:
        looks.append(1)
        return nearest(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(_neighbours, "nearest", counted)
    members, others = people(40, 0), people(40, 1, "o")
    held = {Knowledge.SYNTHETIC: people(40, 2), Knowledge.REFERENCE: people(40, 3)}
    challenge, found = ask(members, others), dict[tuple[str, int], object]()
    for attack in (Dcr(), *CALIBRATED):
        sight = show(attack, members.schema, held, found)
        attack.guess(sight, challenge, np.random.default_rng(0))
    assert len(looks) == 2


def test_what_was_shared_is_seen_only_by_those_who_hold_what_it_was_made_of(people: People) -> None:
    held = {Knowledge.SYNTHETIC: people(5, 2), Knowledge.REFERENCE: people(5, 3)}
    found: dict[tuple[str, int], object] = {}
    both, asked = {Knowledge.SYNTHETIC, Knowledge.REFERENCE}, ask(people(5, 0), people(5, 1, "o"))

    def count(seen: Sight) -> int:
        return len(seen.synthetic) + len(seen.reference)

    assert show(Ratio(), people(1, 0).schema, held, found).shared("count", asked, both, count) == 10
    with pytest.raises(ContractError, match="without declaring"):
        show(Dcr(), people(1, 0).schema, held, found).shared("count", asked, both, count)
    with pytest.raises(ContractError, match="without declaring"):
        show(Ratio(), people(1, 0).schema, held, found).shared(
            "peek", asked, {Knowledge.SYNTHETIC}, count
        )
