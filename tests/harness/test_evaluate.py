"""An evaluation tells good synthetic records from bad ones, whoever made them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedbench import cli
from fedbench.data import Cohort
from fedbench.report.words import number
from fedbench.results import RunDir
from fedbench.schemas import schema_file


@dataclass(frozen=True)
class Evaluated:
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

    def row(self, name: str, label: str = "synthetic", **about: str) -> Mapping[str, Any]:
        rows = self.run.results()
        asked = {"name": name, "label": label, "column": "", "site": "", "level": "", **about}
        for column, value in asked.items():
            rows = rows[rows[column] == value]
        assert len(rows) == 1
        return dict(rows.iloc[0])


Evaluate = Callable[..., Evaluated]


@pytest.fixture
def evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Evaluate:
    """The command, on tables that are written first; of a path nothing is."""
    monkeypatch.chdir(tmp_path)

    def call(*options: str, **tables: pd.DataFrame | Path) -> Evaluated:
        arguments = list(options)
        for name, table in tables.items():
            path = table if isinstance(table, Path) else Path(f"{name}.csv")
            if isinstance(table, pd.DataFrame):
                table.to_csv(path, index=name != "synthetic", index_label="patient")
            arguments += [f"--{name}", str(path)]
        return Evaluated(cli.main(["evaluate", *arguments]), *capfd.readouterr())

    return call


def made(n: int, seed: int, start: int = 0) -> pd.DataFrame:
    """Patients whose columns hang together."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return pd.DataFrame(
        {
            "a": a,
            "b": a + rng.normal(size=n),
            "c": np.where(a + rng.normal(size=n) > 0, "x", "y"),
            "ill": (a + rng.normal(size=n) > 0.5).astype(int),
        },
        index=[f"p{start + i}" for i in range(n)],
    )


def shuffled(table: pd.DataFrame, seed: int = 9) -> pd.DataFrame:
    """The same columns, each in an order of its own."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: rng.permutation(table[name]) for name in table})


def tables(**other: pd.DataFrame | Path) -> dict[str, pd.DataFrame | Path]:
    """Tables that are quickly scored."""
    found = {"train": made(250, 0), "test": made(400, 1, start=1000), "synthetic": made(250, 2)}
    return {**found, **other}


def test_good_records_are_near_the_ceiling_and_shuffled_ones_at_the_floor(
    evaluate: Evaluate,
) -> None:
    real = {"train": made(400, 0), "test": made(600, 1, start=1000)}
    good = evaluate("--json", "--predict", "ill", synthetic=made(400, 2), **real)
    bad = evaluate("--json", "--predict", "ill", synthetic=shuffled(made(400, 2)), **real)
    assert (good.status, bad.status) == (0, 0), good.err + bad.err
    assert good.row("detection")["high"] < bad.row("detection")["low"]
    assert good.row("utility.auroc", task="ill")["low"] > 0.6
    near, far = (found.row("associations") for found in (good, bad))
    assert near["normalized"] > 0.7 > far["normalized"] + 0.2
    for row, task in ((near, ""), (good.row("utility.auroc", task="ill"), "ill")):
        for end, label in (("floor", "independent"), ("ceiling", "copy")):
            own, guess = good.row(row["name"], label, task=task)["value"], 0.5 if task else 0.0
            assert row[end] == max(own, guess)
    assert good.row("marginals")["floor"] == good.row("marginals", "uniform")["value"]
    assert "Of 'ill', '1' is the event that models foresee." in good.err
    assert good.row("dcr.check", "copy")["value"] == good.row("dcr.check", "real")["value"] == 1.0
    assert good.facts["answers"].keys() >= {"How like real patients", "What they are good for"}
    assert any(n["name"] == "associations" and n["ceiling"] for n in good.facts["numbers"])


def test_the_order_of_rows_changes_nothing(evaluate: Evaluate) -> None:
    given = tables(synthetic=made(250, 2).assign(b=0.3))
    other = {
        name: table.sample(frac=1, random_state=seed) if isinstance(table, pd.DataFrame) else table
        for seed, (name, table) in enumerate(given.items())
    }
    about = ["label", "name", "column", "task", "value", "low", "high"]
    one, two = (
        evaluate("--json", "--predict", "ill", **each)
        .run.results()[about]
        .sort_values(about[:4], ignore_index=True)
        for each in (given, other)
    )
    pd.testing.assert_frame_equal(one, two)


def test_one_floor_is_named_that_of_the_scale(evaluate: Evaluate) -> None:
    found = evaluate("--json", **tables())
    said = str(found.facts["answers"]["How like real patients"])
    for name, what, floor, words in (
        ("marginals", "Single columns", "uniform", "columns drawn evenly over their range"),
        ("associations", "Associations", "independent", "columns drawn one by one"),
    ):
        (line,) = (line for line in said.split("\n") if line.startswith(f"{what}: "))
        end = number(found.row(name, floor)["value"])
        assert f" and {words} {end}. From 0 (floor, {end}) to 1 (ceiling, " in line
        assert line.count("columns drawn") == 1


BY_SEX = """
[schema]
name = "mine"
clock = ""

