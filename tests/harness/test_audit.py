"""An audit says rightly what was given away, and says nothing where nothing can be said."""

from __future__ import annotations

import errno
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from fedbench import cli, games, stats
from fedbench.attack import Knowledge
from fedbench.config import SETS
from fedbench.data import TABLES, Cohort, DataStore
from fedbench.datasets.simulated import Simulated
from fedbench.kinds import ATTACKS, DATASETS
from fedbench.report.gate import gate
from fedbench.report.given import GIVEN_AWAY, QUIET, SILENT, verdict
from fedbench.report.numbers import Numbers
from fedbench.report.world import World
from fedbench.results import RunDir, frame
from fedbench.schemas import schema_file
from fedbench.seeds import Seeds
from fedbench.testing import planted

TRAIN, CONTROL, LEAKED = 600, 1800, 60


@pytest.fixture(scope="session")
def nafld() -> Cohort:
    """One patient of every matched set, so that all are strangers."""
    cohort = DATASETS.build("nafld").load(DataStore(None))
    order = np.random.default_rng(0).permutation(len(cohort))
    first = ~pd.Series(cohort.clusters[order]).duplicated().to_numpy()
    found = cohort.take(cohort.patients[order][first])
    _ = found.table
    return found


@dataclass(frozen=True)
class Audited:
    """What the command said, and what it left behind."""

    status: int
    out: str
    err: str

    @cached_property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def run(self) -> RunDir:
        return RunDir.open(Path(self.facts["run"]))

    @property
    def told(self) -> str:
        """The verdict with all that is said under it."""
        (world,) = json.loads((self.run.path / "report.json").read_text())["worlds"]
        (said,) = world["headline"]
        return " ".join([f"{said['title']}.", said["text"], *said["details"]])

    def row(self, name: str, label: str = "synthetic", about: str = "") -> Mapping[str, Any]:
        rows = self.run.results()
        mine = rows[(rows["name"] == name) & (rows["label"] == label) & (rows["secret"] == about)]
        assert len(mine) == 1
        return dict(mine.iloc[0])


Audit = Callable[..., Audited]


@pytest.fixture
def audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Audit:
    """The command, on tables that are written first; of a path nothing is."""
    monkeypatch.chdir(tmp_path)

    def call(*options: str, index: bool = True, **tables: pd.DataFrame | Path) -> Audited:
        arguments = list(options)
        for name, table in tables.items():
            path = table if isinstance(table, Path) else Path(f"{name}.csv")
            if isinstance(table, pd.DataFrame):
                table.to_csv(path, index=index and name != "synthetic", index_label="patient")
            arguments += [f"--{name}", str(path)]
        return Audited(cli.main(["audit", *arguments]), *capfd.readouterr())

    return call


class Dealt(NamedTuple):
    """Real patients, who share nobody."""

    train: pd.DataFrame
    control: pd.DataFrame
    others: pd.DataFrame


@pytest.fixture(scope="session")
def dealt(nafld: Cohort) -> Dealt:
    table = nafld.table.astype(object)
    # The patients are sorted by number, which goes by date; the audit would notice.
    mixed = table.iloc[np.random.default_rng(1).permutation(len(table))]
    ends = TRAIN + CONTROL
    return Dealt(mixed[:TRAIN], mixed[TRAIN:ends], mixed[ends : ends + TRAIN])


