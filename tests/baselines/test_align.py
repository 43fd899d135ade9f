"""Adapters per coding system, and numbers of visits that mean the same at every hospital."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fedbench.baselines.align import Align
from fedbench.baselines.latdiff import Latdiff
from fedbench.data import Cohort, Vocabulary
from fedbench.errors import SpecError
from fedbench.generator import Local, Site
from fedbench.seeds import Seeds
from fedbench.strategy import Memory, Update
from fedbench.training import Batch

torch.set_num_threads(1)

SMALL: Mapping[str, Any] = {
    "passes": 4, "time_passes": 2, "batch": 64, "hidden": 16, "rank": 8, "wide": 16, "layers": 1,
    "latent": 4, "adapter": 4,
}  # fmt: skip
ANCHORS = (("icd:A", "local:a"), ("icd:B", "local:b"))


@pytest.fixture(scope="module")
def sites(planted: Callable[[int], Cohort]) -> Mapping[str, Cohort]:
    """Four hospitals; two of them write A, B and C as a, b and c of another system."""
    mixed = _mixed(planted(160))
    return {name: mixed.take(mixed.patients[i::4]) for i, name in enumerate("wxyz")}


def _mixed(whole: Cohort) -> Cohort:
    """Every second patient has codes of another system."""
    other = Vocabulary(codes={"a": "first", "b": "follows a", "c": "alone"})
    schema = replace(whole.schema, vocabularies={**whole.schema.vocabularies, "local": other})
    codes = whole.codes.assign(
        system=lambda rows: np.where(_second(rows["patient"]), "local", rows["system"]),
        code=lambda rows: rows["code"].where(
            ~_second(rows["patient"]), rows["code"].str.lower()
        ),
    )  # fmt: skip
    return Cohort.of_tables(schema, whole.static, whole.visits, codes, whole.outcome)


def _second(patients: Any) -> Any:
    return patients.str[1:].astype(int) % 2 == 1


class Keeping(Align):
    """Keeps what sites said, and their memories."""

    kept: dict[str, tuple[Update, Memory]] = {}  # noqa: RUF012

    def update(self, *asked: Any, **named: Any) -> Update:
        told = super().update(*asked, **named)
        self.kept[asked[2].name] = (told, asked[2].memory)
        return told


def systems(cohort: Cohort) -> set[str]:
    return set(cohort.codes["system"])


def test_a_patient_has_codes_as_at_some_hospital(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    model = Align(anchors=ANCHORS, **SMALL)
    run = trained(model, sites, 2)
    assert run.state["systems shared"].tolist() == [1, 1]
    written = model.sample(run.state, run.encoder, 400, np.random.default_rng(0))
    each = written.codes.groupby("patient")["system"].nunique()
    assert (each == 1).all()
    share = written.codes.drop_duplicates("patient")["system"].eq("icd").mean()
    assert share == pytest.approx(0.5, abs=0.1)


def test_what_one_hospital_uses_alone_stays_there(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    three = {name: sites[name] for name in ("w", "x", "y")}  # only x has local codes
    model = Keeping(anchors=ANCHORS, **SMALL)
    run = trained(model, three, 2)
    assert run.state["systems shared"].tolist() == [1, 0]
    # update by update: the last are those of the denoiser
    memory = model.kept["x"][1]
    assert {"reader.adapters.1.vectors", "reader.own.weight"} <= set(memory)
    fresh = run.state["reader.adapters.1.vectors"]
    assert not np.allclose(memory["reader.adapters.1.vectors"], fresh)
    rng = np.random.default_rng(0)
    assert systems(model.sample(run.state, run.encoder, 200, rng)) == {"icd"}
    assert systems(model.sample(run.state, run.encoder, 200, rng, memory)) == {"local"}


def test_nothing_private_crosses(trained: Callable[..., Any], sites: Mapping[str, Cohort]) -> None:
    crossed: list[str] = []

    class Heard(Align):
        def message(self, *asked: Any, **named: Any) -> Any:
            told = super().message(*asked, **named)
            crossed.extend(told)
            return told

        def update(self, *asked: Any, **named: Any) -> Update:
            told = super().update(*asked, **named)
            crossed.extend(told.parameters)
            return told

    trained(Heard(anchors=ANCHORS, **SMALL), {name: sites[name] for name in ("w", "x", "y")}, 2)
    assert "reader.adapters.0.vectors" in crossed
    assert not [n for n in crossed if n.startswith(("reader.own", "reader.adapters.1"))]


def test_a_site_sends_only_adapters_that_it_uses(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    sent: dict[str, set[str]] = {}

    class Heard(Align):
        def update(self, *asked: Any, **named: Any) -> Update:
            told = super().update(*asked, **named)
            sent.setdefault(asked[2].name, set()).update(told.parameters)
            return told

    trained(Heard(**SMALL), sites, 1)
    assert "reader.adapters.0.vectors" in sent["w"] & sent["y"]
    assert "reader.adapters.0.vectors" not in sent["x"] | sent["z"]
    assert "reader.adapters.1.vectors" in sent["x"] & sent["z"]


def test_anchors_bring_codes_together(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    def apart(anchors: tuple[tuple[str, str], ...]) -> float:
        state = trained(Align(anchors=anchors, learning_rate=0.01, **SMALL), sites, 3).state
        gap = state["reader.adapters.0.vectors"] - state["reader.adapters.1.vectors"]
        return float(np.linalg.norm(gap[0]))

    assert apart(ANCHORS) < 0.3 * apart(())
    with pytest.raises(SpecError, match="icd:Z"):
        apart((("icd:Z", "local:a"),))


def test_a_pull_brings_hospitals_together(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    def far(pull: float) -> float:
        model = Keeping(pull=pull, **{**SMALL, "passes": 16})
        run = trained(model, sites, 4)
        agreed = model.phases()[2]
        centres = []
        for name, cohort in sites.items():
            site = Site(name, run.encoder.encode(cohort), run.encoder, model.kept[name][1], cohort)
            message = model.message(agreed, model.settled(run.state), 0)
            told = model.update(
                agreed, message, site, Local(0, 1, Seeds(0)), np.random.default_rng(0)
            )
            count = told.sums["strata known"]
            centres.append((told.sums["strata centre"] / np.maximum(count, 1))[count[:, 0] > 5])
        return float(np.mean([np.abs(c.mean(axis=0) - centres[0].mean(axis=0)) for c in centres]))

    assert far(5.0) < far(0.0)


def test_patients_cost_the_same_alone_and_together(
    trained: Callable[..., Any], sites: Mapping[str, Cohort]
) -> None:
    model = Align(precision="float64", anchors=ANCHORS, **{**SMALL, "passes": 2, "time_passes": 1})
    run, cohort = trained(model, sites, 1), sites["x"]
    site = Site("x", run.encoder.encode(cohort), run.encoder, {}, cohort)
    together = model.phases()[3]
    message = model.message(together, model.settled(run.state), 0)
    extra = model.besides(together, message, site)
    everyone = Batch.of(site.records, run.encoder, torch.float64, "cpu", extra)
    network = model.loaded(together, run.state, run.encoder)
    draws = torch.as_tensor(model.draws(together, run.encoder, site.records.keys, 3))
    every = model.losses(network, everyone, draws)["loss"]
    for i in (0, 7, 12):
        some = slice(i, i + 1)
        alone = model.losses(network, everyone.take(some), draws[some])["loss"]
        assert alone.item() == pytest.approx(every[i].item(), abs=1e-9)


@pytest.fixture(scope="module")
def few(planted: Callable[[int], Cohort]) -> Mapping[str, Cohort]:
    """Two hospitals of 80 patients each, and two of 14 that write in another system."""
    mixed = _mixed(planted(320))
    icd, local = (mixed.patients[start::2] for start in (0, 1))
    cuts = {"w": icd[:80], "y": icd[80:160], "x": local[:14], "z": local[14:28]}
    return {name: mixed.take(patients) for name, patients in cuts.items()}


def followed(generator: Latdiff, sites: Mapping[str, Cohort], trained: Callable[..., Any]) -> float:
    """How often b is there after a visit with a, in the system that 28 patients have."""
    run = trained(generator, sites, 3)
    steps = generator.sample(run.state, run.encoder, 2000, np.random.default_rng(1)).sequences
    has, names = steps.multi_hot(slice(None)), list(steps.vocabulary)
    first, second = (has[:, names.index(("local", code))] for code in "ab")
    same = steps.owner[1:] == steps.owner[:-1]
    assert first[:-1][same].sum() > 30
    return float(second[1:][same & first[:-1]].mean())


def test_what_one_system_tells_serves_another_through_anchors(
    trained: Callable[..., Any], few: Mapping[str, Cohort]
) -> None:
    size: Mapping[str, Any] = {
        "passes": 30, "time_passes": 8, "batch": 32, "learning_rate": 5e-3, "hidden": 32,
        "rank": 16, "wide": 16, "layers": 1, "latent": 6,
    }  # fmt: skip
    anchored = followed(Align(anchors=ANCHORS, adapter=8, **size), few, trained)
    alone = followed(Align(anchor=0, pull=0, adapter=8, **size), few, trained)
    plain = followed(Latdiff(**size), few, trained)
    assert anchored > alone + 0.1
    assert anchored > plain + 0.1
