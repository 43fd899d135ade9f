"""Hidden numbers are pulled to the means of a patient's own stratum, over all hospitals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from fedbench.baselines.aligned import Aligned
from fedbench.baselines.tvae import Tvae
from fedbench.data import Cohort
from fedbench.encoding import Encoder, summarize
from fedbench.errors import SpecError, Unsupported
from fedbench.generator import Local, Site
from fedbench.privacy import Budget
from fedbench.seeds import Seeds

SMALL: Mapping[str, Any] = {"passes": 12, "hidden": 16, "latent": 4}


def apart(run: Any, sites: Mapping[str, Cohort], generator: Aligned) -> float:
    """How far the means of a stratum are apart between hospitals, on average over strata."""
    found = []
    none = Local(0, 1_000_000, Seeds(0))  # a round too short for a step
    for cohort in sites.values():
        site = Site("a", run.encoder.encode(cohort), run.encoder, {}, cohort)
        told = generator.update(
            generator.phases()[0], run.state, site, none,
            np.random.default_rng(0),
        )  # fmt: skip
        count = told.sums["strata known"]
        found.append((told.sums["common means"] / np.maximum(count, 1)[:, None])[count > 5])
    return float(np.mean([np.linalg.norm(a - found[0], axis=1).mean() for a in found[1:]]))


@pytest.fixture(scope="module")
def different(sites: Mapping[str, Cohort]) -> Mapping[str, Cohort]:
    """The same hospitals, of which one keeps only its older patients."""
    old = sites["a"].static["age"].to_numpy() > 40
    return {**sites, "a": sites["a"].take(sites["a"].patients[old])}


def test_a_pull_brings_hospitals_together(
    trained: Callable[..., Any], different: Mapping[str, Cohort]
) -> None:
    loose, tight = Aligned(pull=0, **SMALL), Aligned(pull=2, **SMALL)
    far, near = (apart(trained(each, different, 4), different, each) for each in (loose, tight))
    assert near < 0.7 * far


def test_without_a_pull_it_is_tvae(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    ours = trained(Aligned(pull=0, **SMALL), sites, 2)
    theirs = trained(Tvae(**SMALL), sites, 2)
    for name, array in theirs.state.items():
        assert np.allclose(ours.state[name], array, atol=1e-5), name


def test_strata_are_those_of_the_outcome_and_of_a_category(small: Cohort) -> None:
    assert strata(Aligned(stratified=False), small) == 1
    assert strata(Aligned(), small) == 3
    assert strata(Aligned(by="sex"), small) == 9
    with pytest.raises(SpecError, match="no category 'age'"):
        strata(Aligned(by="age"), small)


def strata(generator: Aligned, cohort: Cohort) -> int:
    encoder = Encoder(cohort.schema, summarize(cohort))
    state = generator.start(generator.phases()[0], None, encoder, np.random.default_rng(0))
    return len(state["strata known"])


class Some(Budget):
    label = "some"

    def release(self, sums: Mapping[str, Any], bound: float) -> Mapping[str, Any]:
        return sums


def test_privacy_is_refused(trained: Callable[..., Any], sites: Mapping[str, Cohort]) -> None:
    run = trained(Aligned(**SMALL), {"c": sites["c"]}, 1)
    site = Site("c", run.encoder.encode(sites["c"]), run.encoder, {}, sites["c"])
    with pytest.raises(Unsupported, match="Take tvae"):
        Aligned(**SMALL).update(
            Aligned().phases()[0], run.state, site, Local(0, 1, Seeds(0), budget=Some()),
            np.random.default_rng(0),
        )  # fmt: skip
