"""Weights that are fixed before training, on sites whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fedbench.data import Cohort
from fedbench.errors import ContractError, Unsupported
from fedbench.federation.inprocess import train
from fedbench.federation.strategies.daw import DistributionAware
from fedbench.federation.strategies.fedtgan import FedTGAN
from fedbench.federation.study import Choice, Study
from fedbench.strategy import Strategy, Update

RNG = np.random.default_rng
LEVELS, COLUMNS = 8, 10


def world(
    sizes: Mapping[str, int], seed: int, recoded: tuple[str, ...] = (), columns: int = COLUMNS
) -> dict[str, Update]:
    """Sites that draw from one distribution; the recoded ones name the levels otherwise."""
    rng = RNG(seed)
    truth = rng.dirichlet(np.ones(LEVELS), size=columns)
    swap = rng.permutation(LEVELS)
    told = {}
    for site, n in sizes.items():
        sums = {}
        for j in range(columns):
            p = truth[j][swap] if site in recoded else truth[j]
            sums[f"c{j}"] = np.append(rng.multinomial(n, p), 0).astype(float)
        told[site] = Update(sums=sums, weight=float(n))
    return told


def shares(strategy: Strategy, told: Mapping[str, Update]) -> dict[str, float]:
    met = {site: float(w) for site, w in strategy.meet(told).items()}
    return {site: w / sum(met.values()) for site, w in met.items()}


EIGHT = {f"s{i}": 500 for i in range(8)}
UNEQUAL = {f"s{i}": n for i, n in enumerate((60, 100, 200, 400, 800, 1200, 2000, 3000))}


def test_sites_that_are_alike_are_weighed_by_a_power_of_their_size() -> None:
    base = np.array([0.5, 0.3, 0.2, 0.0])
    told = {site: Update(sums={"x": base * n}, weight=float(n)) for site, n in UNEQUAL.items()}
    for gamma in (0.0, 0.5, 1.0):
        found = shares(DistributionAware(gamma=gamma), told)
        raw = {site: n**gamma for site, n in UNEQUAL.items()}
        expected = {site: share / sum(raw.values()) for site, share in raw.items()}
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("giant", [500, 2500])
def test_a_recoded_hospital_gets_no_weight_even_as_the_largest(giant: int) -> None:
    out = 0
    for seed in range(20):
        found = shares(DistributionAware(), world({**EIGHT, "s3": giant}, seed, ("s3",)))
        out += found["s3"] == 0
        assert all(w > 0 for site, w in found.items() if site != "s3")
    assert out == 20


def test_a_small_hospital_is_not_shut_out_for_being_small() -> None:
    root = {site: n**0.5 for site, n in UNEQUAL.items()}
    for seed in range(40):
        found = shares(DistributionAware(), world(UNEQUAL, seed))
        for site, w in found.items():
            assert w > 0.5 * root[site] / sum(root.values())


def test_where_all_hospitals_differ_none_is_an_outlier() -> None:
    rng, shut = RNG(5), 0
    for _ in range(20):
        told = {
            site: Update(
                sums={
                    f"c{j}": np.append(rng.multinomial(n, rng.dirichlet(np.ones(LEVELS))), 0.0)
                    for j in range(COLUMNS)
                },
                weight=float(n),
            )
            for site, n in EIGHT.items()
        }
        shut += sum(w < 0.5 / 8 for w in shares(DistributionAware(), told).values())
    assert shut <= 0.05 * 20 * 8


def test_one_site_never_decides_more_than_the_cap() -> None:
    found = shares(DistributionAware(gamma=1.0), world({**EIGHT, "s0": 100_000}, 0))
    assert found["s0"] == pytest.approx(0.5)
    assert sum(found.values()) == pytest.approx(1.0)


def test_with_fewer_than_five_sites_nobody_is_shut_out_or_capped() -> None:
    sizes = {"a": 1000, "b": 10, "c": 10, "d": 10}
    found = shares(DistributionAware(gamma=1.0), world(sizes, 0, ("a",)))
    assert found["a"] == pytest.approx(1000 / 1030)
    names = {remark.name for remark in DistributionAware().remarks(world(sizes, 0, ("a",)))}
    assert names == {"share of the average"}


def test_the_order_of_sites_and_of_levels_changes_nothing() -> None:
    told = world(UNEQUAL, 3, ("s5",))
    one = shares(DistributionAware(), told)
    turned = {
        site: Update(sums={n: c[::-1].copy() for n, c in u.sums.items()}, weight=u.weight)
        for site, u in reversed(told.items())
    }
    other = shares(DistributionAware(), turned)
    assert one == pytest.approx({site: other[site] for site in one})


def test_the_operator_hears_of_the_column_that_one_hospital_records_differently() -> None:
    heard = false = 0
    for seed in range(20):
        told = world({f"s{i}": 1000 for i in range(8)}, seed)
        counts = told["s2"].sums["c4"]
        told["s2"].sums["c4"][:] = np.append(counts[:-1][::-1], counts[-1])
        for remark in DistributionAware().remarks(told):
            if remark.name.startswith("distance in"):
                planted = (remark.site, remark.name) == ("s2", "distance in c4")
                heard, false = heard + planted, false + (not planted)
    assert heard >= 10
    assert false <= 0.05 * 20 * 8 * COLUMNS


@pytest.mark.parametrize(("noise", "least"), [(5.0, 20), (20.0, 17)])
def test_noise_in_the_counts_shuts_out_no_honest_hospital(noise: float, least: int) -> None:
    found, shut = 0, 0
    for seed in range(20):
        told, rng = world(EIGHT, seed, ("s3",)), RNG(seed + 100)
        noised = {
            site: Update(
                sums={n: c + rng.normal(0, noise, c.shape) for n, c in u.sums.items()},
                weight=u.weight,
            )
            for site, u in told.items()
        }
        met = {s: float(w) for s, w in DistributionAware().meet(noised, noise).items()}
        found += met.pop("s3") < 0.5 / 8
        shut += sum(w < 0.5 / 8 for w in met.values())
    assert found >= least
    assert shut <= 0.05 * 20 * 7


def test_the_published_weights_barely_notice_an_outlier() -> None:
    found = shares(FedTGAN(), world(EIGHT, 0, ("s3",)))
    assert 0.11 < found["s3"] < 1 / 8
    larger = shares(FedTGAN(), world({**EIGHT, "s3": 5000}, 0, ("s3",)))
    assert larger["s3"] > 1 / 8


def test_a_site_that_did_not_agree_cannot_be_weighed() -> None:
    strategy = DistributionAware()
    met = strategy.meet(world(EIGHT, 0))
    update = Update(parameters={"w": np.ones(2)}, weight=5.0)
    with pytest.raises(ContractError, match="late"):
        strategy.combine({"w": np.zeros(2)}, {"late": update}, met, RNG(0))


def test_a_round_of_outliers_alone_changes_nothing() -> None:
    strategy = DistributionAware()
    met = strategy.meet(world(EIGHT, 0, ("s3",)))
    update = Update(parameters={"w": np.ones(2)}, weight=5.0)
    combined, _ = strategy.combine({"w": np.zeros(2)}, {"s3": update}, met, RNG(0))
    assert combined.parameters == {}


@pytest.mark.parametrize("strategy", ["daw", "fedtgan", "median", "trimmed"])
@pytest.mark.parametrize("generator", ["copula", "renewal"])
def test_weights_are_not_asked_for_where_sums_are_added_whatever_they_are(
    generator: str, strategy: str, study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, generator=Choice(generator), strategy=Choice(strategy))
    with pytest.raises(Unsupported, match=f"{generator}.* sums of all hospitals are added"):
        train(study, sites)
    alone = replace(study, sites=("north",))
    assert train(alone, {"north": sites["north"]}).state


def test_nobody_has_a_share_of_an_average_that_nobody_takes(
    study: Study, sites: Mapping[str, Cohort]
) -> None:
    study = replace(study, strategy=Choice("daw"))
    floor = train(replace(study, generator=Choice("independent")), sites)
    assert "share of the average" not in floor.remarks["name"]
    network = Choice("tvae", {"passes": 2, "hidden": 8, "latent": 2})
    trained = train(replace(study, generator=network), sites)
    assert trained.remarks["name"] == ["share of the average"] * 3