def made(n: int, seed: int, start: int = 0) -> pd.DataFrame:
    """A few columns of noise."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "c": rng.choice(["x", "y"], n)},
        index=[f"p{start + i}" for i in range(n)],
    )


def small(**other: pd.DataFrame | Path) -> dict[str, pd.DataFrame | Path]:
    """Tables that are quickly audited."""
    train, control = made(60, 0), made(150, 1, start=1000)
    return {"train": train, "control": control, "synthetic": made(60, 2), **other}


# The truth


def test_a_copy_a_leak_and_independent_records_are_told_apart(audit: Audit, dealt: Dealt) -> None:
    given = {"train": dealt.train, "control": dealt.control}
    leak = pd.concat([dealt.train[:LEAKED], dealt.others[LEAKED:]])
    options = ("--json", "--fail-over", "0.05")

    copied = audit(*options, **given, synthetic=dealt.train)
    assert (copied.status, copied.facts["verdict"]) == (1, GIVEN_AWAY)
    assert copied.row("dcr.leak@1%")["low"] > 0.98

    leaked = audit(*options, **given, synthetic=leak)
    assert (leaked.status, leaked.facts["verdict"]) == (1, GIVEN_AWAY)
    share = leaked.row("dcr.leak@1%")
    assert 0.05 < share["low"] < LEAKED / TRAIN < share["high"] < 0.15
    assert leaked.facts["passed"] is False
    gained = 2 * leaked.row("verbatim.auc")["value"] - 1
    assert gained == pytest.approx(LEAKED / TRAIN, abs=0.005)  # some have a twin, who are left out
    told = f"{100 * gained:.1f} % (95 % interval "
    assert f"Training patients are given away. {told}" in leaked.told
    assert "stand in the release word for word" in leaked.told
    assert leaked.told.count("Controls first: the copy control was caught") == 1

    honest = audit(*options, **given, synthetic=dealt.others)
    assert (honest.status, honest.facts["verdict"]) == (0, QUIET)
    assert honest.row("dcr.leak@1%")["low"] <= 0 <= honest.row("dcr.leak@1%")["high"]
    assert honest.row("dcr.check", "copy")["value"] == 1.0
    assert honest.row("dcr.check", "real")["value"] == 1.0
    assert "the gate is open: " in honest.err


def test_the_very_file_that_was_trained_on_is_given_away(tmp_path: Path) -> None:
    made(60, 0).to_csv(tmp_path / "train.csv", index=False)
    made(150, 1, start=1000).to_csv(tmp_path / "control.csv", index=False)
    train, control = str(tmp_path / "train.csv"), str(tmp_path / "control.csv")
    asked = ["--train", train, "--control", control, "--synthetic", train]
    out = tmp_path / "out"
    assert cli.main(["audit", *asked, "--out", str(out)]) == 0
    assert GIVEN_AWAY in next(out.glob("audit-*/report.md")).read_text()


def test_a_release_of_the_control_is_taken_for_swapped_tables(audit: Audit) -> None:
    control = made(150, 1, start=1000)
    said = audit("--fail-over", "0.05", **small(control=control, synthetic=control[:60]))
    assert said.status == 2
    assert "Records of 60 patients of control.csv are released word for word" in said.err
    assert "swapped" in said.err


def test_tables_with_few_looks_are_not_taken_for_swapped(audit: Audit) -> None:
    def few(n: int, seed: int, start: int = 0) -> pd.DataFrame:
        return made(n, seed, start).assign(a=lambda table: (3 * table["a"]).round())

    tables = {"train": few(60, 0), "control": few(900, 1, start=1000), "synthetic": few(60, 2)}
    assert audit(**tables).status == 0


def numbers(start: int) -> Callable[[int], int]:
    """Identifiers far apart, as hospitals have them."""
    return lambda row: 1_000_003 + 7_919 * (start + row)


@pytest.mark.parametrize(
    ("column", "written", "said"),
    [
        (
            "Patient ID",
            lambda row: f"P{row:04d}",
            "carry the identifier ('Patient ID') of a training patient, and 0 ",
        ),
        ("patient", numbers(0), "carry the identifier ('patient') of a training patient, and 0 "),
        ("mrn", numbers(0), "carry the identifier ('mrn') of a training patient, and 0 "),
        (
            "name",
            lambda row: f"Person {row}",
            "have in 'name' what one training patient alone has, and 0 ",
        ),
    ],
)
def test_whoever_is_named_in_a_release_is_given_away(
    audit: Audit, column: str, written: Callable[[int], object], said: str
) -> None:
    def called(table: pd.DataFrame, start: int) -> pd.DataFrame:
        names = pd.Series([written(start + row) for row in range(len(table))], table.index)
        here = table.assign(**{column: names})
        return here if column != "name" else here.assign(patient=table.index)

    # Ten training patients are named, on records that are not theirs.
    tables = {"train": called(made(60, 0), 0), "control": called(made(150, 1, 1000), 1000)}
    released = called(made(60, 2), 50).drop(columns="patient" if column == "name" else [])
    found = audit("--json", "--fail-over", "0.5", index=False, **tables, synthetic=released)
    assert (found.status, found.facts["verdict"]) == (1, GIVEN_AWAY)
    told = f"10 of 60 released records {said}"
    assert found.facts["because"].startswith(told)
    assert f"{QUIET} beyond that." in found.facts["because"]
    assert f"the gate is closed: {told}" in found.err
    assert f"* {told}" in " ".join(found.err.split())
    report = json.loads((found.run.path / "report.json").read_text())
    assert report["caveats"][0].startswith(told)


@pytest.mark.parametrize(
    "released",
    [
        pd.Series(range(60)),
        pd.Series(range(1, 61)).sample(frac=1, random_state=0),
        pd.Series([f"new {row}" for row in range(60)]),
        pd.Series(np.random.default_rng(0).choice(210, 60, replace=False)),  # of both, as of luck
    ],
)
def test_rows_that_are_numbered_name_nobody(audit: Audit, released: pd.Series) -> None:
    tables = {"train": made(60, 0), "control": made(150, 1, 1000)}
    start = {"train": 0, "control": 60}
    real = {n: t.assign(mrn=range(start[n], start[n] + len(t))) for n, t in tables.items()}
    made_up = made(60, 2).assign(mrn=released.to_numpy())
    found = audit("--json", "--fail-over", "0.5", index=False, **real, synthetic=made_up)
    assert (found.status, found.facts["verdict"]) == (0, QUIET)
    assert "identifier ('mrn')" not in found.facts["because"]


@pytest.mark.parametrize(
    ("written", "verdict"),
    [(lambda row: f"P{row:05d}", QUIET), (lambda row: 100_000 + row, GIVEN_AWAY)],
)
def test_a_count_from_one_is_no_name_and_numbers_of_a_hospital_are(
    audit: Audit, written: Callable[[int], object], verdict: str
) -> None:
    def called(table: pd.DataFrame, start: int) -> pd.DataFrame:
        names = pd.Series([written(start + row) for row in range(len(table))], table.index)
        return table.assign(mrn=names)

    real = {"train": called(made(60, 0), 1), "control": called(made(150, 1, 1000), 61)}
    found = audit("--json", index=False, **real, synthetic=called(made(60, 2), 1))
    assert found.facts["verdict"] == verdict


def test_values_that_many_have_name_nobody(audit: Audit) -> None:
    def noted(n: int, seed: int, start: int = 0) -> pd.DataFrame:
        names = np.random.default_rng(seed).integers(0, 120, n)
        return made(n, seed, start).assign(note=[f"name {row}" for row in names])

    tables = {"train": noted(60, 0), "control": noted(300, 1, 1000), "synthetic": noted(60, 2)}
    found = audit("--json", **tables)
    assert found.facts["verdict"] == QUIET
    assert "'note' is left out" in found.err


def test_an_identifier_of_anybody_is_told_of(audit: Audit) -> None:
    tables = {"train": made(60, 0), "control": made(150, 1, start=1000)}
    released = made(60, 2).assign(patient=["p7", "p1007", *(f"s{row}" for row in range(58))])
    found = audit("--json", **tables, synthetic=released)
    assert found.facts["verdict"] == QUIET
    told = "1 of 60 released records carry the identifier ('patient') of a training patient, and 1 "
    assert told in " ".join(found.err.split())
    assert found.facts["notes"][0].startswith(told)
    assert "So few may be luck" in found.facts["notes"][0]


def test_the_leak_share_covers_the_truth(nafld: Cohort) -> None:
    """In 50 draws, in which a record is copied with a chance of 10 %.

    At the nominal 95 %, fewer than 44 have a chance of 1 %.
    """
    attack, members, others, truth = ATTACKS.build("dcr"), 300, 1000, 0.1
    covered = {0.01: 0, 0.1: 0}
    for draw in range(50):
        rng = np.random.default_rng(draw)
        leaked = rng.binomial(members, truth)
        drawn = rng.permutation(nafld.patients)
        cuts = np.cumsum([members, others, members - leaked])
        train, control, new = (nafld.take(part) for part in np.split(drawn, cuts)[:3])
        release = Cohort.union([train.take(drawn[:leaked]), new])
        challenge = games.membership_challenge(
            nafld.schema, {"": train}, {"": control}, Seeds(draw).rng()
        )
        sight = games.show(attack, nafld.schema, {Knowledge.SYNTHETIC: release})
        scores = attack.guess(sight, challenge.public, rng).scores
        place, member = stats.placements(scores, challenge.truth), challenge.truth
        for alpha in covered:
            leak = stats.tpr_at_fpr([(place[member], place[~member])], alpha, rng, 400).leak
            covered[alpha] += leak.low <= truth <= leak.high
    assert min(covered.values()) >= 44, covered


def test_other_patients_are_no_control(audit: Audit) -> None:
    other = made(150, 1, start=1000).assign(a=lambda t: t["a"] + 2)
    found = audit("--json", "--fail-over", "0.05", "--sensitive", "c", **small(control=other))
    assert (found.status, found.facts["verdict"]) == (1, SILENT)
    assert "Draw the control from the same population, before training" in found.facts["because"]
    assert found.row("attribute.advantage", about="c")["status"] == "refused"
    assert "the gate is closed: this audit can say nothing" in found.err


# What it plays


def test_a_secret_is_guessed_only_where_one_is_named(audit: Audit) -> None:
    quiet = audit("--json", **small())
    assert quiet.row("attribute")["status"] == "not applicable"
    assert "Attribute inference was not played" in quiet.err
    loud = audit("--json", "--sensitive", "c", **small())
    assert loud.row("attribute.advantage", about="c")["status"] == "done"
    assert loud.row("attribute.check", "copy", about="c")["value"] in (0.0, 1.0)


def test_every_attack_on_released_records_is_played_and_told(audit: Audit) -> None:
    tables = small(reference=made(100, 3, start=5000))
    found = audit("--json", "--sensitive", "c", **tables)
    world = json.loads((found.run.path / "report.json").read_text())["worlds"][0]
    assert world["exposed"] is None or world["exposed"]["power"]
    tried = " ".join(check["tried"] for check in world["controls"])
    attacks = SETS["attacks"]["audit"]
    secret = [name for name in attacks if ATTACKS.find(name).game == "attribute"]
    for name in attacks:
        if name == "trajectory":  # a single table has no visits
            assert found.row(name)["status"] == "not applicable"
        else:
            assert f"“c” ({name})" in tried if name in secret else f"attack {name}" in tried
    rows = found.run.results()
    mine = rows[(rows["label"] == "synthetic") & (rows["site"] == "")]
    assert {*mine["name"].str.partition(".")[0]} == {*attacks}
    mine = mine[mine["p_value"].notna()]
    assert len(mine) > 4
    assert (mine["p_adjusted"] >= mine["p_value"]).all()


def test_a_few_numbers_can_be_a_secret(audit: Audit) -> None:
    found = audit("--json", "--sensitive", "b", **small())
    assert found.row("attribute.advantage", about="b")["status"] == "done"


def test_reference_patients_play_the_null_control(audit: Audit) -> None:
    with_some = audit("--json", **small(reference=made(100, 3, start=5000)))
    assert with_some.row("dcr.auc", "real")["n_nonmembers"] == 150
    alone = audit("--json", **small())
    assert alone.row("dcr.auc", "real")["n_nonmembers"] == 75
    assert "half of the control played the independent release" in alone.err


def test_hospitals_are_attacked_each_for_itself(
    audit: Audit, tmp_path: Path, made_up: Callable[[int, int], Cohort]
) -> None:
    cohort = made_up(300, 0)
    cuts = np.split(cohort.patients, [100, 200])
    (tmp_path / "s.toml").write_text(schema_file(cohort.schema), encoding="utf-8")
    folders = {}
    for name, part in zip(("train", "control", "synthetic"), cuts, strict=True):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for table in ("static", "visits", "codes", "outcome"):
            getattr(cohort.take(part), table).to_csv(folders[name] / f"{table}.csv", index=False)
    found = audit("--json", "--schema", "s.toml", **folders)
    assert found.status == 0, found.err
    rows = found.run.results()
    assert {"north", "south"} <= set(rows["site"])


def test_visits_that_were_copied_among_others_are_told_of_a_folder(
    audit: Audit, tmp_path: Path
) -> None:
    everybody = Simulated(patients=1200, hospitals=1, seed=3).load(DataStore(None))
    cuts = np.split(np.random.default_rng(0).permutation(everybody.patients), [300, 900])
    train, control, others = (everybody.take(cut) for cut in cuts)
    rng = np.random.default_rng(1)
    some = planted.thinned(train.take(train.patients[:30]), rng, 0.9, shift=100)
    like = others.take(others.patients[:30])  # whose last visits, facts and follow-up they have
    ends = like.visits[~like.visits.duplicated("patient", keep="last")].assign(day=3_000.0)
    names = dict(zip(like.patients, some.patients, strict=True))
    mixed = Cohort(
        some.schema,
        like.static.assign(patient=some.patients),
        pd.concat([some.visits, ends.assign(patient=ends["patient"].map(names))]),
        some.codes,
        like.outcome.assign(patient=some.patients),
    )
    leaked = Cohort.union([mixed, others.take(others.patients[30:])])
    cohorts = {"train": train, "control": control, "leaked": leaked, "honest": others}
    for name, cohort in cohorts.items():
        (tmp_path / name).mkdir()
        for table in TABLES:
            getattr(cohort, table).to_csv(tmp_path / name / f"{table}.csv", index=False)
    given = {name: tmp_path / name for name in ("train", "control")}
    options = ("--json", "--fail-over", "0.02")
    found = audit(*options, **given, synthetic=tmp_path / "leaked")
    assert (found.status, found.facts["verdict"]) == (1, GIVEN_AWAY)
    assert found.row("verbatim.auc")["value"] == 0.5
    assert 2 * found.row("trajectory.auc")["value"] - 1 == pytest.approx(0.1, abs=0.02)
    assert "have visits, codes or other facts that stand together in one released" in found.told
    quiet = audit(*options, **given, synthetic=tmp_path / "honest")
    assert (quiet.status, quiet.facts["verdict"]) == (0, QUIET)
    assert "Only the attack trajectory sees every visit and code" in quiet.err


def clinic(n: int, seed: int, prefix: str) -> pd.DataFrame:
    """Facts that many share, laboratory values that nobody does, and a secret."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, 10)), columns=[f"lab{i}" for i in range(10)])
    table["age"] = np.round(60 + 12 * rng.normal(size=n))
    table["bmi"] = np.round(27 + 4 * rng.normal(size=n), 1)
    table["hb"] = np.round(13 + 1.5 * rng.normal(size=n), 1)
    table["hiv"] = np.where(rng.random(n) < 0.3, "yes", "no")
    return table.set_axis([f"{prefix}{i}" for i in range(n)])


