"""Seconds on the line, worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from fedbench.errors import SpecError
from fedbench.kinds import METRICS
from fedbench.metric import Evidence, Measure, Refusal
from fedbench.metrics.wallclock import Line, Wallclock

MEGABIT = 125_000  # bytes
SLOW = Line(up=1, down=2, latency=0.5)


def sent(*messages: tuple[int, str, str, int]) -> pd.DataFrame:
    """A ledger of one phase: round, hospital, way, bytes."""
    table = pd.DataFrame(messages, columns=["round", "site", "way", "bytes"])
    return table.assign(phase="train")


def asked(ledger: pd.DataFrame | None, site: str = "", **settings: Any) -> Mapping[str, float]:
    evidence = cast("Evidence", SimpleNamespace(ledger=ledger, site=site))
    metric = Wallclock(networks={"line": SLOW}, **settings)
    found = metric.measure(evidence, np.random.default_rng(0))
    assert all(isinstance(one, Measure) and one.low == one.value == one.high for one in found)
    return {one.part: one.value for one in found if isinstance(one, Measure)}


TWO = sent(
    (0, "a", "down", 2 * MEGABIT),  # .5 + 1
    (0, "a", "up", 3 * MEGABIT),  # .5 + 3
    (0, "b", "down", 2 * MEGABIT),
    (0, "b", "up", 1 * MEGABIT),  # .5 + 1
    (1, "b", "up", 4 * MEGABIT),  # .5 + 4, and `a` is silent
)


def test_the_server_goes_on_when_the_last_hospital_has_answered() -> None:
    found = asked(TWO)
    assert found["seconds"] == pytest.approx(5 + 4.5)
    assert found["waiting"] == pytest.approx(1 - (5 + 3 + 4.5) / (2 * 9.5))


def test_one_slow_hospital_costs_what_the_others_wait_for_it() -> None:
    # `a` slow: round 0 takes 50; `b` slow: rounds take 30 and 45.
    assert asked(TWO)["straggler"] == pytest.approx(max(50 + 4.5, 30 + 45) - 9.5)
    assert asked(TWO, slowdown=1.0)["straggler"] == 0


def test_a_hospitals_own_time_is_what_it_spends_on_the_line() -> None:
    assert asked(TWO, "a") == {"seconds": pytest.approx(5)}
    assert asked(TWO, "c") == {"seconds": 0}


def test_one_hospital_waits_for_nobody_and_silence_takes_no_time() -> None:
    assert asked(sent((0, "a", "up", MEGABIT))) == {"seconds": pytest.approx(1.5)}
    assert asked(sent()) == {"seconds": 0}


def test_given_records_were_not_sent() -> None:
    evidence = cast("Evidence", SimpleNamespace(ledger=None, site=""))
    (found,) = Wallclock().measure(evidence, np.random.default_rng(0))
    assert isinstance(found, Refusal)
    assert found.status == "not applicable"


def test_a_suite_names_its_own_lines() -> None:
    own = {"dsl": {"up": 1.5, "down": 16}}
    built = METRICS.build("wallclock", {"networks": own})
    assert isinstance(built, Wallclock)
    assert built.networks["dsl"] == Line(up=1.5, down=16)
    assert built.settings["networks"] == {"dsl": {"up": 1.5, "down": 16.0, "latency": 0.0}}
    for wrong, what in (({"up": 0, "down": 16}, "up"), ({**own["dsl"], "lag": 1}, "lag")):
        with pytest.raises(SpecError, match=what):
            METRICS.build("wallclock", {"networks": {"dsl": wrong}})
