"""Flower averages what the sites said, to the bit as if it had come off the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg

from fedbench.federation.inprocess import identify
from fedbench.federation.strategies._flower import combined_by
from fedbench.strategy import Update


@pytest.fixture
def updates() -> dict[str, Update]:
    identify()
    rng = np.random.default_rng(0)
    return {
        site: Update(
            parameters={
                "w": rng.standard_normal((7, 5)).astype(np.float32),
                "b": rng.standard_normal(3),
                "n": np.array([i, 2 * i]),
            },
            weight=float(10 + i),
        )
        for i, site in enumerate(("east", "north", "west"))
    }


def flower(kind: str) -> Any:
    if kind == "fedavg":
        return FedAvg()
    adam = FedAdam()
    adam.current_arrays = {"w": np.zeros((7, 5), np.float32), "b": np.zeros(3), "n": np.zeros(2)}
    return adam


@pytest.mark.parametrize("kind", ["fedavg", "fedadam"])
def test_what_flower_combines_does_not_depend_on_how_it_is_handed_over(
    kind: str, updates: dict[str, Update]
) -> None:
    written = [
        Message(
            RecordDict(
                {
                    "arrays": ArrayRecord(
                        {name: Array(update.parameters[name]) for name in ("b", "n", "w")}
                    ),
                    "metrics": MetricRecord({"num-examples": update.weight}),
                }
            ),
            0,
            "train",
        )
        for update in updates.values()
    ]
    expected, _ = flower(kind).aggregate_train(1, written)
    found = combined_by(flower(kind), updates, 0).parameters
    assert set(found) == set(expected)
    for name, array in expected.items():
        dtype = updates["east"].parameters[name].dtype
        assert found[name].dtype == dtype
        assert found[name].tobytes() == array.numpy().astype(dtype).tobytes()


def test_combining_leaves_what_the_sites_said_alone(updates: dict[str, Update]) -> None:
    before = {site: update.parameters["w"].copy() for site, update in updates.items()}
    combined = combined_by(flower("fedavg"), updates, 0).parameters
    combined["w"][:] = 0
    for site, update in updates.items():
        assert (update.parameters["w"] == before[site]).all()
        update.parameters["w"][:] = 1  # Still the server's own to change.