def test_three_columns_of_everybody_are_a_leak_and_so_is_the_secret_beside_them(
    audit: Audit,
) -> None:
    """All else is invented, so that no record is close to anybody's."""
    train, control = clinic(400, 0, "t"), clinic(1_200, 1, "c")
    mixed = clinic(400, 2, "s")
    known = ["age", "bmi", "hb", "hiv"]
    mixed[known] = train[known].sample(frac=1, random_state=0).to_numpy()
    tables = {"train": train, "control": control, "synthetic": mixed}
    found = audit("--json", "--fail-over", "0.05", "--sensitive", "hiv", **tables)
    assert (found.status, found.facts["verdict"]) == (1, GIVEN_AWAY)
    assert found.row("fragment.leak@1%")["low"] > 0.8
    assert found.row("completion.advantage", about="hiv")["low"] > 0.2
    assert found.row("dcr.leak@1%")["low"] <= 0
    told = found.row("fragment.auc")["by"]
    assert told in ("“age”, “bmi” and “hb” together", "“age”, “bmi”, “hb” and “hiv” together")
    assert f"It goes above all by {told}." in found.told
    honest = audit("--json", **{**tables, "synthetic": clinic(400, 3, "s")})
    assert (honest.status, honest.facts["verdict"]) == (0, QUIET)


