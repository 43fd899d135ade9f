"""Workers that die, and plug-ins of somebody else that break."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedbench.config import GeneratorChoice, Suite, read_suite
from fedbench.data import DataStore
from fedbench.errors import ContractError, FedbenchError
from fedbench.federation.study import Choice
from fedbench.results import RunDir
from fedbench.runner import run

THEIRS = """
import os
from dataclasses import dataclass
from functools import cached_property
import numpy as np
from fedbench.baselines.independent import Independent
from fedbench.data import Cohort, Dataset
from fedbench.partition import Partition, Partitioner
from fedbench.testing import made_up
from fedbench.testing.cohorts import SCHEMA

@dataclass(frozen=True, kw_only=True)
class Deadly(Independent):
    'Takes its process along where it writes for everybody.'
    def sample(self, state, encoder, n, rng, memory=None):
        if n > 100:
            os._exit(7)
        return super().sample(state, encoder, n, rng, memory)

@dataclass(frozen=True, kw_only=True)
class Empty(Independent):
    'Writes nothing.'
    def sample(self, *args, **kwargs):
        return None

@dataclass(frozen=True, kw_only=True)
class Sound(Dataset):
    'As it should be.'
    title = licence = citation = 'made up'
    @property
    def schema(self):
        return SCHEMA
    def load(self, store):
        return made_up(120, 0)

@dataclass(frozen=True, kw_only=True)
class Nothing(Sound):
    'Forgets to return.'
    def load(self, store):
        made_up(120, 0)

@dataclass(frozen=True, kw_only=True)
class Dice(Sound):
    'Other patients every time.'
    def load(self, store):
        return made_up(120, int(np.random.default_rng().integers(1 << 30)))

@dataclass(frozen=True, kw_only=True)
class Torn(Sound):
    'Breaks.'
    def load(self, store):
        return {}['records']

@dataclass(frozen=True, kw_only=True)
class Wrong(Sound):
    'Breaks its own schema.'
    def load(self, store):
        good = made_up(120, 0)
        return Cohort.of_tables(SCHEMA, good.static.assign(age=7), outcome=good.outcome)

@dataclass(frozen=True, kw_only=True)
class Nowhere(Partitioner):
    'Deals nobody.'
    def deal(self, cohort, rng):
        return Partition({})

@dataclass(frozen=True, kw_only=True)
class Lost(Partitioner):
    'Forgets to return.'
    def deal(self, cohort, rng):
        pass

@dataclass(frozen=True, kw_only=True)
class Stuck(Partitioner):
    'Breaks.'
    def deal(self, cohort, rng):
        return rng[0]

@dataclass(frozen=True, kw_only=True)
class Silent(Dataset):
    'Says nothing of itself.'
    @property
    def schema(self):
        return SCHEMA
    def load(self, store):
        return made_up(120, 0)
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Plug-ins of somebody else, in the current folder."""
    (tmp_path / "theirs.py").write_text(THEIRS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("theirs", None)


@pytest.fixture
def small() -> Suite:
    """A suite of seconds."""
    suite = read_suite(str(Path(__file__).parents[1] / "golden" / "tiny.toml"))
    return replace(suite, generators=suite.generators[:1], metrics=(Choice("marginals"),))


def go(suite: Suite, out: Path) -> RunDir:
    return run(suite, out=out, resume=None, jobs=2, store=DataStore(), observe=lambda _: None)


def of(suite: Suite, **made: str) -> Suite:
    """The suite with their dataset or one more generator of theirs."""
    if "dataset" in made:
        suite = replace(suite, datasets=(replace(suite.datasets[0], name=made["dataset"]),))
    if "generator" in made:
        more = GeneratorChoice(name=made["generator"])
        suite = replace(suite, generators=(*suite.generators, more))
    return suite


@pytest.mark.usefixtures("theirs")
def test_a_dead_worker_costs_one_cell(small: Suite, tmp_path: Path) -> None:
    suite = replace(of(small, generator="theirs:Deadly"), attacks=())
    rows = go(replace(suite, regimes=("federated", "local", "centralized")), tmp_path).results()
    failed = rows[rows["status"] == "failed"]
    assert sorted(failed["regime"]) == ["centralized", "federated"]
    assert set(failed["label"]) == {"deadly"}
    assert failed["reason"].str.contains("process died with return code 7").all()
    assert failed["reason"].str.contains("pbcseq-two-deadly-").all()
    done = rows[rows["status"] == "done"]
    assert {("deadly", "local"), ("independent", "federated")} <= set(
        zip(done["label"], done["regime"], strict=True)
    )


@pytest.mark.usefixtures("theirs")
def test_a_generator_that_writes_nothing_is_named(small: Suite, tmp_path: Path) -> None:
    suite = replace(of(small, generator="theirs:Empty"), attacks=(), regimes=("federated",))
    rows = go(suite, tmp_path).results()
    (reason,) = rows[rows["status"] == "failed"]["reason"]
    assert reason.strip().endswith("sample of empty returned None; expected a Cohort.")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Nothing", "theirs:Nothing: load returned None; expected a Cohort."),
        ("Dice", "theirs:Dice: load does not return the same records twice."),
        ("Torn", "theirs:Torn: load broke with KeyError: 'records'"),
        ("Wrong", "theirs:Wrong: static row 1: 'age' is 7"),
        ("Silent", "theirs:Silent does not say its title, licence, citation, which a Dataset"),
    ],
)
@pytest.mark.usefixtures("theirs")
def test_a_broken_dataset_is_named_before_anything_is_written(
    small: Suite, tmp_path: Path, name: str, problem: str
) -> None:
    out = tmp_path / "runs"
    with pytest.raises(FedbenchError) as caught:
        go(of(small, dataset=f"theirs:{name}"), out)
    assert str(caught.value).startswith(problem)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Nowhere", "pbcseq, scenario 'two': 312 patients were dealt to no site."),
        ("Lost", "theirs:Lost: deal returned None; expected a Partition."),
        ("Stuck", "theirs:Stuck: deal broke with TypeError: 'numpy"),
    ],
)
@pytest.mark.usefixtures("theirs")
def test_a_broken_partitioner_is_named(
    small: Suite, tmp_path: Path, name: str, problem: str
) -> None:
    scenario = replace(small.scenarios[0], partition=Choice(f"theirs:{name}"))
    with pytest.raises(ContractError) as caught:
        go(replace(small, scenarios=(scenario,)), tmp_path)
    assert str(caught.value).startswith(problem)


@pytest.mark.usefixtures("theirs")
def test_folders_have_portable_names(small: Suite, tmp_path: Path) -> None:
    suite = replace(of(small, dataset="theirs:Sound"), attacks=(), regimes=("federated",))
    strange = replace(suite.generators[0], label="Größe+1")
    made = go(replace(suite, name="é", generators=(strange,)), tmp_path)
    names = {path.name for path in [made.path, *made.path.rglob("*")]}
    assert any(name.startswith("theirs-Sound-two-Gr-e-1-federated-s0-") for name in names)
    assert all(name.isascii() and not set(name) & set(':+*?"<>|\\ ') for name in names)
    assert "Größe+1" in set(made.results()["label"])
