"""Promises every plug-in keeps, checked on every plug-in there is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import torch
from annotated_types import BaseMetadata, GroupedMetadata

from fedbench import testing
from fedbench.data import DataStore
from fedbench.errors import DataError, SpecError
from fedbench.kinds import (
    ATTACKS,
    CODECS,
    DATASETS,
    GENERATORS,
    KINDS,
    METRICS,
    PARTITIONERS,
    STRATEGIES,
)

torch.set_num_threads(1)

QUICK = {name: {"passes": 2} for name in ("ctgan", "halo", "tabdiff", "tvae")}
QUICK |= {name: {"passes": 2, "time_passes": 2} for name in ("align", "latdiff")}


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_dataset(name: str) -> None:
    store = DataStore(Path(os.environ["FEDBENCH_DATA"]) if "FEDBENCH_DATA" in os.environ else None)
    dataset = DATASETS.build(name)
    if not dataset.embedded:
        try:
            dataset.load(store)
        except DataError as missing:
            pytest.skip(f"its files are not here: {missing}")
    testing.check_dataset(dataset, store)


@pytest.mark.parametrize("name", PARTITIONERS.names())
def test_every_partitioner(name: str) -> None:
    testing.check_partitioner(PARTITIONERS.build(name))


@pytest.mark.parametrize("name", GENERATORS.names())
def test_every_generator(name: str) -> None:
    testing.check_generator(name, QUICK.get(name))


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy(name: str) -> None:
    testing.check_strategy(STRATEGIES.build(name))


@pytest.mark.parametrize("name", CODECS.names())
def test_every_codec(name: str) -> None:
    testing.check_codec(CODECS.build(name))


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric(name: str) -> None:
    testing.check_metric(METRICS.build(name))


@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_attack(name: str) -> None:
    testing.check_attack(ATTACKS.build(name))


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_has_its_range(kind: str) -> None:
    for name in KINDS[kind].names():
        plugin = KINDS[kind].find(name)
        shapes = get_type_hints(plugin, include_extras=True)
        for field in dataclasses.fields(plugin):
            assert _ranged(shapes[field.name]), f"{name}.{field.name} takes any number."


def _ranged(shape: object) -> bool:
    """Whether every number in this type stands beside the range it may be in."""
    if get_origin(shape) is Annotated:
        return any(isinstance(note, BaseMetadata | GroupedMetadata) for note in get_args(shape)[1:])
    return shape not in (int, float) and all(map(_ranged, get_args(shape)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_says_what_it_is_for(kind: str) -> None:
    summaries = KINDS[kind].summaries()
    assert summaries
    assert all(summaries.values()), summaries


@pytest.mark.parametrize("name", [n for n in GENERATORS.names() if GENERATORS.find(n).presets])
def test_every_preset_gives_way_to_what_is_said(name: str) -> None:
    kind = GENERATORS.find(name)
    assert GENERATORS.build(name, {"preset": "cpu"}) == GENERATORS.build(name)
    larger = GENERATORS.build(name, {"preset": "gpu"})
    assert larger != GENERATORS.build(name)
    assert larger.settings.items() >= kind.presets["gpu"].items()
    setting = next(iter(kind.presets["gpu"]))
    said = GENERATORS.build(name, {"preset": "gpu", setting: 40})
    assert said.settings == {**larger.settings, setting: 40}
    with pytest.raises(SpecError, match="There is no preset 'tpu'"):
        GENERATORS.build(name, {"preset": "tpu"})