def test_a_handful_of_copies_closes_the_gate(audit: Audit) -> None:
    train = made(150, 0)
    tables = small(train=train, control=made(300, 1, start=500))
    mixed = pd.concat([train.head(8), made(60, 2)], ignore_index=True)
    found = audit("--json", "--fail-over", "0", **{**tables, "synthetic": mixed})
    assert (found.status, found.facts["verdict"]) == (1, GIVEN_AWAY)
    rows = found.run.results().set_index("name")
    counted = rows[(rows["regime"] == "given") & (rows["site"] == "")].loc["verbatim.leak@10%"]
    assert counted["value"] == pytest.approx(8 / 150)
    assert audit("--json", **tables).facts["verdict"] != GIVEN_AWAY


# Small, odd and wrong tables


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_few_patients_say_nothing(audit: Audit, rows: int) -> None:
    tables = small(train=made(rows, 0), synthetic=made(rows, 0))
    found = audit("--json", "--fail-over", "0.5", **tables)
    assert (found.status, found.facts["verdict"]) == (1, SILENT), found.facts
    few = small(train=made(rows, 0), control=made(rows, 1, start=50), synthetic=made(rows, 2))
    found = audit("--json", **few)
    assert found.status in (0, 2)
    if found.status == 0:
        assert found.facts["verdict"] == SILENT


def test_a_small_release_is_told_by_what_speaks_of_it(audit: Audit) -> None:
    tables = {"train": made(400, 0), "control": made(400, 1, start=1000)}
    quiet = audit("--json", **tables, synthetic=made(40, 2))
    assert quiet.facts["verdict"] == QUIET
    because = quiet.facts["because"]
    assert quiet.row("dcr.auc")["verdict"].startswith("nothing can be said")
    listed = re.findall(r"The attacks? ([\w, ]+) found none\.", because)
    assert [re.split(", | and ", names) for names in listed] == [["linkage", "verbatim"]]
    assert "The AUC of dcr says nothing; at few false alarms it found none." in because
    assert "It cannot be said whether single patients can be pointed at" in because
    # The smallest leak of all attacks, as `verbatim` tells it of itself.
    assert quiet.row("verbatim.auc")["detectable"] == pytest.approx(0.5 + 6.64 / 400 / 2, abs=1e-5)
    assert "Word-for-word copies of 1.7 % of the training records are noticed" in because
    assert "1.7 % are noticed four times out of five." in quiet.told
    assert "Nothing can be said about the AUC of the attack dcr, because a leak is" in quiet.told


def test_a_limit_of_copies_is_not_told_as_one_of_all_leaks(audit: Audit) -> None:
    tables = {"train": made(90, 0), "control": made(90, 1, start=1000)}  # too few for shares
    found = audit("--json", "--fail-over", "0.5", **tables, synthetic=made(90, 2))
    assert (found.status, found.facts["verdict"]) == (0, QUIET)
    assert found.row("dcr.leak@10%")["status"] == "refused"
    because = found.facts["because"]
    assert "training patients may still be given away" not in because
    beyond = "stand in the release word for word, beyond the share of other patients of whom that"
    assert re.search(rf"Up to [\d.]+ % of the training patients may still {beyond}", because)
    assert re.search(r"and up to [\d.]+ % may be guessed or linked better than others", because)
    assert "no limit is known of leaks of any other kind" in because
    assert "no limit is known of leaks of any other kind" in found.facts["gate"]["reason"]


def test_a_small_release_that_finds_patients_gives_them_away(audit: Audit) -> None:
    drawn = np.random.default_rng(0).normal(size=(2000, 6))
    columns = pd.DataFrame(drawn, columns=list("abcdef"))
    near = columns.head(12) + 0.01
    tables = {"train": columns.head(800), "control": columns.tail(1200)}
    found = audit("--json", "--fail-over", "0", **tables, synthetic=near)
    share = found.row("dcr.leak@1%")
    assert share["verdict"].startswith("nothing can be said: a leak is noticed from 13 copied")
    assert share["low"] > 0
    assert share["p_adjusted"] < 0.05
    assert (found.status, found.facts["verdict"]) == (1, GIVEN_AWAY)
    assert "The attack dcr finds" in found.facts["because"]
    assert "leak at 1 % false alarms (dcr) is" in found.err


@pytest.mark.parametrize("again", [1, 10])
def test_a_release_too_small_for_any_leak_says_so_in_a_sentence(audit: Audit, again: int) -> None:
    tables = {"train": made(400, 0), "control": made(400, 1, start=1000)}
    found = audit("--json", **tables, synthetic=pd.concat([made(4, 2)] * again))
    assert found.facts["verdict"] == SILENT
    assert found.facts["because"] == (
        "The attack verbatim says nothing, because a leak is noticed from 7 copied training "
        "records on, and the release has 4 different records."
    )


