"""The report says what the rows say: no more, no less, and always the same."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedbench import report, stats, terminal
from fedbench.errors import RunError
from fedbench.games import TURNED
from fedbench.games import controls as controlled
from fedbench.report import pictures
from fedbench.report.numbers import Number, Numbers, across_seeds
from fedbench.report.reasons import plain
from fedbench.report.scored import place
from fedbench.report.words import human_bytes, measure, number, signed, together, told
from fedbench.results import RunDir, frame, write_json, write_parquet

Row = dict[str, Any]
PRETERM = "birth before 37 weeks, foreseen at 24 weeks and 6 days"
SITES = ("North", "East", "South", "West")
SUITE = """
[suite]
name = "made-up"
seeds = [0, 1, 2]
regimes = ["federated", "centralized", "local", "mixture"]
records = 2000

[[datasets]]
name = "{dataset}"

[[scenarios]]
name = "clinics"
partition = {{ name = "dirichlet", alpha = 0.5, sites = 4 }}
strategy = "fedavg"
rounds = 20

[[generators]]
name = "copula"
"""

AUROC = {"federated": 0.74, "centralized": 0.75, "local": 0.70, "mixture": 0.72}
WORTH = {"independent": -0.15, "copula": 0.0, "tvae": -0.03}


class Study:
    """Rows as the runner writes them, about a world whose truth is known."""

    def __init__(
        self, dataset: str = "opt", seeds: int = 3, sites: tuple[str, ...] = SITES
    ) -> None:
        self.dataset, self.seeds, self.sites = dataset, seeds, sites
        self.rows: list[Row] = []

    def add(self, name: str, value: float | None, half: float = 0.02, **about: Any) -> None:
        """Add one number to every seed, shifted a little from seed to seed."""
        for seed in range(self.seeds):
            row: Row = {
                "suite": "made-up", "dataset": self.dataset, "scenario": "clinics", "seed": seed,
                "name": name, "status": "done", "target": "pooled", "n": 300,
            }  # fmt: skip
            if value is not None:
                shifted = value + (seed - (self.seeds - 1) / 2) * (
                    0 if np.isnan(half) else half / 20
                )
                row |= {"value": shifted, "low": shifted - half, "high": shifted + half}
            row |= about
            row["train_id"] = (
                f"{self.dataset}-{row.get('label', '')}-{row.get('regime', '')}-{seed}"
            )
            self.rows.append({"label": row.get("generator", ""), **row})

    def utility(self, generator: str, regime: str, by: float) -> None:
        about: Row = {"generator": generator, "regime": regime, "family": "utility"}
        about |= {"task": "preterm", "better": "higher"}
        pooled: Row = (
            {"target": "generalist", "level": "patient-weighted"} if regime == "local" else {}
        )
        self.add("utility.auroc", by, **about, **pooled)
        self.add("utilization.auroc", 0.6, **about, **pooled)
        for i, site in enumerate(self.sites):
            mine = {**about, "target": "specialist", "site": site}
            mine |= {"model": site} if regime == "local" else {}
            if i == len(self.sites) - 1:
                mine |= {"status": "refused", "reason": f"{3 + i} events at {site}; 10 needed"}
                self.add("utility.auroc", None, **mine)
            else:
                self.add("utility.auroc", by - 0.03 * i, 0.05, **mine)

    def fidelity(self, generator: str, regime: str, by: float) -> None:
        about: Row = {"generator": generator, "regime": regime, "family": "fidelity"}
        about |= {"target": "generalist", "level": "patient-weighted"} if regime == "local" else {}
        self.add("associations", 0.08 - by, 0.01, better="lower", **about)
        self.add("marginals", 0.05 - by, 0.01, better="lower", **about)
        self.add("detection", 0.7 - by, 0.03, better="lower", **about)

    def privacy(self, generator: str, regime: str, auc: float, leak: float) -> None:
        about: Row = {
            "generator": generator,
            "regime": regime,
            "family": "privacy",
            "better": "lower",
        }
        p = 0.0001 if auc > 0.56 else 0.6
        self.add("dcr.auc", auc, 0.03, **about, p_value=p, p_adjusted=p, detectable=0.54)
        self.add("dcr.leak@1%", leak, 0.01, **about, detectable=0.03)
        self.add("dcr.tpr@1%", 0.01 + leak, 0.01, **about)
        self.add("dcr.tpr@0.1%", None, **about, status="refused",
                 reason="400 non-members; at least 10000 needed")  # fmt: skip
        self.add("dcr.blind", 0.5, 0.03, **about)
        for secret in ("diabetes", "tobacco"):
            self.add("attribute.advantage", 2 * (auc - 0.5), 0.03, **about, secret=secret,
                     p_value=p, p_adjusted=p, detectable=0.05)  # fmt: skip

    def traffic(self, generator: str, regime: str, up: float) -> None:
        about: Row = {"generator": generator, "regime": regime, "family": "communication"}
        for way in ("up", "down"):
            self.add("communication.bytes", 4 * up, math_nan, **about, level=way)
            for site in self.sites:
                self.add("communication.bytes", up, math_nan, **about, level=way, site=site)
        self.add("communication.rounds", 20, math_nan, **about)

    def difference(self, name: str, target: str, value: float, half: float, **about: Any) -> None:
        about = {"generator": "copula", "regime": "federated", "target": target, **about}
        about |= {"group": "over local", "level": "patient-weighted"} if target == "gain" else {}
        self.add(name, value, half, **about)


math_nan = float("nan")


def everything(**settings: Any) -> Study:
    """Three generators, four regimes, all controls."""
    study = Study(**settings)
    for generator, worth in WORTH.items():
        for regime, auroc in AUROC.items():
            study.utility(generator, regime, auroc + worth)
            study.fidelity(generator, regime, (auroc - 0.7) / 2 + worth / 5)
            study.privacy(generator, regime, 0.505 + (generator == "tvae") * 0.08, 0.002)
            study.traffic(generator, regime, {"local": 0, "mixture": 1e5}.get(regime, 1.25e6))
    for generator in ("copula", "tvae"):
        preterm = {"generator": generator, "task": "preterm", "better": "higher"}
        study.difference("utility.auroc", "gain", 0.041, 0.02, **preterm, family="utility")
        study.difference("utility.auroc", "tax", 0.01, 0.03, **preterm, family="utility")
        study.difference("associations", "gain", 0.02, 0.03, generator=generator, better="lower")
        study.difference("associations", "tax", 0.004, 0.002, generator=generator, better="lower")
    controls(study)
    study.add("", None, generator="diffusion", regime="federated", status="failed",
              reason="ValueError: no <b>noise</b> left")  # fmt: skip
    study.add("codes", None, generator="copula", regime="federated", family="fidelity",
              status="not applicable", reason="the cohort has no codes")  # fmt: skip
    return study


def controls(study: Study, copied: float = 0.99, fresh: float = 0.5) -> None:
    study.utility("copy", "control", 0.78)
    study.fidelity("copy", "control", 0.06)
    study.privacy("copy", "control", copied, 2 * copied - 1)
    study.privacy("real", "control", fresh, 0.0)
    judged(study, "copy", held=copied > 0.9)
    judged(study, "real", held=fresh < 0.55)
    study.add("marginals", 0.4, 0.01, generator="uniform", regime="control", family="fidelity",
              better="lower")  # fmt: skip


def judged(study: Study, control: str, *, held: bool) -> None:
    """Add what the run itself says of a control, which decides what is believed."""
    passed, failed = {
        "copy": ("the verbatim copy was caught", "A verbatim copy was not caught: AUC 0.5."),
        "real": (
            "nothing was claimed about an independent release",
            "An independent release looks like a leak: AUC is 0.900.",
        ),
    }[control]
    for name, secret in (("dcr", ""), ("attribute", "diabetes"), ("attribute", "tobacco")):
        study.add(f"{name}.check", float(held), math_nan, generator=control, regime="control",
                  family="privacy", secret=secret, verdict=passed if held else failed)  # fmt: skip


Make = Callable[..., RunDir]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a run directory with the rows of these studies."""

    def made(*studies: Study, name: str = "made-up-20260102T030405Z-abc123") -> RunDir:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        dataset = studies[0].dataset if studies else "opt"
        (folder / "suite.toml").write_text(SUITE.format(dataset=dataset))
        write_json(folder / "environment.json", {"python": "3.11", "versions": {"numpy": "2"}})
        rows = [row for study in studies for row in study.rows]
        write_parquet(folder / "results.parquet", frame(rows))
        return RunDir(folder)

    return made