[static]
a = { kind = "number", low = -9.0, high = 9.0 }
b = { kind = "number", low = -9.0, high = 9.0 }
c = { kind = "category", levels = ["x", "y"] }
ill = { kind = "category", levels = ["0", "1"] }
sex = { kind = "category", levels = ["man", "woman"], roles = ["quasi-identifier"] }
"""


def test_a_group_that_is_drawn_worse_is_told_of(evaluate: Evaluate, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(BY_SEX, encoding="utf-8")
    given = {
        name: table.assign(sex=np.where(np.arange(len(table)) % 2, "man", "woman"))
        for name, table in tables().items()
        if isinstance(table, pd.DataFrame)
    }
    release, women = given["synthetic"], given["synthetic"]["sex"] == "woman"
    given["synthetic"] = release.assign(b=release["b"].where(~women, 3.0))
    found = evaluate("--json", "--schema", "s.toml", **given)
    assert found.status == 0, found.err
    parts = found.facts["answers"]["How like real patients"].split("\n")
    (said,) = (part for part in parts if part.startswith("Groups by sex: "))
    off = [
        number(found.row("fairness.marginals", label, column=f"sex={who}")["value"])
        for label in ("synthetic", "copy")
        for who in ("woman", "man")
    ]
    women_off = "Groups by sex: single columns of “woman” are {} off, of “man” {} "
    assert said.startswith((women_off + "(of real training records {} and {}).").format(*off))
    gap = next(n for n in found.facts["numbers"] if n["name"] == "fairness.marginals_gap")
    assert gap["column"] == "sex"
    markdown = (found.run.path / "report.md").read_text(encoding="utf-8")
    assert "| gap between groups in single columns (sex) | " in markdown
    assert "| single columns of a group (sex=woman) | " in markdown
    assert "    * **Groups by sex**: single columns" in markdown, "it stands out"
    assert "\n    * **Detection**: " in markdown
    page = (found.run.path / "report.html").read_text(encoding="utf-8")
    assert '<li><b class="worse">Groups by sex</b>: single columns' in page
    assert "gap between groups in single columns" in page


def test_a_collapse_to_few_patients_is_among_what_is_told(evaluate: Evaluate) -> None:
    few = made(12, 2).sample(250, replace=True, random_state=0)
    found = evaluate("--json", "--predict", "ill", **tables(synthetic=few))
    said = found.facts["answers"]["How like real patients"].split("\n")
    (line,) = (text for text in said if text.startswith("Real patients with synthetic ones near"))
    assert line.endswith("That is further off than by chance.")
    assert sum(text.endswith("That is further off than by chance.") for text in said) <= 9


def test_columns_shown_to_be_different_are_told_from_undecided_ones(evaluate: Evaluate) -> None:
    given = tables(synthetic=made(250, 2).assign(b=lambda table: table["b"] + 2))
    found = evaluate("--json", **given)
    world = json.loads((found.run.path / "report.json").read_text())["worlds"][0]
    (said,) = (text for text in world["headline"][0]["details"] if "equivalence" in text)
    assert said.startswith("of 4 columns tested for equivalence shown to be different 1 (b)")
    assert re.search(r"undecided \d \(.*\) and equivalent \d$", said)


def test_a_column_that_a_release_leaves_empty_counts_as_not_tested(evaluate: Evaluate) -> None:
    found = evaluate("--json", **tables(synthetic=made(250, 2).assign(b=np.nan)))
    world = json.loads((found.run.path / "report.json").read_text())["worlds"][0]
    (said,) = (text for text in world["headline"][0]["details"] if "equivalence" in text)
    assert said.startswith("of 3 columns tested for equivalence")
    assert said.endswith("; not tested: b")
    assert "'b' is empty in 100 % of synthetic records, and in none of the real ones." in " ".join(
        found.err.split()
    )


def test_a_table_of_one_number_is_scored(evaluate: Evaluate) -> None:
    numbers = {"train": made(250, 0), "test": made(400, 1, start=1000), "synthetic": made(250, 2)}
    found = evaluate("--json", **{name: table[["a"]] for name, table in numbers.items()})
    assert found.status == 0, found.err
    assert found.row("marginals")["high"] < found.row("marginals", "uniform")["value"]


def test_measures_that_are_silent_for_one_reason_share_a_line(evaluate: Evaluate) -> None:
    found = evaluate("--json", **tables(synthetic=made(9, 2)))
    said = str(found.facts["answers"]["How like real patients"]).split("\n")
    because = "because 9 synthetic patients; this needs at least"
    three = "3 measures (associations, single columns and missing values)"
    assert said == [
        f"Nothing can be said about detection, {because} 30.",
        f"Nothing can be said about {three}, {because} 10.",
    ]
    assert str(found.facts["answers"]).count("othing can be said:") == 0


def test_all_records_that_come_are_attacked_and_not_more_than_trained_on_are_scored(
    evaluate: Evaluate,
) -> None:
    found = evaluate("--json", **tables(synthetic=made(600, 2)))
    assert found.row("marginals")["n"] == 400
    assert "Metrics look at 250 of the 600 synthetic records, drawn at random" in found.err
    few = evaluate("--json", "--records", "100", **tables())
    assert "Metrics look at 100 of the 250" in few.err
    assert few.row("marginals")["value"] != found.row("marginals")["value"]


def test_those_who_are_found_are_told_of_by_an_attack_that_finds_somebody(
    evaluate: Evaluate,
) -> None:
    found = evaluate("--json", **tables(synthetic=shuffled(made(250, 2))))
    world = json.loads((found.run.path / "report.json").read_text())["worlds"][0]
    assert found.row("verbatim.auc")["value"] == 0.5 > found.row("dcr.auc")["value"]
    assert world["exposed"]["attack"] == "dcr"
    assert "accuses as verbatim" not in str(world["exposed"]["sentences"])


def test_a_number_can_be_foreseen_and_what_is_not_named_is_not(evaluate: Evaluate) -> None:
    named = evaluate("--json", "--predict", "b", **tables())
    assert named.row("utility.r2", task="b")["value"] > 0.2
    silent = evaluate("--json", **tables())
    assert silent.row("utility")["status"] == "not applicable"
    assert "--predict" in silent.facts["answers"]["What they are good for"]


def followed(seed: int, start: int = 0, *, lives: float = 1.0, stays: float = 1.0) -> pd.DataFrame:
    """Patients with a follow-up that goes by one of their columns."""
    table = made(300, seed, start).drop(columns="ill")
    rng = np.random.default_rng(seed)
    event, end = rng.exponential(400 * np.exp(-table["a"])), rng.uniform(50, 900, len(table))
    event, end = lives * event, stays * end
    return table.assign(time=np.minimum(event, end).round(1), event=(event < end).astype(int))


def test_survival_in_a_single_table_is_foreseen(evaluate: Evaluate) -> None:
    given = {"train": followed(0), "test": followed(1, 1000), "synthetic": followed(2)}
    found = evaluate("--json", **given)
    assert found.status == 0, found.err
    assert found.row("utility.c_index", task="survival")["low"] > 0.55
    assert "C-index (event)" in found.facts["answers"]["What they are good for"]


@pytest.mark.parametrize(
    ("wrong", "curves"),
    [({"lives": 0.4}, "survival curves"), ({"stays": 2.0}, "curves of the end of follow-up")],
)
def test_wrong_survival_and_wrong_follow_up_are_the_first_thing_said(
    evaluate: Evaluate, wrong: Mapping[str, Any], curves: str
) -> None:
    given = {"train": followed(0), "test": followed(1, 1000), "synthetic": followed(2, **wrong)}
    said = evaluate("--json", **given).facts["answers"]["How like real patients"].split("\n")
    assert said[0].startswith(f"Distance of {curves}: ")
    assert said[0].endswith("That is further off than by chance.")
    assert sum(line.startswith("Distance of ") for line in said) == 2


def test_a_cohort_folder_has_numbers_for_every_hospital(
    evaluate: Evaluate, tmp_path: Path, made_up: Callable[[int, int], Cohort]
) -> None:
    cohort = made_up(300, 0)
    (tmp_path / "s.toml").write_text(schema_file(cohort.schema), encoding="utf-8")
    folders = {}
    for name, part in zip(
        ("train", "test", "synthetic"), np.split(cohort.patients, [100, 200]), strict=True
    ):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        for table in ("static", "visits", "codes", "outcome"):
            mine = getattr(cohort.take(part), table)
            if (name, table) == ("synthetic", "visits"):
                mine = mine.assign(day=5 * mine["day"])
            mine.to_csv(folders[name] / f"{table}.csv", index=False)
    found = evaluate("--json", "--schema", "s.toml", **folders)
    assert found.status == 0, found.err
    for site in ("north", "south"):
        assert found.row("marginals", site=site)["status"] == "done"
    assert found.row("marginals", site="worst")["status"] == "done"
    assert found.row("utility.c_index", task="survival")["status"] in ("done", "refused")
    text = (found.run.path / "report.md").read_text()
    assert "north" in text
    assert "a generator and a number of its own" not in text, "there is one release"
    titles = re.findall(r"^\| (single columns[^|]*) \|", text, re.MULTILINE)
    assert len(set(titles)) == 3
    assert [titles.count(title) for title in set(titles)] == [4, 4, 4]  # release, floor, controls
    rows = found.run.results()
    rows = rows[(rows["status"] == "done") & (rows["regime"] == "given")]
    whole = rows[rows["name"].isin(["marginals", "visits.count"])]
    assert {"", "north", "worst"} <= set(whole["site"])
    assert (whole["column"] != "").any()
    assert whole[["floor", "ceiling"]].notna().all(axis=None)
    likeness = found.facts["answers"]["How like real patients"]
    (silent,) = (line for line in likeness.split("\n") if "how often codes are recorded" in line)
    assert silent.startswith("Nothing can be said about ")
    assert ", because 4 codes among the real test patients" in silent
    first = likeness.split("\n")[0]
    assert first.startswith("Days "), "visits of the release lie five times as far apart"
    assert "the real training records reach" in first
    assert re.search(r"\nUnder “Every number” are \d+ more measures, ", likeness)
    assert likeness.count("\nThe scale from 0 to 1 flatters ") == 1
    assert likeness.split("\n")[-1].endswith("what real training records reach.")
    assert not re.search(r"\w@\w", str(found.facts["answers"])), "columns have names to be read"
    asked = evaluate("--schema", "s.toml", "--predict", "stage", **folders)
    assert (asked.status, asked.out) == (2, "")
    assert "--predict 'stage': it has 3 levels; expected two, or a number." in asked.err


def test_a_folder_without_a_schema_takes_what_is_to_be_foreseen(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    rng, folders = np.random.default_rng(5), {}
    for name, table in tables().items():
        assert isinstance(table, pd.DataFrame)
        static = table.rename_axis("patient").reset_index()
        # The sign of day 0 tells something; that of day 5 tells all, and must not be used.
        days = [static[["patient"]].assign(day=day, sign=static["ill"]) for day in (0, 5)]
        days[0]["sign"] += rng.normal(size=len(static))
        folders[name] = tmp_path / name
        folders[name].mkdir()
        static.drop(columns=["a", "b", "c"]).assign(x=rng.normal(size=len(static))).to_csv(
            folders[name] / "static.csv", index=False
        )
        pd.concat(days).to_csv(folders[name] / "visits.csv", index=False)
    found = evaluate("--json", "--predict", "ill", **folders)
    assert found.status == 0, found.err
    assert 0.65 < found.row("utility.auroc", task="ill")["value"] < 0.85
    assert "foreseen from the other static columns, and from visits and codes up to" in found.err
    folded = evaluate("--predict", "sign", **folders)
    assert "--predict 'sign': no such column is compared." in folded.err


WRONG: list[tuple[Mapping[str, Any], str, str]] = [
    ({"test": Path("train.csv")}, "", "--train and --test are both 'train.csv'."),
    ({"test": Path("gone.csv")}, "", "--test 'gone.csv': there is no such file or folder."),
    ({"test": made(50, 1, start=240)}, "", "10 patients are in train.csv and in test.csv"),
    ({"synthetic": made(60, 2).drop(columns="c")}, "", "synthetic.csv has no column 'c'"),
    ({"synthetic": made(60, 2)[:0]}, "", "--synthetic 'synthetic.csv' has no rows"),
    ({}, "--predict il", "--predict 'il': no such column is compared. Did you mean 'ill'?"),
    ({}, "--records 3", "--records is 3; expected at least 10."),
    ({}, "--schema gone.toml", "There is no file 'gone.toml'."),
    ({}, "--out taken", "--out 'taken': "),
]


@pytest.mark.parametrize(("other", "options", "problem"), WRONG)
def test_a_mistake_is_told_in_one_line(
    evaluate: Evaluate, tmp_path: Path, other: Mapping[str, Any], options: str, problem: str
) -> None:
    (tmp_path / "taken").touch()
    found = evaluate(*options.split(), **tables(**other))
    assert (found.status, found.out) == (2, "")
    assert problem in found.err
    assert found.err.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_three_levels_are_not_foreseen(evaluate: Evaluate) -> None:
    sizes = {"train": (250, 0), "test": (400, 1000), "synthetic": (250, 0)}
    made_of = {name: made(n, i, start) for i, (name, (n, start)) in enumerate(sizes.items())}
    three = {n: t.assign(c=t["c"].where(t["b"] < 1, "z")) for n, t in made_of.items()}
    found = evaluate("--predict", "c", **three)
    assert (found.status, found.out) == (2, "")
    assert "--predict 'c': it has 3 levels; expected two, or a number. Make a col" in found.err
    assert evaluate(train=made(5, 0)).err.startswith("fedbench: Missing option '--test'.")


def test_what_it_leaves_behind_makes_the_same_again(evaluate: Evaluate) -> None:
    found = evaluate("--json", "--predict", "ill", **tables())
    folder = found.run.path
    report = json.loads((folder / "report.json").read_text())
    command = report["again"]["command"].split()
    assert command[:3] == ["fedbench", "evaluate", "--schema"]
    again = evaluate(
        "--json", "--id", "patient", "--schema", str(folder / "schema.toml"), **tables()
    )
    assert again.status == 0, again.err
    pd.testing.assert_frame_equal(found.run.results(), again.run.results())
    page = (folder / "report.html").read_text()
    assert cli.main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text() == page
    for text in ("Three answers", "synthetic.csv", "How like real patients"):
        assert text in page
    for file in folder.rglob("*.parquet"):
        assert not pd.read_parquet(file).astype(str).isin(["p0", "p1000"]).any(axis=None), file


def test_the_terminal_shows_numbers_answers_and_report(evaluate: Evaluate) -> None:
    found = evaluate("--predict", "ill", **tables(synthetic=shuffled(made(250, 2)).assign(a=3.0)))
    assert found.out.startswith("Controls first\n")
    last = found.out.partition("\nHow like real patients\n")[0].split("\n\n")[-1]
    assert last.startswith("How the tables were read\n* "), "said at first, and scrolled away"
    assert "Of 'ill', '1' is the event that models foresee." in last
    for text in ("How like real patients\n", "What they are good for\n", "  a: a share of "):
        assert text in found.out
    assert found.out.strip().split("\n\n")[-1].startswith("Report: runs/evaluate-")


def test_the_test_patients_themselves_are_no_synthetic_records(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    test = made(200, 1, start=200)
    found = evaluate(train=made(200, 0), test=test, synthetic=test.sample(150, random_state=0))
    assert found.status == 2
    assert "150 patients of test.csv are released word for word, and of 0" in found.err
    assert not list(tmp_path.glob("runs/*"))


def test_the_reports_heading_is_one_sentence_after_the_other(evaluate: Evaluate) -> None:
    found = evaluate("--json", **tables())
    page = (found.run.path / "report.html").read_text(encoding="utf-8")
    assert "UTC. 250 synthetic patients scored per model. " in page