def test_odd_columns_do_not_stop_it(audit: Audit) -> None:
    odd = {"same": 1, "nothing": None}

    def with_odd(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(**odd, name=[f"n{i}" for i in range(len(table))])

    tables = {name: with_odd(table) for name, table in small().items()}  # type: ignore[arg-type]
    tables["synthetic"] = with_odd(made(60, 2).assign(a=99.0, b=-7, c="z"))
    found = audit("--json", **tables)
    assert found.status == 0
    for name in (*odd, "name"):
        assert f"'{name}' is left out" in found.err
    assert "'a'" in found.err
    assert found.facts["verdict"] == SILENT  # one record, again and again
    main = json.loads((found.run.path / "report.json").read_text())["worlds"][0]["main"]
    mine = next(row for row in main["rows"] if row["generator"] == "synthetic")
    done = [cell for cell in mine["cells"] if cell["status"] == "done"]
    assert done
    for cell in done:
        assert "nothing can be said: a leak is noticed from" in cell["note"]
    assert audit(**tables).out.count("), says nothing") == len(done)


ODD = {
    "all missing": {"a": np.nan, "b": np.nan, "c": None},
    "one value a column": {"a": 0.5, "b": 3, "c": "x"},
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_a_release_that_says_nothing_gives_nobody_away(
    audit: Audit, values: Mapping[str, Any]
) -> None:
    tables = small(synthetic=made(60, 2).assign(**values), reference=made(100, 3, start=5000))
    found = audit("--json", "--sensitive", "c", **tables)
    assert found.status == 0, found.err
    assert found.facts["failures"] == []
    assert found.facts["verdict"] in (QUIET, SILENT)


def test_training_records_among_the_control_are_noticed_without_names(audit: Audit) -> None:
    mixed = made(150, 1, start=1000)
    mixed.iloc[:30] = made(60, 0).iloc[:30]
    said = "30 of 150 records of control.csv equal one of train.csv in every column."
    assert said in " ".join(audit(**small(control=mixed)).err.split())
    few = {name: table[["c"]] for name, table in small().items() if isinstance(table, pd.DataFrame)}
    assert "in every column" not in audit(**few).err  # as do many others


def wide(n: int, seed: int) -> pd.DataFrame:
    """Patients of whom no two are alike."""
    drawn = np.random.default_rng(seed).normal(size=(n, 4)).round(2)
    return pd.DataFrame(drawn, columns=list("abcd"))


def test_nothing_can_be_said_where_training_patients_are_among_the_control(audit: Audit) -> None:
    train, control = wide(400, 0), wide(600, 1)
    mixed = pd.concat([train.head(50), control], ignore_index=True)
    release = pd.concat([train.head(20), wide(300, 2)], ignore_index=True)
    tables = {"train": train, "synthetic": release}
    found = audit("--json", "--fail-over", "0.5", index=False, **tables, control=mixed)
    assert (found.status, found.facts["verdict"]) == (1, SILENT)
    said = "50 of 650 records of control.csv equal one of train.csv in every column, far more"
    assert said in found.facts["because"]
    assert f"the gate is closed: {said}" in found.err
    # Who is in both is not lost among the twins.
    copied = "Yet 20 of 320 released records equal a training patient's record in every column, and"
    assert f"{copied} 20 a control patient's" in found.facts["because"]


def test_a_handful_of_equal_rows_is_noted_where_hardly_any_are(audit: Audit) -> None:
    train, control = wide(400, 0), wide(600, 1)
    mixed = pd.concat([train.head(3), control], ignore_index=True)
    said = "3 of 603 records of control.csv equal one of train.csv in every column. If they are"
    tables = {"train": train, "synthetic": wide(100, 2)}
    found = audit("--json", index=False, **tables, control=mixed)
    assert said in " ".join(found.err.split())
    assert found.facts["verdict"] == QUIET
    assert "in every column" not in audit("--json", index=False, **tables, control=control).err


def test_one_equal_row_among_few_others_is_luck(audit: Audit) -> None:
    train, few = wide(600, 0), pd.concat([wide(600, 0).head(1), wide(29, 1)], ignore_index=True)
    found = audit("--json", index=False, train=train, control=few, synthetic=wide(100, 2))
    assert "1 of 30 records of control.csv equals one of train.csv" in found.err
    assert "far more" not in found.facts["because"]


def test_released_real_records_are_counted_in_the_verdict(audit: Audit) -> None:
    train, control = wide(400, 0), wide(600, 1)
    tables = {"train": train, "control": control}
    few = pd.concat([train.head(2), wide(398, 2)], ignore_index=True)
    found = audit("--json", index=False, **tables, synthetic=few)
    said = "2 of 400 released records equal a training patient's record in every column, and none a"
    assert found.facts["verdict"] == QUIET
    assert found.facts["because"].startswith(f"Yet {said} control patient's;")
    for name in ("report.md", "report.html"):
        text = (found.run.path / name).read_text().replace("&#39;", "'").replace("&#x27;", "'")
        assert said in " ".join(text.split())
    nothing_else = audit("--json", index=False, **tables, synthetic=train.head(10))
    assert "all 10 released records equal a training patient's" in (
        nothing_else.facts["because"].replace("All", "all")
    )
    independent = audit("--json", index=False, **tables, synthetic=wide(400, 2))
    assert "released records equal" not in independent.facts["because"]


@pytest.mark.parametrize("change", [{"s": "Female"}, {"d": 77.0}])
def test_copies_are_no_measure_where_no_record_could_be_one(
    audit: Audit, change: Mapping[str, Any]
) -> None:
    sexes = {"s": ["f", "m"] * 200}
    train, control = wide(400, 0).assign(**sexes), wide(400, 1).assign(**sexes)
    release = wide(400, 2).assign(**sexes).assign(**change)
    tables = {"train": train, "control": control, "synthetic": release}
    found = audit("--json", "--fail-over", "0", index=False, **tables)
    assert found.row("verbatim.auc")["verdict"].startswith("nothing can be said: no record counts")
    assert "(attack verbatim)" in found.facts["because"]
    assert "word for word, beyond" not in found.err


def coarse(n: int, seed: int, start: int = 0) -> pd.DataFrame:
    """Patients of whom several look alike."""
    return made(n, seed, start).assign(a=lambda table: table["a"].round(2))


def test_training_records_that_stand_twice_are_told_of(audit: Audit) -> None:
    once = coarse(150, 0)
    twice = pd.concat([once, once]).set_axis([f"p{i}" for i in range(300)])
    tables = small(train=twice, control=coarse(150, 1, start=1000), synthetic=twice)
    said = " ".join(audit(**tables).err.split())
    assert "300 of 300 records of train.csv equal another one of it in every column" in said
    assert "one row per patient" in said
    honest = small(train=coarse(300, 0), control=coarse(150, 1, start=1000))
    assert "another one of it" not in audit(**honest).err


def test_renamed_patients_are_noticed_where_others_look_alike_too(audit: Audit) -> None:
    train, control = coarse(200, 0), coarse(800, 1, start=1000)
    said = "equal one of train.csv in every column. If they are the same patients, leave them out"
    honest = small(train=train, control=control)
    assert said not in " ".join(audit(**honest).err.split())
    mixed = control.copy()
    mixed.iloc[:50] = train.iloc[:50]
    # More look like other control patients than were renamed.
    assert mixed.duplicated(keep=False).sum() > 2 * 50
    assert said in " ".join(audit(**small(train=train, control=mixed)).err.split())


WRONG: list[tuple[Mapping[str, Any], str, str]] = [
    ({"control": Path("train.csv")}, "", "--train and --control are both 'train.csv'"),
    ({"control": Path("gone.csv")}, "", "--control 'gone.csv': there is no such file or folder."),
    ({"synthetic": Path("bad.pkl")}, "", "--synthetic 'bad.pkl' is a pickle file"),
    ({"synthetic": Path("bad.txt")}, "", "expected a .csv or .parquet file, or a cohort folder"),
    ({"control": made(150, 1, start=30)}, "", "in control.csv by 'patient', there in row 1, 2, 3"),
    ({"reference": made(50, 4, start=1100)}, "", "50 patients are in control.csv and in reference"),
    ({"control": made(60, 0, start=500)}, "", "are in the other, word for word"),
    ({"control": made(150, 1, start=1000).drop(columns="a")}, "", "control.csv has no column 'a'"),
    ({"synthetic": made(60, 2).drop(columns="c")}, "", "synthetic.csv has no column 'c'"),
    ({"synthetic": made(60, 2).assign(a="low")}, "", "'a' holds numbers in train.csv and text in"),
    ({"synthetic": Path("folder")}, "", "'folder' is a cohort folder and 'train.csv' a single"),
    ({"synthetic": made(60, 2)[:0]}, "", "--synthetic 'synthetic.csv' has no rows"),
    ({"train": made(60, 0).iloc[[0, 0, 1]]}, "", "row 2: 'patient' is there again, as in row 1;"),
    ({}, "--id nobody", "train.csv has no column 'nobody'."),
    ({}, "--sensitive a,c", "'a,c': give one column at a time: --sensitive a --sensitive c."),
    ({}, "--sensitive d", "--sensitive 'd': no such column is compared. There is: a, b, c."),
    ({}, "--sensitive a", "--sensitive 'a': it is a number, and only categories are guessed."),
    ({"train": made(60, 0).assign(c=[f"w{i}" for i in range(60)])}, "--sensitive c", "texts; to"),
    ({}, "--schema gone.toml", "There is no file 'gone.toml'."),
    ({}, "--schema bad.toml", "bad.toml: static.a: A number column needs finite public bounds"),
    ({}, "--schema narrow.toml", "train.csv row 1: 'b' is '5'; expected 0 to 1."),
    ({}, "--fail-over 5%", "--fail-over is 5%; expected a share from 0 to below 1, such as 0.05"),
    ({}, "--fail-over 5", "--fail-over is 5; expected a share from 0 to below 1, such"),
    ({}, "--out taken", "--out 'taken': "),
]  # fmt: skip


@pytest.mark.parametrize(("tables", "options", "problem"), WRONG)
def test_a_mistake_is_told_in_one_line(
    audit: Audit, tmp_path: Path, tables: Mapping[str, Any], options: str, problem: str
) -> None:
    for name in ("taken", "bad.pkl", "bad.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "static.csv").write_text("patient,a\n1,2\n")
    (tmp_path / "bad.toml").write_text("[schema]\nname = 'x'\n[static]\na = { kind = 'number' }")
    (tmp_path / "narrow.toml").write_text(
        "[schema]\nname = 'x'\n[static]\nb = { kind = 'integer', low = 0, high = 1 }"
    )
    found = audit(*options.split(), **small(**tables))
    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("fedbench: ")
    assert problem in found.err
    assert found.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["folder"]


def test_a_missing_option_is_named(audit: Audit) -> None:
    found = audit(train=made(5, 0))
    assert found.status == 2
    assert "Missing option '--control'" in found.err


# What it leaves behind


@pytest.fixture
def done(audit: Audit) -> Audited:
    return audit("--json", "--sensitive", "c", **small())


def test_what_attacks_say_lies_on_a_scale_that_they_name(done: Audited) -> None:
    rows = done.run.results()
    rows = rows[(rows["status"] == "done") & ~rows["name"].str.endswith(".check")]
    for part, ends, better in (
        ("auc", (0, 1), "down to 0.5"),
        ("tpr@10%", (0, 1), "lower"),
        ("leak@10%", (-1, 1), "down to 0"),
        ("advantage", (-1, 1), "down to 0"),
    ):
        mine = rows[rows["name"].str.endswith(f".{part}")]
        assert set(zip(mine["least"], mine["most"], strict=True)) == {ends}, part
        assert {*mine["better"]} == {better}, part
    assert (rows["low"] >= rows["least"]).all()
    assert (rows["high"] <= rows["most"]).all()


def test_copies_are_counted_at_every_hospital(audit: Audit, tmp_path: Path) -> None:
    def at(table: pd.DataFrame, seed: int) -> pd.DataFrame:
        where = np.random.default_rng(seed).choice(["north", "south", "west"], len(table))
        return table.assign(h=where)

    def everybody(found: Audited) -> Mapping[str, Any]:
        rows = found.run.results()
        mine = rows[(rows["name"] == "verbatim.auc") & (rows["label"] == "synthetic")]
        return dict(mine[mine["site"] == ""].iloc[0])

    train, control = at(made(400, 0), 5), at(made(1600, 1, start=1000), 6)
    copied = pd.concat(
        [train[:20], at(made(379, 2), 7), control[:1]]
    )  # who was not trained on, too
    column = '{ kind = "category", levels = ["north", "south", "west"], roles = ["site"] }'
    (tmp_path / "s.toml").write_text(
        f"""[schema]\nname = "t"\nclock = ""\n[static]\nh = {column}
        a = {{ kind = "number", low = -9, high = 9 }}
        b = {{ kind = "integer", low = 0, high = 9 }}
        c = {{ kind = "category", levels = ["x", "y"] }}"""
    )
    tables = {"train": train, "control": control, "synthetic": copied}
    found = audit("--json", "--fail-over", "0.07", "--schema", "s.toml", **tables)
    held = [(each["name"], each["secret"]) for each in found.facts["gate"]["held"]]
    assert len(held) == len(set(held))
    row = everybody(found)
    gap = stats.newcombe(20, 400, 1, 1600)
    assert row["value"] == pytest.approx(0.5 + gap.value / 2, abs=0.001)
    assert (row["low"], row["high"]) == pytest.approx(
        (0.5 + gap.low / 2, 0.5 + gap.high / 2), abs=0.005
    )
    assert found.facts["verdict"] == GIVEN_AWAY
    assert "4.9 % (95 % interval 3." in found.told
    assert "Hospitals differ" not in found.told
    west = pd.concat([train[train["h"] == "west"], at(made(300, 2), 7)])
    there = audit("--json", "--schema", "s.toml", train=train, control=control, synthetic=west)
    assert "Hospitals differ beyond chance: at west 100.0 % (95 % interval" in there.told
    report = (there.run.path / "report.md").read_text()
    assert re.search(r"“hospital” is 'west' in \d+ % of them, 3\d % of all", report)
    none = audit("--json", "--schema", "s.toml", train=train, control=control,
                 synthetic=at(made(400, 2), 7))  # fmt: skip
    quiet = everybody(none)
    assert (quiet["value"], quiet["p_value"]) == (0.5, 1.0)
    assert 0.49 < quiet["low"] < quiet["high"] < 0.51
    # Two of 400 and none of 1,600 are no luck: (400 * 399) / (2000 * 1999) = .04.
    assert quiet["detectable"] >= 0.5 + 2 / 400 / 2


def test_the_drafted_schema_is_read_back(audit: Audit, done: Audited) -> None:
    schema = done.run.path / "schema.toml"
    again = audit("--json", "--schema", str(schema), "--id", "patient", **small())
    one, other = (found.run.results() for found in (done, again))
    pd.testing.assert_frame_equal(one, other)


def test_the_command_that_it_writes_down_makes_the_same_again(audit: Audit, done: Audited) -> None:
    told = json.loads((done.run.path / "report.json").read_text())["again"]["command"]
    fedbench, command, *options = shlex.split(told)
    assert (fedbench, command) == ("fedbench", "audit")
    schema = options.index("--schema") + 1
    options[schema] = str(done.run.path / options[schema])
    again = audit("--json", *options)
    assert again.status == 0, again.err
    pd.testing.assert_frame_equal(done.run.results(), again.run.results())


def test_nobody_is_named_in_what_it_leaves_behind(done: Audited) -> None:
    for file in done.run.path.rglob("*"):
        if file.suffix == ".parquet":
            held = pd.read_parquet(file)
            assert not held.astype(str).isin(["p0", "p1", "p1000"]).any(axis=None), file
        elif file.is_file():
            assert "p1000" not in file.read_text(), file


def test_the_report_knows_no_hospitals(done: Audited) -> None:
    folder = done.run.path
    said = json.loads((folder / "report.json").read_text())
    assert [s["title"] for s in said["worlds"][0]["headline"]] == [done.facts["verdict"]]
    for name in ("report.html", "report.md"):
        text = re.sub("<style>.*</style>", "", (folder / name).read_text(), flags=re.DOTALL).lower()
        assert "federat" not in text.replace("federated synthetic", "")
        assert "hospital" not in text
        assert done.facts["verdict"].lower() in text
        assert "synthetic.csv" in text


def test_an_audit_that_breaks_leaves_nothing(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: RunDir) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("fedbench.examine.report.write", fail)
    assert audit(**small()).status == 2
    assert not list((tmp_path / "runs").iterdir())


def test_its_report_can_be_rendered_again_but_nothing_resumed(
    done: Audited, capfd: pytest.CaptureFixture[str]
) -> None:
    page = done.run.path / "report.html"
    before = page.read_text()
    page.unlink()
    assert cli.main(["report", str(done.run.path)]) == 0
    assert page.read_text() == before
    capfd.readouterr()
    assert cli.main(["run", "--resume", str(done.run.path)]) == 2
    assert "was made by `fedbench audit` and has no suite" in capfd.readouterr().err


def test_the_terminal_ends_with_verdict_and_report(audit: Audit) -> None:
    found = audit(**small())
    assert found.out.startswith("Controls first\n")
    for what in ("AUC of the attack (dcr)", "AUC of the attack (verbatim)"):
        assert f"\n{what} " in found.out  # a line for each measure
    assert found.out.count("The null control (records that no generator saw)") == 1
    *_, told, last = found.out.strip().split("\n\n")
    assert told.startswith((QUIET, SILENT))
    assert last.startswith("Report: runs/audit-")
    assert "* 'patient' is taken for the patient's identifier" in found.err
    assert "a         static   number" in found.err


# The gate


def rows_of(**row: Any) -> pd.DataFrame:
    base = {"regime": "given", "status": "done", "name": "dcr.leak@1%", "value": 0.1,
            "low": 0.06, "high": 0.14, "p_adjusted": 0.001, "detectable": 0.03}  # fmt: skip
    return frame([base | row])


@pytest.mark.parametrize(
    ("row", "most", "passed"),
    [
        ({}, 0.05, False),
        ({}, 0.07, True),
        ({"p_adjusted": 0.2}, 0.05, True),
        ({"low": -0.01}, 0.0, True),
        ({"detectable": 0.3, "low": 0.0}, 0.05, False),
        ({"detectable": np.nan, "low": 0.0}, 0.05, False),
        ({"status": "refused", "value": None, "low": None}, 0.05, False),
        ({"name": "attribute.advantage", "secret": "c"}, 0.05, False),
        ({"regime": "control"}, 0.05, False),
    ],
)
def test_the_gate(row: Mapping[str, Any], most: float, *, passed: bool) -> None:
    assert gate(rows_of(**row), most).passed is passed


def test_an_open_gate_says_whether_more_is_ruled_out() -> None:
    quiet = {"value": 0.02, "low": -0.03, "p_adjusted": 0.4, "detectable": 0.054}
    wide = gate(rows_of(**quiet, high=0.089), 0.05).text
    of = "leak at 1 % false alarms (dcr), 2.0 % (\N{MINUS SIGN}3.0 % to {} %) of training patients."
    said = "a leak above 5.0 % was not shown, and not ruled out either: "
    assert wide == f"the gate is open: {said}{of.format('8.9')}"
    narrow = gate(rows_of(**quiet, high=0.04), 0.05).text
    said = "every attack that counts rules out a leak above 5.0 %; the highest it may be: "
    assert narrow == f"the gate is open: {said}{of.format('4.0')}"


def test_the_gate_goes_by_patients_and_not_by_hospitals() -> None:
    row = {"name": "verbatim.auc", "value": 0.524, "low": 0.519, "high": 0.53, "detectable": 0.51}
    mean = {"value": 0.667, "low": 0.635, "high": 0.672, "target": "specialist"}
    by_hospital = [{"level": "unweighted"}, {"level": "patient-weighted"}, {"site": "west"}]
    rows = pd.concat([rows_of(**row), *(rows_of(**row | mean | each) for each in by_hospital)])
    found = gate(rows, 0.1)
    assert [each["value"] for each in found.plain()["held"]] == [pytest.approx(0.048)]
    assert "4.8 % (3.8 % to 6.0 %) of training patients" in found.text
    assert "33.4 %" not in found.text


def test_an_open_gate_says_which_smaller_leak_was_shown() -> None:
    one = gate(rows_of(), 0.2).text
    assert one.startswith(
        "the gate is open: for leaks above 20.0 % only, as a smaller one was shown: leak at 1 % "
        "false alarms (dcr), 10.0 % (6.0 % to 14.0 %) of training patients; every attack"
    )


def test_an_attack_that_is_the_wrong_way_round_rules_nothing_out() -> None:
    turned = rows_of(name="verbatim.auc", value=0.42, low=0.38, high=0.47, p_adjusted=1.0,
                     p_turned_adjusted=0.001, detectable=0.55)  # fmt: skip
    assert gate(turned, 0.05).text.startswith("the gate is closed: this audit can say nothing")
    other = rows_of(value=0.01, low=-0.01, high=0.03, p_adjusted=0.5)
    assert [each["name"] for each in gate(pd.concat([turned, other]), 0.05).held] == ["dcr.leak@1%"]


def test_a_verdict_knows_no_limit_of_an_attack_that_is_the_wrong_way_round() -> None:
    row = {"name": "verbatim.auc", "family": "privacy", "label": "synthetic", "target": "pooled",
           "value": 0.4, "low": 0.38, "high": 0.47, "p_adjusted": 1, "detectable": 0.6}  # fmt: skip
    ahead, turned = (
        verdict(World("", "", Numbers.of(rows_of(**row, p_turned_adjusted=p))), []).text
        for p in (0.5, 0.001)
    )
    assert "Up to 0.0 % of the training patients may still stand in the release" in ahead
    assert "Up to" not in turned
    assert "the attack verbatim told training patients from others the wrong way round" in turned


def test_the_advantage_of_a_rare_secret_is_told_with_the_most_it_can_be() -> None:
    row = {"family": "privacy", "label": "synthetic", "target": "pooled", "secret": "hiv"}
    found = pd.concat(
        [
            rows_of(**row, name="attribute.advantage", value=0.029, low=0.018, high=0.033,
                    ceiling=0.031),
            rows_of(**row, name="attribute.accuracy", value=0.998),
            rows_of(**row, name="attribute.control", value=0.972),
        ]
    )  # fmt: skip
    assert verdict(World("", "", Numbers.of(found)), []).text.endswith(
        "advantage 0.029 (95 % interval 0.018 to 0.033), right of 99.8 % of them and of 97.2 % of "
        "others; of their own records, if released, it would be 0.031."
    )


def test_the_gate_names_the_unit_of_every_share_and_mixes_none() -> None:
    leak, single = (
        rows_of(low=0.07),
        rows_of(name="singling.advantage", value=0.6, low=0.4, high=0.8),
    )
    both = pd.concat([single, leak], ignore_index=True)
    assert gate(both, 0.05).text == (
        "the gate is closed: leak at 1 % false alarms (dcr) is 10.0 % (7.0 % to 14.0 %) of "
        "training patients; singled out more often among training patients than among others "
        "(singling) is 60.0 % (40.0 % to 80.0 %) of descriptions of released records, each shown "
        "to be above 5.0 %."
    )
    assert [(each["name"], each["unit"]) for each in gate(both, 0.05).plain()["held"]] == [
        ("dcr.leak@1%", "training patients"),
        ("singling.advantage", "descriptions of released records"),
    ]
    assert "leak at" not in gate(both, 0.1).text
    quiet = pd.concat([single.assign(p_adjusted=0.5), leak.assign(p_adjusted=0.5)])
    said = "a leak above 10.0 % was not shown, and not ruled out either: leak at 1 % false alarms"
    assert said in gate(quiet, 0.1).text
    # What proves nothing rules nothing out, and is no leak.
    words = "nothing can be said: only 30 points would have been noticed"
    mute = single.assign(low=-0.1, p_adjusted=0.5, verdict=words)
    assert "singled" not in gate(pd.concat([mute, leak.assign(p_adjusted=0.5)]), 0.1).text


@pytest.mark.parametrize("secret", [(), ("--sensitive", "c")])
def test_the_gate_and_a_quiet_verdict_have_one_upper_limit(
    audit: Audit, secret: tuple[str, ...]
) -> None:
    tables = {"train": made(400, 0), "control": made(400, 1, start=1000)}
    found = audit("--json", "--fail-over", "0.05", *secret, **tables, synthetic=made(40, 2))
    (most,) = re.findall(r"Up to ([\d.]+ %) of the training patients may", found.facts["because"])
    assert f" to {most}) of training patients" in found.err
    limits = re.findall(r" to ([\d.]+) %\) of training patients", found.err)
    assert max(map(float, limits)) == float(most.removesuffix(" %"))


@pytest.mark.parametrize(("most", "passed"), [(0.05, False), (0.99, True)])
def test_a_script_reads_what_the_gate_went_by(
    audit: Audit, capfd: pytest.CaptureFixture[str], most: float, *, passed: bool
) -> None:
    tables = small()
    found = audit("--json", "--fail-over", f"{most}", **small(synthetic=tables["train"]))
    told = found.facts["gate"]
    assert (told["threshold"], told["passed"], found.facts["passed"]) == (most, passed, passed)
    assert f"the gate is {'open' if passed else 'closed'}: {told['reason']}" in found.err
    by = {each["name"]: each for each in told["held"]}
    share = by["verbatim.beyond"]
    assert (share["value"], share["unit"]) == (1.0, "training patients")
    assert 0.05 < share["low"] < 0.99 < share["high"]
    assert not [name for name in by if name.endswith(".auc")]  # held against no share

    report = json.loads((found.run.path / "report.json").read_text())
    assert report["gate"] == told
    assert cli.main(["report", str(found.run.path.parent)]) == 2
    assert f"Give one of the runs in it, such as {found.run.path}." in capfd.readouterr().err
    for file in ("report.md", "report.html"):
        page = (found.run.path / file).read_text().replace("\N{NO-BREAK SPACE}", " ")
        assert told["reason"] in page
    assert cli.main(["report", str(found.run.path)]) == 0
    assert json.loads((found.run.path / "report.json").read_text()) == report

    # Running it again goes by the same.
    assert f"--fail-over {most}" in report["again"]["command"]


def test_without_a_gate_none_is_told_of(done: Audited) -> None:
    assert "gate" not in json.loads((done.run.path / "report.json").read_text())
    assert not {"gate", "passed"} & {*done.facts}


def test_for_any_leak_areas_are_held_against_guessing(audit: Audit) -> None:
    areas = [
        each
        for each in audit("--json", "--fail-over", "0", **small()).facts["gate"]["held"]
        if each["name"].endswith(".auc")
    ]
    assert {each["unit"] for each in areas} == {"AUC"}


def test_patients_who_are_told_apart_close_the_gate_for_any_leak() -> None:
    quiet = {"low": -0.03, "p_adjusted": 0.4}
    area = rows_of(name="dcr.auc", value=0.6, low=0.55, high=0.65)
    both = pd.concat([rows_of(**quiet), area], ignore_index=True)
    told = (
        "training patients are told from others better than by guessing: AUC of the attack (dcr) "
        "is 0.600 (0.550 to 0.650)"
    )
    assert not gate(both, 0.0).passed
    assert told in gate(both, 0.0).text
    assert gate(both, 0.05).passed
    assert f"Yet {told}" in gate(both, 0.05).text
    assert gate(rows_of(**quiet), 0.0).passed


def test_a_report_says_what_every_attack_asks_and_would_not_notice(audit: Audit) -> None:
    found = audit("--json", **small())
    about = json.loads((found.run.path / "report.json").read_text())["glossary"]
    assert about["Attack dcr"].startswith("Was this patient's record copied, or nearly so?")
    for name in SETS["attacks"]["audit"]:
        if f"Attack {name}" in about:
            assert "It would not notice" in about[f"Attack {name}"]
    assert {"Attack dcr", "Attack verbatim", "Attack fragment"} <= {*about}