def said(run: RunDir, topic: str) -> str:
    """Return one of the four sentences of the run's first world."""
    world = report.build(run)["worlds"][0]
    return next(
        "\n".join([s["text"], *s["details"]]) for s in world["headline"] if s["topic"] == topic
    )


# --- Over seeds -------------------------------------------------------------------------------


def test_one_seed_keeps_its_interval() -> None:
    assert across_seeds([0.5], [0.4], [0.7]) == pytest.approx((0.5, 0.4, 0.7))


def test_equal_seeds_do_not_shrink_the_interval() -> None:
    assert across_seeds([0.5] * 9, [0.4] * 9, [0.7] * 9) == pytest.approx((0.5, 0.4, 0.7))


def test_spread_between_seeds_widens_the_interval() -> None:
    values = [0.4, 0.5, 0.6]
    mean, low, high = across_seeds(values, [v - 0.1 for v in values], [v + 0.1 for v in values])
    between = 4.302652729911275 * 0.1 / np.sqrt(3)
    assert mean == pytest.approx(0.5)
    assert (low, high) == pytest.approx(
        (0.5 - np.hypot(0.1, between), 0.5 + np.hypot(0.1, between))
    )


def test_without_any_interval_there_is_none() -> None:
    nan = float("nan")
    assert across_seeds([1.0, 2.0], [nan, nan], [nan, nan]) == (1.5, None, None)
    assert across_seeds([nan], [nan], [nan]) == (None, None, None)


def test_seeds_without_a_number_are_counted() -> None:
    study = Study(seeds=2)
    study.add("marginals", 0.1, generator="copula", regime="federated", better="lower")
    study.rows[1] |= {"value": None, "status": "refused", "reason": "too few"}
    (found,) = Numbers.of(frame(study.rows))
    assert (found.seeds, found.asked, found.status, found.reasons) == (1, 2, "done", ("too few",))


def test_a_failure_is_not_hidden_by_a_refusal() -> None:
    study = Study(seeds=2)
    study.add("marginals", None, generator="copula", regime="federated", status="refused")
    study.rows[1]["status"] = "failed"
    (found,) = Numbers.of(frame(study.rows))
    assert found.status == "failed"


# --- The document -----------------------------------------------------------------------------


def test_a_full_run_validates_and_is_written(make: Make) -> None:
    run = make(everything(), everything(dataset="nafld"))
    path = report.write(run)
    assert path == run.path / "report.html"
    document = json.loads((run.path / "report.json").read_text())
    report.validate(document)
    assert [world["dataset"] for world in document["worlds"]] == ["nafld", "opt"]
    assert document["run"]["date"] == "2026-01-02 03:04 UTC"


def test_a_spoiled_report_does_not_validate(make: Make) -> None:
    document = report.build(make(everything()))
    spoiled = copy.deepcopy(document)
    spoiled["worlds"][0]["headline"].pop()
    with pytest.raises(RunError, match=r"headline"):
        report.validate(spoiled)
    with pytest.raises(RunError, match="surprise"):
        report.validate({**document, "surprise": 1})


def test_the_same_results_give_the_same_bytes(make: Make) -> None:
    run = make(everything())
    names = ("report.json", "report.md", "report.html")
    report.write(run)
    first = [(run.path / name).read_bytes() for name in names]
    rows = pd.read_parquet(run.path / "results.parquet")
    write_parquet(run.path / "results.parquet", rows.sample(frac=1, random_state=0))
    report.write(run)
    assert [(run.path / name).read_bytes() for name in names] == first


def test_no_row_is_dropped(make: Make) -> None:
    run = make(everything())
    document = report.build(run)
    rows = run.results()
    assert (rows["column"] == "").all()
    counted = sum(n["asked"] for world in document["worlds"] for n in world["numbers"])
    silent = sum(group["count"] for group in document["silent"])
    assert counted == len(rows)
    assert silent == (rows["status"] != "done").sum()
    assert sum(document["statuses"].values()) == len(rows)


def test_the_pages_stand_alone(make: Make) -> None:
    page = report.write(make(everything())).read_text()
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)


def test_the_page_is_well_formed_and_its_ids_are_unique(make: Make) -> None:
    page = report.write(make(everything(), everything(dataset="nafld"))).read_text()
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    Balanced().check(page)


def test_every_table_header_has_a_scope(make: Make) -> None:
    page = report.write(make(everything())).read_text()
    heads = re.findall(r"<th\b[^>]*>", page)
    assert heads
    assert all('scope="' in head for head in heads)


class Balanced(HTMLParser):
    """Fails on a tag that closes what it did not open."""

    EMPTY = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def check(self, page: str) -> None:
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


# --- Names from outside -----------------------------------------------------------------------


def test_a_hospital_may_be_called_anything(make: Make) -> None:
    names = ("<script>", "$x_{1}$", "a|b](http://c)", "Ümläut & Söhne", "北京")
    run = make(everything(sites=names, seeds=1))
    page = report.write(run).read_text()
    assert all(html.escape(name) in page for name in names)
    assert "<script" not in page
    text = (run.path / "report.md").read_text()
    assert "<script" not in text
    assert "](http" not in text


