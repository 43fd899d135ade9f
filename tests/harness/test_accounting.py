"""What noised releases cost."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from fedbench.accounting import (
    Accountant,
    Bill,
    Charge,
    epsilon_of,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_mu,
    noise_for,
    renyi_epsilon_of,
)
from fedbench.errors import FedbenchError
from fedbench.privacy import Patient, Stake, planned

MU = st.floats(0.01, 8)
DELTA = st.sampled_from([1e-2, 1e-5, 1e-8])


def charges(*noises: float) -> list[Charge]:
    return [Charge("run", f"round {i}", noise) for i, noise in enumerate(noises)]


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    def beyond(x: float) -> float:
        return float(max(0.0, norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x)))

    cross = epsilon / mu + mu / 2
    expected = quad(beyond, cross, cross + 12, epsabs=1e-14)[0]
    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_epsilon_is_that_of_other_programs() -> None:
    # dp-accounting 0.6.0 at delta 1e-5: PLDAccountant(value_discretization_interval=1e-4) and
    # RdpAccountant(), composed of GaussianDpEvent(noise) for each noise.
    for noises, tight, loose in (
        ([3.730632], 0.99999989, 1.0925942),
        ([1.0], 4.3771781, 4.7285071),
        ([2.0, 3.0, 6.0, 6.0], 2.6548205, 2.8787412),
    ):
        assert epsilon_of(charges(*noises), 1e-5) == pytest.approx(tight, rel=1e-6)
        assert renyi_epsilon_of(charges(*noises), 1e-5) == pytest.approx(loose, rel=1e-6)


@settings(deadline=None)
@given(MU, DELTA)
def test_epsilon_is_never_below_the_exact_one(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    assert gaussian_delta(mu, epsilon) <= delta
    if epsilon > 1e-6:
        assert gaussian_delta(mu, epsilon * (1 - 1e-6)) > delta * (1 - 1e-6)


@settings(deadline=None)
@given(st.floats(0.05, 50), DELTA)
def test_noise_for_an_epsilon_keeps_it_and_wastes_nothing(epsilon: float, delta: float) -> None:
    spent = gaussian_epsilon(gaussian_mu(epsilon, delta), delta)
    assert epsilon * (1 - 1e-5) < spent <= epsilon


def test_releases_add_up_to_one_with_less_noise() -> None:
    assert epsilon_of(charges(*[6.0] * 9), 1e-5) == pytest.approx(epsilon_of(charges(2.0), 1e-5))
    assert epsilon_of(charges(2.0, 2.0), 1e-5) > epsilon_of(charges(2.0), 1e-5)
    assert epsilon_of([], 1e-5) == 0


@settings(deadline=None)
@given(st.lists(st.floats(0.3, 40), min_size=1, max_size=5), DELTA)
def test_renyi_is_looser_but_not_by_much(noises: list[float], delta: float) -> None:
    tight, loose = (f(charges(*noises), delta) for f in (epsilon_of, renyi_epsilon_of))
    assert tight <= loose + 1e-9
    assert loose < 1.5 * tight + 0.5


# dp-accounting 0.6.0 at delta 1e-6, the same accountants composed of
# PoissonSampledDpEvent(rate, GaussianDpEvent(noise)), `steps` times, and GaussianDpEvent(1 / mu).
SAMPLED = [
    ((1.5, 0.33, 300), 0.0, 28.298766),
    ((6.0, 0.33, 300), 0.1, 4.7434813),
    ((6.0, 0.33, 300), 0.2, 4.8270496),
    ((20.0, 0.33, 300), 0.2, 1.5251912),
    ((2.0, 0.01, 3000), 0.2, 1.5644569),
    ((0.8, 0.01, 3000), 0.2, 6.0553156),
]


@pytest.mark.parametrize(("kind", "mu", "expected"), SAMPLED)
def test_sampled_releases_cost_what_another_program_says(
    kind: tuple[float, float, int], mu: float, expected: float
) -> None:
    noise, rate, steps = kind
    mixed = [Charge("run", "train", noise, rate, steps // 3) for _ in range(3)]
    mixed += charges(1 / mu) if mu else []
    found = epsilon_of(mixed, 1e-6)
    assert expected <= found < expected + 0.011
    assert found <= renyi_epsilon_of(mixed, 1e-6) < 1.2 * expected


def test_sampled_releases_cost_what_opacus_says() -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    tight, loose = PRVAccountant(), RDPAccountant()
    tight.history = loose.history = [(2.0, 0.05, 100), (1.0, 0.01, 50)]
    mine = [Charge("run", "a", 2.0, 0.05, 100), Charge("run", "b", 1.0, 0.01, 50)]
    assert epsilon_of(mine, 1e-5) == pytest.approx(tight.get_epsilon(1e-5), rel=1e-6)
    assert renyi_epsilon_of(mine, 1e-5) == pytest.approx(loose.get_epsilon(1e-5), rel=0.02)


@pytest.mark.parametrize(("rate", "epsilon"), [(0.02, 0.5), (0.4, 4.0), (1.0, 0.5)])
def test_the_noise_for_an_epsilon_keeps_it_whatever_came_before(
    rate: float, epsilon: float
) -> None:
    before = charges(40.0, 60.0)
    for more in ([], [Charge("run", "train", 30.0, 0.1, 20)])[: 2 if rate == 1 else 1]:
        there = [*before, *more]
        charge = Charge("run", "next", 1.0, rate, 30)
        noise = noise_for(there, charge, epsilon, 1e-5)
        spent = epsilon_of([*there, replace(charge, noise=noise)], 1e-5)
        assert 0.97 * epsilon < spent <= epsilon


def test_a_bill_within_another_costs_no_more() -> None:
    whole = [*charges(3.0), Charge("run", "train", 2.0, 0.1, 50)]
    part = [*charges(3.0), Charge("run", "train", 2.0, 0.1, 20)]
    assert Bill.of(part).within(Bill.of(whole))
    assert epsilon_of(part, 1e-5) < epsilon_of(whole, 1e-5)
    for more in (
        charges(3.0, 9.0),
        [Charge("run", "train", 2.0, 0.1, 51)],
        [Charge("run", "train", 2.0, 0.2, 1)],
        [Charge("run", "train", 1.9, 0.1, 1)],
    ):
        assert not Bill.of(more).within(Bill.of(whole))


def test_a_tenth_of_the_noise_costs_what_it_costs() -> None:
    assert epsilon_of(charges(0.373), 1e-5) > 10


def test_a_charge_is_on_disk_before_anything_leaves_and_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "site" / "ledger.jsonl"
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from fedbench.accounting import Accountant, Charge\n"
        f"Accountant(Path({str(file)!r})).charge(Charge('a', 'encoder 0', 2.0))\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    again = Accountant(file)
    assert again.charges == [Charge("a", "encoder 0", 2.0)]
    again.charge(Charge("b", "encoder 0", 2.0))
    assert Accountant(file).spent(1e-5).epsilon == pytest.approx(
        epsilon_of(charges(math.sqrt(2)), 1e-5)
    )
    assert [c.what for c in Accountant(file).of("b")] == ["encoder 0"]


@pytest.mark.parametrize("line", ['{"run": "a", "wh', "{}", '"x"'])
def test_a_ledger_that_cannot_be_read_is_no_empty_ledger(line: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    Accountant(file).charge(Charge("a", "encoder 0", 2.0))
    file.write_text(file.read_text() + line)
    with pytest.raises(FedbenchError, match="restore the file"):
        Accountant(file)


def test_two_processes_do_not_both_take_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from fedbench.accounting import Accountant, Charge\n"
        f"mine = Accountant(Path({str(file)!r}))\n"
        "def check():\n    time.sleep(0.3)\n    assert len(mine.charges) < 2\n"
        "mine.charge(Charge(sys.argv[1], 'encoder 0', 2.0), check)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, name], stderr=subprocess.DEVNULL)
        for name in "abc"
    ]
    assert sorted(process.wait() for process in started) == [0, 0, 1]
    assert len(Accountant(file).charges) == 2


def test_a_ledger_is_only_added_to(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    before = ""
    for number in range(3):
        Accountant(file).charge(Charge("a", f"round {number}", 1.5))
        after = file.read_text()
        assert after.startswith(before)
        assert json.loads(after.splitlines()[-1])["what"] == f"round {number}"
        before = after
    assert file.stat().st_size == len(before)
    assert np.isclose(Accountant(file).spent(1e-5).epsilon, epsilon_of(charges(*[1.5] * 3), 1e-5))


def test_a_plan_of_several_sampled_stages_spends_what_was_promised() -> None:
    stakes = (
        Stake("visits", 20, 0.4, 0.05),
        Stake("moments", 1, 0.2),
        Stake("time", 20, 0.4, 0.05),
    )
    charges = planned(Patient(epsilon=1.0, delta=1e-5), "encoder", stakes)
    assert [charge.what for charge in charges] == ["encoder", "visits", "moments", "time"]
    assert 0.98 < epsilon_of(charges, 1e-5) <= 1.0
