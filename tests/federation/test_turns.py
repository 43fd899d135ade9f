"""Hospitals come one by one, and the last word is the last one's."""

from __future__ import annotations

import numpy as np
import pytest

from fedbench.federation.strategies.turns import Turns
from fedbench.strategy import Message, Update

UPDATES = {
    name: Update(parameters={"w": np.array([value])}, sums={"n": np.ones(1)}, weight=weight)
    for name, value, weight in (("a", 0.0, 1.0), ("b", 1.0, 1.0), ("c", 4.0, 2.0))
}


@pytest.mark.parametrize("stay", [False, True])
def test_nothing_is_heard_of_a_hospital_before_it_joins(*, stay: bool) -> None:
    strategy = Turns(each=2, stay=stay)
    assert strategy.last_joins(3, 6) == 4
    other = Update(parameters={"w": np.array([99.0])}, sums={"n": np.ones(1)}, weight=2.0)
    heard = []
    for updates in (UPDATES, {**UPDATES, "c": other}):
        server: Message = {}
        for _ in range(5):
            combined, server = strategy.combine({}, updates, server, np.random.default_rng(0))
            heard.append(combined.parameters["w"].item())
    assert heard[:4] == heard[5:9]
    assert heard[4] != heard[9]


@pytest.mark.parametrize(
    ("stay", "wanted"), [(False, [0, 0, 1, 1, 4, 4, 0]), (True, [0, 0, 0.5, 0.5, 2.25, 2.25, 2.25])]
)
def test_one_after_the_other(*, stay: bool, wanted: list[float]) -> None:
    server: Message = {}
    found = []
    for _ in wanted:
        combined, server = Turns(each=2, stay=stay).combine(
            {}, UPDATES, server, np.random.default_rng(0)
        )
        found.append(combined.parameters["w"].item())
        assert combined.sums["n"].item() == 3
    assert found == pytest.approx(wanted)