def test_a_traceback_is_told_by_its_end(make: Make) -> None:
    study = Study(seeds=1)
    reason = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: too short\n'
    study.add("dcr.auc", None, generator="copula", regime="federated", family="privacy",
              status="failed", reason=reason)  # fmt: skip
    run = make(study)
    assert "because ValueError: too short." in said(run, "leak")
    page = report.write(run).read_text()
    assert "<td>ValueError: too short" in page
    assert "File &#34;x.py&#34;, line 1" in page
    assert "x.py" not in (run.path / "report.md").read_text()


def test_reasons_that_differ_in_numbers_are_said_once(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["name"] == "dcr.leak@1%":
            row |= {"value": None, "status": "refused", "reason": f"{410 + row['seed']} others."}
    text = said(make(study), "leak")
    assert "Nothing can be said about dcr with 1 % false alarms, because 410 others." in text
    assert "411" not in text


def test_a_reason_is_not_markup(make: Make) -> None:
    run = make(everything())
    page = report.write(run).read_text()
    assert "ValueError: no &lt;b&gt;noise&lt;/b&gt; left" in page
    assert "<b>noise" not in page + (run.path / "report.md").read_text()


# --- What the sentences say -------------------------------------------------------------------


def test_a_gain_is_said_with_its_numbers(make: Make) -> None:
    text = said(make(everything(seeds=1)), "gain")
    assert (
        "In AUROC training together was better by 0.041 (95 % interval 0.021 to 0.061) than" in text
    )
    assert "No difference could be shown in associations" in text


def test_the_numbers_of_a_sentence_are_those_of_the_rows(make: Make) -> None:
    run = make(everything())
    (found,) = Numbers.of(run.results()).where(label="copula", target="gain", name="utility.auroc")
    assert f"{number(found.value)} (95 % interval {number(found.low)} to" in said(run, "gain")


@pytest.mark.parametrize(
    ("name", "ends", "shown"),
    [
        ("utility.auroc", {"least": 0.0, "most": 1.0}, (0.78, 1.0)),
        ("theirs.kinship", {"least": 0.0, "most": 1.0}, (0.78, 1.0)),
        ("augmentation.auroc", {"least": -1.0, "most": 1.0}, (0.78, 1.0)),
        ("utility.r2", {"least": -np.inf, "most": 1.0}, (0.78, 1.0)),
        ("joint.energy", {"least": 0.0, "most": np.inf}, (0.78, 1.18)),
        ("detection", {}, (0.78, 1.18)),
        ("theirs.too_far", {"least": 0.0, "most": 0.5}, (0.78, 0.98)),
    ],
)
def test_intervals_are_cut_to_the_scale_that_a_measure_declares(
    name: str, ends: Row, shown: tuple[float, float]
) -> None:
    study = Study(seeds=1)
    study.add(name, 0.98, 0.2, **ends)
    (found,) = Numbers.of(frame(study.rows))
    assert (found.low, found.high) == pytest.approx(shown)


def test_a_difference_may_lie_below_0() -> None:
    study = Study(seeds=1)
    study.difference("utility.auroc", "gain", 0.02, 0.1, least=-1.0, most=1.0)
    (found,) = Numbers.of(frame(study.rows))
    assert (found.low, found.high) == pytest.approx((-0.08, 0.12))


def test_a_loss_is_said_as_such(make: Make) -> None:
    study = everything(seeds=1)
    rows = [r for r in study.rows if r["target"] == "gain" and r["name"] == "utility.auroc"]
    for row in rows:
        row |= {"value": -0.05, "low": -0.07, "high": -0.01}
    assert "worse by 0.050 (95 % interval 0.010 to 0.070)" in said(make(study), "gain")


def test_no_difference_tells_what_would_have_been_seen(make: Make) -> None:
    text = said(make(everything(seeds=1)), "tax")
    assert "No difference could be shown in AUROC" in text
    assert "worse by 0.010 (95 % interval: from 0.040 worse to 0.020 better)" in text
    assert f"A difference of {number(1.43 * 0.03)} or more" in text
    assert "In associations it was worse by 0.004" in text


def test_a_refused_gain_says_why(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["target"] == "gain":
            row |= {"value": None, "status": "refused", "reason": "no hospital has both classes"}
    text = said(make(study), "gain")
    assert text == "Nothing can be said about a gain, because no hospital has both classes."


def test_without_local_generators_there_is_no_gain(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["regime"] in ("federated", "control")]
    run = make(study)
    assert "because the run has no local regime" in said(run, "gain")
    assert "because the run has no centralized regime" in said(run, "tax")
    report.write(run)


def test_what_was_not_recognized_names_what_would_have_been(make: Make) -> None:
    run = make(everything(seeds=1))
    text = said(run, "leak")
    assert text.startswith("Training patients could not be told from others by the attack")
    controls, found = text.split("\n")[2:4]
    assert controls == (
        "Controls first: the copy control was caught, and the null control was silent."
    )
    assert found.startswith("Attack dcr: AUC 0.505 (95 % interval 0.475")
    assert f"An AUC of {number(0.5 + 1.43 * 0.03)} or more is noticed" in found
    assert "Word-for-word copies of 3.0 % of them are noticed four times out of five" in text
    caveats = " ".join(report.build(run)["caveats"])
    assert "give patients away without copying them" in caveats
    assert "give patients away without copying them" not in text, "it is said once"


def test_a_leak_under_another_regime_is_said_as_well(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        if (row["name"], row["label"], row["regime"]) == ("dcr.auc", "copula", "local"):
            row |= {"value": 0.6, "low": 0.55, "high": 0.65, "p_value": 1e-4, "p_adjusted": 1e-3}
    text = said(make(study), "leak")
    assert "Under other regimes training patients could be recognized: local (AUC 0.600)." in text


def test_a_leak_is_said(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["label"] != "copula"]
    text = said(make(study), "leak")
    assert text.startswith("Training patients could be recognized: the attack dcr told them")
    assert "Attack dcr: AUC 0.585" in text


def test_what_may_be_chance_among_all_that_was_asked_is_not_told_as_found(make: Make) -> None:
    study = everything(seeds=1)
    loud = {"dcr.auc": 0.6, "dcr.leak@1%": 0.03, "attribute.advantage": 0.1}
    for row in study.rows:
        if row["label"] == "copula" and row["name"] in loud:
            value = loud[row["name"]]
            row |= {"value": value, "low": value - 0.01, "high": value + 0.01}
            row |= {"p_value": 0.02, "p_adjusted": 0.14}
    told = said(make(study), "leak").split("\n")
    (found,) = [text for text in told if text.startswith("Attack dcr: AUC 0.600")]
    gained = [text for text in told if "could be inferred better" in text]
    chance = "not beyond chance after Holm's correction for all that was asked."
    assert told[0].startswith("The attack dcr told training patients from others better")
    assert chance in told[0]
    assert f"1 seed. That is {chance}" in found
    assert (
        f"it finds 3.0 % (95 % interval 2.0 % to 4.0 %) of the training patients, which is {chance}"
        in found
    )
    assert "beyond luck" not in found
    assert len(gained) == 2
    assert all(text.endswith(f"1 seed. That is {chance}") for text in gained)


def test_nothing_is_ever_called_private(make: Make) -> None:
    run = make(everything())
    report.write(run)
    for name in ("report.md", "report.html"):
        assert not re.search(r"\bprivate\b", (run.path / name).read_text(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("copied", "fresh", "because"),
    [
        (0.5, 0.5, "did not even catch a copy"),
        (0.99, 0.9, "went off on records that no generator saw"),
    ],
)
def test_a_failed_control_silences_the_claim(
    make: Make, copied: float, fresh: float, because: str
) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["regime"] != "control"]
    controls(study, copied, fresh)
    text = said(make(study), "leak")
    assert "Nothing can be said about whether training patients can be recognized" in text
    assert because in text


def test_without_controls_the_claim_says_so(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["regime"] != "control"]
    assert "no copy control has shown that this attack works here" in said(make(study), "leak")


def test_without_attacks_nothing_is_said_about_leaks(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r.get("family") != "privacy"]
    run = make(study)
    assert "because no such attack was run" in said(run, "leak")
    page = report.write(run).read_text()
    assert "Usefulness against leakage" not in page


def test_a_release_that_scores_backwards_is_not_called_safe(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        if row["name"] == "dcr.auc" and row["label"] == "copula":
            row |= {"value": 0.3, "low": 0.25, "high": 0.35}
    run = make(study)
    assert "the wrong way round" not in said(run, "leak"), "among many numbers it may be chance"
    for row in study.rows:
        if row["name"] == "dcr.auc" and row["label"] == "copula":
            row["p_turned_adjusted"] = 0.001
    text = said(make(study), "leak")
    assert "the wrong way round" in text
    assert "Attack dcr: AUC 0.300" in text


def test_nobody_can_be_given_away_less_than_not_at_all(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        if row["name"] == "dcr.leak@1%" and row["label"] == "copula":
            row |= {"value": -0.01, "low": -0.01, "high": -0.002}
    text = said(make(study), "leak")
    assert "no leak could be shown: \N{MINUS SIGN}1.0 %" in text
    assert "may be given away" not in text


def test_a_null_control_that_scores_backwards_says_nothing(make: Make) -> None:
    study = everything(seeds=1)
    study.rows = [r for r in study.rows if r["regime"] != "control"]
    controls(study, fresh=0.26)
    checks = report.build(make(study))["worlds"][0]["controls"]
    (null,) = (c for c in checks if c["control"] == "real" and c["name"] == "dcr.auc")
    assert null["outcome"] == "passed", "the run did not judge so, at its strict level"
    for row in study.rows:
        if (row["name"], row["label"]) == ("dcr.check", "real"):
            row["verdict"] = f"{TURNED}: AUC is 0.260 (p = 1e-09, below 0.0005)."
    checks = report.build(make(study))["worlds"][0]["controls"]
    (null,) = (c for c in checks if c["control"] == "real" and c["name"] == "dcr.auc")
    assert null["outcome"] == "refused"
    assert "lower than others, at the strict level of 0.001" in null["text"]


def test_sums_that_lose_nothing_make_no_difference(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        if row["target"] == "tax":
            row |= {"value": 1e-17, "low": -1e-17, "high": 1e-17}
    text = said(make(study), "tax")
    assert "In AUROC training together made no difference at all" in text
    assert "0.000" not in text


def test_where_one_percent_is_refused_ten_are_said(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        if row["name"] == "dcr.leak@1%":
            row |= {"value": None, "status": "refused", "reason": "411 non-members."}
    study.add("dcr.leak@10%", 0.1, 0.02, generator="copula", regime="federated", family="privacy")
    text = said(make(study), "leak")
    assert "with 1 % false alarms, because 411 non-members." in text
    assert "With 10 % of other patients wrongly accused" in text
    assert "it finds 10.0 % (95 % interval 8.0 % to 12.0 %)" in text


def test_traffic_is_said_per_hospital_and_in_human_units(make: Make) -> None:
    text = said(make(everything()), "sent")
    assert "In 20 exchanges, each of 4 hospitals sent 1.25 MB and received 1.25 MB" in text
    assert "(10 MB in all)" in text


# --- Runs with holes --------------------------------------------------------------------------


def test_refused_utility_leaves_fidelity_to_compare_by(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["name"].startswith("utility"):
            row |= {"value": None, "status": "refused", "reason": "4 events; 10 needed"}
    run = make(study)
    world = report.build(run)["worlds"][0]
    assert world["lead"]["name"] == "associations"
    assert (
        "Nothing can be said about AUROC in this comparison, because 4 events; 10 needed"
        in said(run, "gain")
    )
    report.write(run)


def test_numbers_without_intervals_claim_nothing(make: Make) -> None:
    study = everything()
    for row in study.rows:
        row |= {"low": float("nan"), "high": float("nan")}
    run = make(study)
    assert "how sure that is, is not known" in said(run, "gain")
    report.write(run)


@pytest.mark.parametrize("rows", [[], [{"dataset": "opt", "status": "failed", "reason": "broken"}]])
def test_a_run_that_found_nothing_still_reports(make: Make, rows: list[Mapping[str, Any]]) -> None:
    study = Study()
    study.rows = [dict(row) for row in rows]
    page = report.write(make(study)).read_text()
    assert page.rstrip().endswith("</html>")


def test_an_unfinished_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="unfinished"):
        report.build(RunDir(tmp_path))


def test_sizes_come_from_the_partitions(make: Make) -> None:
    study = Study(seeds=2)
    study.add("marginals", 0.1, generator="copula", regime="federated", better="lower")
    run = make(study)
    for row, north in zip(study.rows, (30, 40), strict=True):
        site = ["North"] * north + ["East"] * (100 - north)
        part = ["train"] * 10 + ["test"] * 80 + ["train"] * 10
        table = pd.DataFrame({"patient": range(100), "site": site, "part": part})
        write_parquet(run.path / "cells" / f"a-{row['train_id']}" / "partition.parquet", table)
    data = report.build(run)["worlds"][0]["data"]
    assert data["patients"] == 100
    assert data["hospitals"][1] == {"name": "North", "patients": [30, 40], "train": [10, 10]}
    assert data["licence"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_900, "1 MB"), (1.234e9, "1.23 GB")],
)
def test_bytes_have_human_units(size: float, text: str) -> None:
    assert human_bytes(size) == text


# --- Whose patients ---------------------------------------------------------------------------


def own_patients(study: Study) -> Study:
    """Add means over hospitals, each on its own patients, that differ by the gain."""
    about: Row = {"generator": "copula", "family": "utility", "task": "preterm", "better": "higher",
                  "target": "specialist", "level": "patient-weighted"}  # fmt: skip
    study.add("utility.auroc", 0.6, **about, regime="local")
    study.add("utility.auroc", 0.641, **about, regime="federated")
    return study


def test_a_gain_and_a_cost_say_whose_patients_they_are_about(make: Make) -> None:
    run = make(everything())
    assert "mean over hospitals, each on its own patients, weighted by their" in said(run, "gain")
    assert "on all hospitals' patients together" in said(run, "tax")


def test_the_numbers_behind_a_gain_stand_beside_it(make: Make) -> None:
    run = make(own_patients(everything()))
    rows = report.build(run)["worlds"][0]["behind"]
    (row,) = (r for r in rows if (r["generator"], r["name"]) == ("copula", "utility.auroc"))
    gain = row["federated"]["value"] - row["local"]["value"]
    assert gain == pytest.approx(row["gain"]["value"])
    assert row["pooled"]["shown"] == "0.740"
    page = report.write(run).read_text()
    assert "own patients</th>" in page
    assert "own patients: together" in (run.path / "report.md").read_text()


def test_a_mean_that_leaves_hospitals_out_says_so_in_tables_too(make: Make) -> None:
    study = own_patients(everything(seeds=2))
    for row in study.rows:
        if row["target"] in ("gain", "specialist") and row["seed"] == 1 and row.get("level"):
            row["over"] = "over 3 of 4 hospitals, without West"
    run = make(study)
    note = "in some seeds over 3 of 4 hospitals, without West"
    world = report.build(run)["worlds"][0]
    (row,) = (r for r in world["behind"] if (r["generator"], r["task"]) == ("copula", PRETERM))
    (answers,) = (r for r in world["overview"] if r["generator"] == "copula")
    assert {row[k]["note"] for k in ("local", "federated", "gain")} == {note}
    assert answers["gain"]["note"] == note
    assert note in said(run, "gain")
    assert f"; {note}" in (report.write(run).parent / "report.md").read_text()


def test_a_mean_over_some_columns_says_so_in_report_and_terminal(make: Make) -> None:
    study = everything(seeds=2)
    for row in study.rows:
        if row["name"] == "associations" and not row.get("site"):
            row["over"] = f"over {5 + row['seed']} of 7 columns"
    run = make(study)
    note = "in some seeds over 5 of 7 columns, in others over 6 of 7 columns"
    report.write(run)
    assert f"; {note}" in (run.path / "report.md").read_text()
    assert note in (run.path / "report.html").read_text()
    assert ", in some seeds over 5 of 7 columns" in " ".join(terminal.primary(run).split())


def test_a_flattering_scale_is_told_of_where_there_is_one(make: Make) -> None:
    study, plain = everything(), everything()
    visits = [{**row, "name": "visits.gaps", "floor": 1.0} for row in study.rows[:1]]
    study.rows.extend(visits)
    told = [" ".join(report.build(make(each))["reading"]) for each in (study, plain)]
    assert ["flatters" in text for text in told] == [True, False]


def test_hospitals_left_out_by_turns_are_said_briefly(make: Make) -> None:
    study = everything(seeds=2)
    for row in study.rows:
        if row["target"] == "gain":
            row["over"] = f"over 3 of 4 hospitals, without {SITES[row['seed']]}"
    assert "in some seeds without East, in others without North" in said(make(study), "gain")


def test_one_hospital_has_nobody_to_train_with(make: Make) -> None:
    study = everything(sites=("North",), seeds=1)
    run = make(study)
    assert said(run, "gain").startswith("Not applicable: there is one hospital")
    assert "the hospital sent 5 MB" in said(run, "sent")
    answers = report.build(run)["worlds"][0]["overview"]
    assert {a["gain"]["shown"] for a in answers} == {"not applicable"}
    report.write(run)
    for name in ("report.md", "report.html"):
        text = (run.path / name).read_text()
        assert not re.search(r"\b1 (hospitals|seeds)\b", text)


def test_a_difference_that_no_score_can_have_is_not_promised(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["target"] == "gain":
            row |= {"low": -0.8, "high": 0.9, "least": -1.0, "most": 1.0}
    text = said(make(study), "gain").split("\n")[0]
    assert text.endswith("With so few cases hardly any difference could have been seen.")


# --- Metrics from outside ---------------------------------------------------------------------


def test_a_metric_from_outside_is_shown_last_with_its_anchors(make: Make) -> None:
    study = everything(seeds=1)
    about: Row = {"family": "fidelity", "better": "lower", "floor": 4.25, "ceiling": 0.125}
    study.add("meanage", 1.5, 0.25, generator="copula", regime="federated", **about)
    study.rows = [r for r in study.rows if r["name"] != "codes"]
    run = make(study)
    main = report.build(run)["worlds"][0]["main"]
    assert main["columns"][-1]["name"] == "meanage"
    page = report.write(run).read_text()
    assert "floor 4.250; ceiling 0.125" in page
    assert (
        "1.500 (1.250 to 1.750); floor 4.250; ceiling 0.125" in (run.path / "report.md").read_text()
    )


# --- In words ---------------------------------------------------------------------------------


def test_tasks_and_facts_are_called_what_the_schema_calls_them(make: Make) -> None:
    run = make(everything())
    assert "“ever used tobacco”" in said(run, "leak")
    page = report.write(run).read_text()
    assert "birth before 37 weeks" in page
    assert "guessing “ever used tobacco”" in page
    shown = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert not re.search(r"\b(c_index|utility\.|dcr\.auc)\b|\(preterm\)", shown)


def test_reasons_fit_into_a_sentence() -> None:
    assert told(["The attack failed a control: 0.002 (-0.021)."]) == (
        "the attack failed a control: 0.002 (\N{MINUS SIGN}0.021)"
    )
    assert told(["KY has 3 events.", "KY has 12,000 events."]) == "KY has 3 events"
    assert told(["TPR at 1 % FPR needs more."]) == "TPR at 1 % FPR needs more"
    assert told([]) == "no reason was recorded"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (12.3456, "12.35"), (12345.67, "12,345.7"), (0.00034, "0.00034"),
     (-1e-12, "0.000"), (-0.25, "\N{MINUS SIGN}0.250"), (None, "\N{EN DASH}")],
)  # fmt: skip
def test_numbers_have_sensible_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_nothing_empty_is_in_the_footer(make: Make) -> None:
    run = make(everything())
    write_json(run.path / "environment.json", {"git": "", "versions": {"numpy": "2"}})
    assert report.build(run)["environment"] == {"numpy": "2"}


def test_controls_come_first_where_nothing_can_be_said(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["regime"] != "control"]
    controls(study, fresh=0.9)
    details = said(make(study), "leak").split("\n")[2:]
    assert details[0] == (
        "Controls first: the copy control was caught, and the null control went off, though it "
        "should not."
    )
    assert details[1].startswith("Nothing can be said about whether training patients")


def test_a_copy_caught_in_every_seed_says_why_the_interval_is_wider(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["regime"] == "control" and row["name"] == "attribute.advantage":
            row["low"] = -0.2
    checks = report.build(make(study))["worlds"][0]["controls"]
    copied = [c["text"] for c in checks if (c["control"], bool(c["secret"])) == ("copy", True)]
    assert len(copied) == 2
    assert all("was caught in 3 of 3 seeds, each taken alone (the interval" in t for t in copied)


def fails(study: Study, control: str, secret: str, seeds: tuple[int, ...], why: str) -> None:
    """Let a control fail in these seeds, with all that follows, as ``summaries`` does it."""
    attack = "attribute" if secret else "dcr"
    for row in study.rows:
        if row["seed"] not in seeds or not row["name"].startswith(attack):
            continue
        if row["name"] == f"{attack}.check" and row["label"] == control:
            if row.get("secret", "") == secret:
                row |= {"value": 0.0, "low": 0.0, "high": 0.0, "verdict": why}
        elif row["regime"] != "control" and row.get("secret", "") == secret:
            row |= {"value": None, "low": None, "high": None, "status": "refused",
                    "reason": f"The attack failed a control. {why}"}  # fmt: skip


WHY = "Even a verbatim copy gives no advantage here: 0.016 (-0.005 to 0.035)."


def test_a_control_that_held_in_some_seeds_only_is_not_passed(make: Make) -> None:
    study = everything()
    fails(study, "copy", "diabetes", (0, 2), WHY)
    run = make(study)
    world = report.build(run)["worlds"][0]
    (check,) = (c for c in world["controls"] if (c["control"], c["secret"]) == ("copy", "diabetes"))
    assert check["outcome"] == "in some seeds only"
    assert "in 1 of 3 seeds only; in the others the control failed" in check["text"]
    assert signed(WHY) in check["text"]
    text = said(run, "leak")
    assert "both were passed in guessing “ever used tobacco”, not in the others" in text
    assert "“diabetes” can be inferred, because the attack caught a copy" in text
    answers = next(a for a in world["overview"] if a["generator"] == "copula")
    assert {f["secret"]: f["verdict"] for f in answers["facts"]}["diabetes"] == (
        "nothing can be said"
    )


def test_what_is_noticed_counts_though_some_copies_were_missed(make: Make) -> None:
    study = everything()
    fails(study, "copy", "", (0,), "A verbatim copy was not caught: AUC 0.850 (0.800 to 1).")
    study.rows = [r for r in study.rows if r["label"] != "copula"]
    text = said(make(study), "leak")
    assert text.startswith("Training patients could be recognized")
    assert "the copy control was caught in some seeds only" in text
    assert "2 of 3 seeds" in text


def test_a_null_control_judged_silent_is_not_called_failed(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if (row["label"], row["name"]) == ("real", "dcr.auc"):
            row |= {"value": 0.53, "low": 0.51, "high": 0.55, "p_value": 0.01}
    checks = report.build(make(study))["worlds"][0]["controls"]
    (null,) = (c for c in checks if (c["control"], c["name"]) == ("real", "dcr.auc"))
    assert null["outcome"] == "passed"
    assert "at the strict level of 0.001" in null["text"]


# --- Which generator the answers are about ----------------------------------------------------


def test_the_best_of_several_is_called_the_best(make: Make) -> None:
    world = report.build(make(everything()))["worlds"][0]
    assert world["lead"]["about"][0].startswith(
        f"About copula, the generator that scores best here by AUROC ({PRETERM})"
    )
    assert any("flatters" in text for text in report.build(make(everything()))["caveats"])


def scored(study: Study, label: str, value: float, half: float = 0.02) -> None:
    for row in study.rows:
        if (row["label"], row["name"], row["target"]) == (label, "utility.auroc", "pooled"):
            row |= {"value": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
    ("floor", "half", "words"),
    [
        (0.74, 0.02, "no generator scored better than the floor (independent)"),
        (0.60, 0.25, "no generator was shown to be better than guessing"),
    ],
)
def test_nobody_is_best_at_the_floor_or_at_guessing(
    make: Make, floor: float, half: float, words: str
) -> None:
    study = everything()
    scored(study, "independent", floor)
    scored(study, "copula", 0.74, half)
    run = make(study)
    document = report.build(run)
    assert words in document["worlds"][0]["lead"]["about"][0]
    report.write(run)
    for name in ("report.md", "report.html"):
        assert "scores best here" not in (run.path / name).read_text()
    assert not any("flatters" in text for text in document["caveats"])


def test_one_generator_alone_is_not_the_best(make: Make) -> None:
    study = everything()
    study.rows = [r for r in study.rows if r["label"] not in ("tvae", "independent", "diffusion")]
    assert report.build(make(study))["worlds"][0]["lead"]["about"] == ["About copula."]


def test_what_real_records_do_not_foresee_does_not_lead(make: Make) -> None:
    study = everything()
    scored(study, "copy", 0.56, 0.1)
    run = make(study)
    world = report.build(run)["worlds"][0]
    assert world["lead"]["name"] == "associations"
    assert "AUROC says nothing about synthetic records here" in world["lead"]["about"][1]
    assert "AUROC 0.560 (95 % interval" in world["lead"]["about"][1]
    first, second = said(run, "gain").split("\n")
    assert "in associations" in first
    assert "In AUROC" in second
    assert {row["name"] for row in world["behind"]} == {"utility.auroc", "associations"}


# --- What a reader must be told ---------------------------------------------------------------


def test_hospitals_without_a_number_in_some_seeds_are_marked(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row.get("site") == "North" and row["name"] == "utility.auroc" and row["seed"]:
            row |= {"value": None, "low": None, "high": None, "status": "refused", "reason": "few"}
    page = report.write(make(study)).read_text()
    picture = page.partition("Hospital by hospital</h3>")[2].partition("</svg>")[0]
    assert "1 of 3 seeds" in picture


def test_a_wide_interval_does_not_squeeze_the_picture(make: Make) -> None:
    study = everything()
    run = make(study)
    assert report.build(run)["worlds"][0]["hospitals"]["cut"] is None
    for row in study.rows:
        if row.get("site") == "North" and row["name"] == "utility.auroc":
            row["low"] = 0.0
    run = make(study)
    assert report.build(run)["worlds"][0]["hospitals"]["cut"] == 0.3
    assert "The axis is cut off at 0.3" in report.write(run).read_text()


def test_a_dash_has_its_reason(make: Make) -> None:
    study = everything(seeds=1)
    study.rows = [
        r for r in study.rows if (r["name"], r["regime"]) != ("dcr.leak@1%", "local")
    ]  # fmt: skip
    about: Row = {"generator": "copula", "regime": "local", "family": "privacy"}
    for site in ("North", "East"):
        mine = {**about, "target": "specialist", "site": site, "model": site}
        if site == "North":
            study.add("dcr.leak@1%", 0.02, 0.01, **mine)
        else:
            reason = "TPR at 1 % FPR needs 1,000 non-members; 96 are there."
            study.add("dcr.leak@1%", None, **mine, status="refused", reason=reason)
    run = make(study)
    note = report.build(run)["worlds"][0]["main"]["notes"][0]
    assert note.startswith("leak at 1 % false alarms (dcr), local: ")
    assert "copula North 2.0 %; none at East, because it takes 1,000 patients" in note
    page = report.write(run).read_text()
    assert "none at East" in html.unescape(page).replace("\N{NO-BREAK SPACE}", " ")
    assert "none at East" in (run.path / "report.md").read_text()


def test_pictures_of_one_release_know_no_ways_to_train() -> None:
    cell = {"status": "done", "value": 0.6, "low": 0.5, "high": 0.7, "note": "", "shown": "0.6"}
    sites: dict[str, Any] = {
        "panels": [{"generator": "synthetic", "rows": [{"site": "north", "cells": [cell]}]}],
        "cut": None, "better": "higher", "title": "AUROC",
    }  # fmt: skip
    point = {"generator": "synthetic", "x": cell, "y": cell}
    leak: dict[str, Any] = {
        "x": {"title": "AUC"}, "y": {"title": "AUROC"}, "better": "higher", "ceiling": None,
    }  # fmt: skip
    for regime, named in (("given", False), ("federated", True)):
        drawn = [
            pictures.hospitals({**sites, "regimes": [regime]}, "a"),
            pictures.tradeoff({**leak, "points": [{**point, "regime": regime}]}, "b"),
        ]
        for svg in drawn:
            assert (f">{regime}<" in svg) is named
            assert ("who trains with whom" in svg) is (named and svg is drawn[1])


def test_numbers_below_zero_have_one_sign_everywhere() -> None:
    assert signed("0.016 (-0.005 to -0.5); x-2, 10-20, p = 1e-09.") == (
        "0.016 (\N{MINUS SIGN}0.005 to \N{MINUS SIGN}0.5); x-2, 10-20, p = 1e-09."
    )


def test_a_number_that_says_nothing_carries_its_reason(make: Make) -> None:
    study = everything(seeds=1)
    why = "only an AUC above 0.66 would have been noticed"
    for row in study.rows:
        if row["name"] == "dcr.auc":
            row["verdict"] = f"nothing can be said: {why}"
    run = make(study)
    main = report.build(run)["worlds"][0]["main"]
    at = next(i for i, column in enumerate(main["columns"]) if column["name"] == "dcr.auc")
    notes = {(row["generator"], row["regime"]): row["cells"][at]["note"] for row in main["rows"]}
    assert why in notes["copula", "federated"]
    assert why not in notes["tvae", "federated"], "it found a leak, Holm's correction and all"
    assert f"because {why}" in said(run, "leak")


def test_effects_are_called_by_the_kind_of_their_task() -> None:
    assert measure("effects.overlap", "regression") == "overlap of linear coefficients"
    assert measure("effects.signs", "survival") == "hazard ratios that point the same way"
    assert measure("effects.signs") == "effects that point the same way"


def test_fairness_is_among_all_numbers_with_its_groups(make: Make) -> None:
    study = everything()
    about = {"generator": "copula", "regime": "federated", "family": "fairness", "better": "lower"}
    study.add("fairness.marginals_gap", 0.093, 0.02, column="sex", **about)
    study.add("fairness.marginals", 0.15, 0.02, column="sex=female", **about)
    study.add("equivalence.share", 0.1, 0.02, column="sex", family="fidelity", generator="copula")
    run = make(study)
    report.write(run)
    for file in ("report.md", "report.html"):
        text = (run.path / file).read_text(encoding="utf-8")
        assert "gap between groups in single columns" in text
        assert "sex=female" in text
        assert "they stand in results.parquet, in rows with a column." in text
    names = [n.get("name") for n in report.build(run)["worlds"][0]["numbers"]]
    assert "fairness.marginals" in names
    assert "equivalence.share" not in names


@pytest.mark.parametrize(
    ("name", "floor", "normalized", "said"),
    [
        (
            "detection",
            0.64,
            -2.81,
            "floor, 0.640) that is \N{MINUS SIGN}2.81, worse than the floor",
        ),
        ("detection", 0.64, 1.09, "floor, 0.640) that is 1.09, better than the ceiling"),
        ("utility.auroc", 0.5, 0.17, "guessing, 0.500) that is 0.17"),
        (
            "utility.auroc",
            0.5,
            -0.2,
            "guessing, 0.500) that is \N{MINUS SIGN}0.20, worse than guessing",
        ),
    ],
)
def test_a_place_on_the_scale_says_which_side_of_it(
    name: str, floor: float, normalized: float, said: str
) -> None:
    found = Number(
        about={"name": name}, status="done", seeds=1, asked=1, value=0.6,
        floor=floor, ceiling=0.512, normalized=normalized,
    )  # fmt: skip
    assert place(found) == f"From 0 ({said}.".replace(") that", ") to 1 (ceiling, 0.512) that")


def test_floor_and_ceiling_stand_beside_every_number(make: Make) -> None:
    study = everything(seeds=1)
    for row in study.rows:
        row |= {"floor": 0.0, "ceiling": 0.9}
    (rows,) = (
        table["rows"]
        for table in report.build(make(study))["worlds"][0]["everything"]
        if table["generator"] == "copula"
    )
    notes = {row["name"]: row["cells"][0]["note"] for row in rows}
    assert notes["associations"] == "floor 0.000; ceiling 0.900"
    assert notes["dcr.leak@1%"] == "floor 0.0 %; ceiling 90.0 %"


@pytest.mark.parametrize(
    ("ends", "texts"),
    [
        ((-0.0034, -0.0066, -0.0003), ("-0.0034", "-0.0066", "-0.0003")),
        ((0.0034, 0.00004, 0.0066), ("0.00340", "0.00004", "0.00660")),
        ((0.03, -0.0003, 0.06), ("0.030", "0.000", "0.060")),
        ((0.03, 0.0, 0.06), ("0.030", "0.000", "0.060")),
    ],
)
def test_an_end_beyond_nothing_is_not_rounded_to_it(
    ends: tuple[float, float, float], texts: tuple[str, str, str]
) -> None:
    assert tuple(text.replace("\N{MINUS SIGN}", "-") for text in together(*ends)) == texts


def test_an_end_beyond_guessing_is_not_rounded_to_it() -> None:
    assert together(0.55, 0.5004, 0.6, chance=0.5) == ("0.5500", "0.5004", "0.6000")
    assert together(0.02, 0.0004, 0.04, share=True) == ("2.00 %", "0.04 %", "4.00 %")


@settings(deadline=None)
@given(value=st.floats(-1, 1), down=st.floats(0, 0.1), up=st.floats(0, 0.1), share=st.booleans())
def test_numbers_shown_never_deny_their_verdict(
    value: float, down: float, up: float, *, share: bool
) -> None:
    low, high = value - down, value + up
    assume(min(abs(low), abs(high)) > 1e-6)
    shown = [
        float(text.replace("\N{MINUS SIGN}", "-").removesuffix(" %"))
        for text in together(value, low, high, share=share)
    ]
    apart = low > 0 or high < 0
    assert apart == (shown[1] > 0 or shown[2] < 0)


def test_fewer_exchanges_than_rounds_are_explained(make: Make) -> None:
    study = everything()
    for row in study.rows:
        row["rounds"] = 20
        if row["name"] == "communication.rounds":
            row |= {"value": 3.0}
    text = said(make(study), "sent")
    assert "In 3 exchanges (copula needs no more; the scenario's 20 rounds are for" in text


def test_exchanges_ahead_of_the_rounds_are_explained(make: Make) -> None:
    study = everything()
    for row in study.rows:
        row["rounds"] = 20
        if row["name"] == "communication.rounds":
            row |= {"value": 22.0}
    text = said(make(study), "sent")
    assert "In 22 exchanges (20 rounds of training, 2 to enrol and to agree" in text


def test_caveats_are_about_this_run(make: Make) -> None:
    study = everything(seeds=1)
    study.rows = [r for r in study.rows if r.get("family") not in ("privacy", "communication")]
    study.rows = [r for r in study.rows if r["status"] != "refused"]
    document = report.build(make(study))
    text = " ".join([*document["caveats"], *document["introduction"]])
    for word in ("attack", "copies", "protobuf", "mean over seeds", "no number of their own"):
        assert word not in text
    assert "There is one seed" in text


def test_reasons_need_no_statistics() -> None:
    assert plain("TPR at 1 % FPR needs 1,000 non-members; 1 is there.") == (
        "It takes 1,000 patients who were not trained on to speak of 1 % false alarms, and 1 is "
        "there (TPR at 1 % FPR)."
    )
    for once_or_now in ("1 sites have", "1 site has"):
        assert plain(f"{once_or_now} enough patients for a row; the worst of 2 is needed.") == (
            "Only 1 hospital has enough patients for a number of its own; the worst is that of at "
            "least 2."
        )
    assert plain("1 event; a row of its own needs 20") == (
        "1 patient with the event; a number of its own needs 20"
    )
    assert plain("1 with and 71 without the event; a row of its own needs 10 of each") == (
        "1 patient with and 71 without the event; a number of its own needs 10 of each"
    )
    assert plain("something else") == "something else"


@pytest.mark.parametrize("sizes", [[(50, 300)], [(9, 90)] * 20, [(500, 120), (100, 1500)]])
def test_reasons_of_the_statistics_are_put_plainly(sizes: list[tuple[int, int]]) -> None:
    sites = [(np.linspace(0, 1, ones), np.linspace(0, 1, zeros)) for ones, zeros in sizes]
    with pytest.raises(stats.TooFew) as refused:
        stats.tpr_at_fpr(sites, 0.01, np.random.default_rng(0))
    assert "non-members" not in plain(str(refused.value))


def test_a_plug_in_from_outside_says_what_it_needs(make: Make) -> None:
    study = everything()
    for row in study.rows:
        if row["label"] == "copula":
            row |= {"generator": "mine:Mine", "generator_version": "abc123"}
    run = make(study)
    suite = run.path / "suite.toml"
    suite.write_text(suite.read_text() + '\n[[generators]]\nname = "mine:Mine"\n')
    (needed,) = report.build(run)["again"]["needs"]
    assert "the folder that holds mine.py" in needed
    assert "digest abc123" in needed
    page = html.unescape(report.write(run).read_text())
    assert needed in page
    assert "mine:Mine does not come with fedbench" in (run.path / "report.md").read_text()


def test_markdown_has_every_section_of_the_page(make: Make) -> None:
    run = make(everything())
    page = html.unescape(report.write(run).read_text())
    text = (run.path / "report.md").read_text().replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
    heads = re.findall(r"<h[23][^>]*>([^<]+)</h[23]>", page)
    pictures = {"Usefulness against leakage"}
    called = {"Four answers": "What training together gained",
              "Generators and ways of working together": "Primary measures",
              "Controls: do the attacks work, and do they keep quiet?": "### Controls"}  # fmt: skip
    for head in set(heads) - pictures:
        assert called.get(head, head) in text
    for term in ("advantage", "mixture", "every hospital alone", 'name = "made-up"'):
        assert term in text


def walk(thing: Any) -> Iterator[Any]:
    """Yield every value in a document."""
    if isinstance(thing, Mapping):
        thing = list(thing.values())
    if isinstance(thing, list):
        for item in thing:
            yield from walk(item)
    else:
        yield thing


def test_json_holds_no_nan(make: Make) -> None:
    floats = [v for v in walk(report.build(make(everything()))) if isinstance(v, float)]
    assert floats
    assert np.isfinite(floats).all()


# --- Attacks on the training ------------------------------------------------------------------


def listening() -> Study:
    """Attacks on a training: one of each kind was rehearsed, the others had nothing to see."""
    study = Study(seeds=1)
    about: Row = {"family": "privacy", "better": "lower"}
    mine: Row = {**about, "generator": "copula", "regime": "federated"}
    study.utility("copula", "federated", 0.7)
    for attack, secret in (("decode", "diabetes"), ("origin", ""), ("prevalence", "")):
        study.add(f"{attack}.advantage", 0.1, 0.03, **mine, secret=secret, p_value=0.001,
                  p_adjusted=0.001, detectable=0.05)  # fmt: skip
        for group, said in (("step", "FOLLOWED"), ("strangers", "IGNORED")):
            study.add(f"{attack}.check", 1.0, **mine, secret=secret, group=group,
                      verdict=getattr(controlled, said))  # fmt: skip
    sums = "No layer that is shown patients learned from them here: sums cross."
    study.add("inversion.advantage", None, **mine, status="not applicable", reason=sums)
    study.add("peer", None, **mine, status="skipped",
              reason="Another hospital saw nothing here that depends on 'North'.")  # fmt: skip
    names = ("decode", "origin", "prevalence", "inversion")
    for name in ("peer.auc", *(f"{attack}.advantage" for attack in names)):
        for control in ("copy", "real"):
            study.add(name, None, **about, generator=control, regime="control",
                      status="not applicable", reason="Nothing was trained here.")  # fmt: skip
    return study


def test_controls_that_a_training_played_itself_are_told(make: Make) -> None:
    run = make(listening())
    text = said(run, "leak")
    assert "Controls first: both were passed in guessing “diabetes”." in text
    assert "Controls first: both were passed in telling hospitals apart (origin)." in text
    assert "both were passed in telling how common something is (prevalence)." in text
    assert "not both" not in text
    assert "no sensitive fact" not in text


def test_an_attack_that_had_nothing_to_see_says_so_and_has_no_controls(make: Make) -> None:
    run = make(listening())
    text = said(run, "leak")
    assert "Whether decode" not in text
    assert "decode can be inferred" not in text
    assert "(attack peer), because another hospital saw nothing here" in text
    assert "because No layer that is shown patients" in text or "because no layer that" in text
    assert "no copy control has shown" not in text
    assert text.count("Controls first") == 3
    told = [check["text"] for check in report.build(run)["worlds"][0]["checked"]]
    assert not [check for check in told if "decode" in check]
