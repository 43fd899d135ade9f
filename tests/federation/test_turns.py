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
