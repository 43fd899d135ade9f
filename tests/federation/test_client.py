"""What a site keeps between messages, and that nothing else lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from flwr.app import RecordDict

from fedbench.data import Cohort, Part
from fedbench.encoding import Encoder
from fedbench.errors import FedbenchError
from fedbench.federation.client import Remembered
from fedbench.federation.inprocess import Trained, train
from fedbench.federation.sites import _DEALT
from fedbench.federation.study import Choice, Study
from fedbench.generator import Generator, Local, Phase, Site, State
from fedbench.seeds import Rng
from fedbench.strategy import Memory, Message, Update


@dataclass(frozen=True, kw_only=True)
class Tally(Generator):
    """Counts in its own attribute, which must not last, and in its memory, which must."""

    handles: ClassVar = frozenset(Part)
    built: ClassVar[list[int]] = []

    step: int = 1

    def __post_init__(self) -> None:
        self.built.append(self.step)

    def start(self, phase: Phase, state: State | None, encoder: Encoder, rng: Rng) -> State:
        return {"w": np.zeros(2)}

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        seen = vars(self).get("seen", 0) + self.step
        object.__setattr__(self, "seen", seen)
        site.memory["seen"] = site.memory.get("seen", np.zeros(1)) + self.step
        # What is heard is the site's own: another must not find it changed.
        assert isinstance(message["w"], np.ndarray)
        heard = message["w"].copy()
        message["w"][:] = -1
        return Update(
            parameters={"w": heard},
            sums={"object": np.array([float(seen)]), "memory": site.memory["seen"]},
            weight=float(len(site.records)),
        )

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        raise NotImplementedError


@pytest.fixture
def tally(study: Study) -> Iterator[Study]:
    yield replace(study, generator=Choice(f"{__name__}:Tally"), rounds=3)
    Tally.built.clear()


def same(one: Trained, other: Trained) -> bool:
    return (
        set(one.state) == set(other.state)
        and all(np.array_equal(one.state[name], other.state[name]) for name in one.state)
        and one.encoder.digest == other.encoder.digest
        and one.ledger == other.ledger
    )


def test_a_generator_starts_every_message_afresh_but_for_its_memory(
    tally: Study, sites: Mapping[str, Cohort]
) -> None:
    state = train(tally, sites).state
    assert state["object"].tolist() == [3.0]
    assert state["memory"].tolist() == [9.0]
    assert state["w"].tolist() == [0.0, 0.0]


def test_a_second_run_finds_nothing_of_the_first(tally: Study, sites: Mapping[str, Cohort]) -> None:
    assert same(train(tally, sites), train(tally, sites))
    other = replace(tally, generator=Choice(tally.generator.name, {"step": 10}))
    assert train(other, sites).state["memory"].tolist() == [90.0]
    assert train(tally, sites).state["memory"].tolist() == [9.0]


def test_plugins_are_built_once_per_enrolment_not_once_per_message(
    tally: Study, sites: Mapping[str, Cohort]
) -> None:
    train(tally, sites)
    few = len(Tally.built)
    train(replace(tally, rounds=9), sites)
    assert len(Tally.built) == 2 * few
    train(tally, sites)
    assert len(Tally.built) == 3 * few, "a study asked a second time is built a second time"


@pytest.mark.parametrize("changed", ["seed", "path", "sites"])
def test_runs_in_between_change_nothing(
    changed: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, generator=Choice("tvae", {"passes": 1, "batch": 64}), rounds=1)
    other = replace(study, **{changed: {"seed": 4, "path": ("x",), "sites": ("west",)}[changed]})  # type: ignore[arg-type]
    first, between, again = (train(asked, sites) for asked in (study, other, study))
    assert same(first, again)
    assert not same(first, between)


def test_the_same_study_of_other_patients_is_another_model(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    fewer = {site: cohort.take(cohort.patients[::2]) for site, cohort in sites.items()}
    first, halved, again = (train(study, dealt) for dealt in (sites, fewer, sites))
    assert same(first, again)
    assert not same(first, halved)
    assert max(first.history["weight"]) == 2 * max(halved.history["weight"])


def test_nothing_stays_dealt_behind_a_run(study: Study, sites: Mapping[str, Cohort]) -> None:
    train(study, sites)
    with pytest.raises(ZeroDivisionError):
        train(study, sites, tap=lambda _: 1 / 0)  # type: ignore[arg-type]
    assert _DEALT == {}


def test_memory_is_a_mapping_that_hands_out_copies() -> None:
    state = RecordDict()
    memory = Remembered(state)
    assert (len(memory), list(memory)) == (0, [])
    memory["a"], memory["b"] = np.zeros(2), np.ones(3, dtype=np.float32)
    kept = state["memory"]
    memory["a"][:] = 5
    assert memory["a"].tolist() == [0.0, 0.0]
    del memory["a"]
    assert list(Remembered(state)) == ["b"]
    assert list(kept) == ["a", "b"], "what was kept before is not changed in place"
    with pytest.raises(KeyError):
        memory["a"]


@dataclass(frozen=True, kw_only=True)
class Silent(Tally):
    """Forgets to return its update."""

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        return None  # type: ignore[return-value]


def test_an_update_that_is_none_is_named(study: Study, sites: Mapping[str, Cohort]) -> None:
    asked = replace(study, generator=Choice(f"{__name__}:Silent"))
    with pytest.raises(FedbenchError, match="Silent: update returned None; expected an Update"):
        train(asked, sites)
