"""A hospital's signature in hidden numbers is found; its outcomes, and none, are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from fedbench.data import Cohort
from fedbench.metric import Evidence, Hospital, Measure, Refusal
from fedbench.metrics.latent_site import LatentSite, _Course, _Crowd

Draw = Callable[[int, int], Cohort]
Judge = Callable[..., Evidence]
Floats = np.ndarray


def asked(
    judge: Judge, cohort: Cohort, hospitals: Floats, latents: Floats, seed: int = 0
) -> Evidence:
    evidence = judge(cohort, cohort, seed=seed)
    beside = {
        str(site): Hospital(evidence.test.at(hospitals == site), trained=100)
        for site in np.unique(hospitals)
    }
    return replace(evidence, beside=beside, latents=lambda _: latents)


def found(evidence: Evidence, seed: int = 0) -> dict[tuple[str, str], Measure]:
    answers = LatentSite(shuffles=39).measure(evidence, np.random.default_rng(seed))
    return {(a.part, a.key.column): a for a in answers if isinstance(a, Measure)}


@pytest.mark.parametrize("how", ["means", "spreads"])
def test_a_signature_is_found_and_grows(draw: Draw, judge: Judge, how: str) -> None:
    rng = np.random.default_rng(0)
    cohort, names = draw(600, 0), np.repeat(["north", "south", "west"], 200)
    noise, values = rng.normal(size=(600, 4)), []
    for strength in (0.0, 0.5, 1.0, 2.0):
        mark = strength * (names == "west")
        latents = noise.copy()
        latents[:, 0] = noise[:, 0] + mark if how == "means" else noise[:, 0] * (1 + mark)
        ours = found(asked(judge, cohort, names, latents))
        values.append(ours["", ""])
        assert {key[1] for key in ours if not key[0]} == {"", "north", "south", "west"}
        assert ours["", "west"].value >= ours["", "north"].value or not strength
    assert [m.value for m in values] == sorted(m.value for m in values)
    assert values[0].facts["p_value"] > 0.05
    assert values[0].low <= values[0].facts["floor"] <= values[0].high
    assert values[-1].low > values[-1].facts["floor"] + values[-1].facts["noise_floor"]
    assert values[-1].facts["p_value"] == 1 / 40


def test_hospitals_are_not_known_by_their_outcomes(draw: Draw, judge: Judge) -> None:
    cohort = draw(800, 0)
    rng, event = np.random.default_rng(0), cohort.event
    names = np.where(rng.random(800) < np.where(event, 0.85, 0.15), "north", "south")
    latents = np.column_stack([event + rng.normal(scale=0.1, size=800), rng.normal(size=800)])
    assert roc_auc_score(names == "north", latents[:, 0]) > 0.7
    overall = found(asked(judge, cohort, names, latents))["", ""]
    assert abs(overall.value - 0.5) < 0.06
    assert overall.facts["p_value"] > 0.05


def test_scores_are_those_of_scikit_learn(draw: Draw) -> None:
    rng = np.random.default_rng(0)
    site, numbers = rng.integers(0, 2, 300), rng.normal(size=(300, 3))
    names = draw(300, 0).patients.astype(str)
    crowd = _Crowd(
        names=("a", "b"),
        site=site,
        stratum=np.zeros(300, dtype=np.int64),
        clusters=names,
        weights=np.ones((1, 300), dtype=np.uint8),
    )
    course = _Course.of(crowd, numbers, 4, 0.1, rng)
    ours = course.scores(site)
    for seen, _ in course.folds:
        hot = np.eye(2)[site][seen]
        model = Ridge(alpha=0.1 * seen.sum(), fit_intercept=False)
        model.fit(course.wide[seen], hot - hot.mean(axis=0))
        np.testing.assert_allclose(ours[~seen], model.predict(course.wide[~seen]), atol=1e-9)
    for k in (0, 1):
        area = roc_auc_score(site == k, ours[:, k])
        assert crowd.areas(ours, site)[k] == pytest.approx(area, abs=1e-12)
        assert crowd.drawn(ours[:, k], k)[0] == pytest.approx(area, abs=1e-12)


def test_the_null_is_kept_and_intervals_cover(draw: Draw, judge: Judge) -> None:
    cohort, names = draw(200, 0), np.repeat(["north", "south"], 100)
    for strength in (0.0, 1.0):
        measures = []
        for seed in range(30):
            latents = np.random.default_rng(seed).normal(size=(200, 3))
            latents[:, 0] += strength * (names == "north")
            measures.append(found(asked(judge, cohort, names, latents, seed), seed)["", ""])
        truth = np.mean([m.value for m in measures]) if strength else 0.5
        # 30 draws, three standard errors around .95 and .05.
        assert sum(m.low <= truth <= m.high for m in measures) >= 25
        assert strength or sum(m.facts["p_value"] <= 0.05 for m in measures) <= 5


def test_what_cannot_be_asked_has_reasons(draw: Draw, judge: Judge) -> None:
    cohort = draw(60, 0)
    rng = np.random.default_rng(0)
    (answer,) = LatentSite().measure(judge(cohort, cohort), rng)
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"
    evidence = asked(judge, cohort, np.repeat(["big", "small"], [50, 10]), np.zeros((60, 2)))
    (answer,) = LatentSite().measure(evidence, rng)
    assert isinstance(answer, Refusal)
    assert answer.reason == "1 hospital has at least 20 test patients; this needs 2"
    nothing = replace(evidence, beside={})
    (answer,) = LatentSite().measure(nothing, rng)
    assert isinstance(answer, Refusal)
    assert answer.status == "not applicable"
