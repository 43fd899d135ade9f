from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbench.config import (
    REGIMES,
    SETS,
    DatasetChoice,
    GeneratorChoice,
    Overrides,
    Scenario,
    Suite,
    additions,
    bundled,
    read_suite,
    suite_of,
)
from fedbench.errors import SpecError
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice
from fedbench.overrides import seeds_of
from fedbench.partition import Parts
from fedbench.tables import document, literal

SMALL = """
[suite]
name = "small"
metrics = ["standard", "marginals"]

[[datasets]]
name = "opt"
scenarios = ["clinics"]
parts = { train = 0.5, control = "test" }

[[datasets]]
name = "pbcseq"
scenarios = ["mixed"]

[[scenarios]]
name = "clinics"
partition = { name = "natural" }

[[scenarios]]
name = "mixed"
partition = { name = "iid", sites = 3 }
rounds = 2

[[generators]]
name = "independent"

[[generators]]
name = "tvae"
latent = 4

[[generators]]
name = "tvae"
label = "wide"
latent = 64
"""


@pytest.fixture
def small(tmp_path: Path) -> str:
    return written(tmp_path, SMALL)


def written(folder: Path, text: str) -> str:
    (folder / "small.toml").write_text(text)
    return str(folder / "small.toml")


def refusal(suite: str, **asked: Any) -> str:
    """What is said about this suite, without the path that every such message starts with."""
    with pytest.raises(SpecError) as caught:
        read_suite(suite, Overrides(**asked)).check()
    return str(caught.value).removeprefix(f"{suite}: ")


# Suites that come with fedbench


@pytest.mark.parametrize("name", ["quick", "smoke"])
def test_a_bundled_suite_can_be_built(name: str) -> None:
    assert read_suite(name).check().name == name
    assert name in bundled()


def test_every_dataset_of_quick_has_a_scenario_of_its_own() -> None:
    worlds = [(dataset.name, scenario.name) for dataset, scenario in read_suite("quick").worlds()]
    assert worlds == [("opt", "clinics"), ("nafld", "four-unequal")]


# Reading


def test_a_suite_means_what_its_file_says(small: str) -> None:
    suite = read_suite(small).check()
    assert suite.scenarios[1].partition == Choice("iid", {"sites": 3})
    assert suite.generators[2] == GeneratorChoice(
        name="tvae", label="wide", settings={"latent": 64}
    )
    assert [metric.name for metric in suite.metrics].count("marginals") == 1
    assert (suite.seeds, suite.regimes) == ((0, 1, 2), REGIMES)


def test_a_resolved_suite_states_the_numbers_of_a_preset(tmp_path: Path) -> None:
    asked = SMALL.replace("latent = 64", 'preset = "gpu"\nlatent = 9')
    suite = read_suite(written(tmp_path, asked)).check()
    resolved = read_suite(written(tmp_path, suite.to_toml()))
    assert resolved.generators[2].settings == {"hidden": 512, "latent": 9}
    unknown = written(tmp_path, asked.replace('"gpu"', '"tpu"'))
    assert "There is no preset 'tpu'. There is: cpu, gpu." in refusal(unknown)


def test_a_suite_that_does_not_say_what_it_asks_asks_the_usual(tmp_path: Path) -> None:
    quiet = read_suite(
        written(tmp_path, SMALL.replace('metrics = ["standard", "marginals"]\n', ""))
    )
    assert [metric.name for metric in quiet.metrics] == [*SETS["metrics"]["standard"]]
    assert [attack.name for attack in quiet.attacks] == [*SETS["attacks"]["fast"]]
    nothing = read_suite(
        written(tmp_path, quiet.to_toml()), Overrides(settings=("suite.attacks=[]",))
    )
    assert not nothing.attacks
    assert read_suite(written(tmp_path, nothing.to_toml())) == nothing


def test_a_dataset_that_names_no_scenario_is_run_in_all(small: str) -> None:
    suite = read_suite(small, Overrides(settings=("pbcseq.scenarios=[]",)))
    assert [(d.name, s.name) for d, s in suite.worlds()] == [
        ("opt", "clinics"),
        ("pbcseq", "clinics"),
        ("pbcseq", "mixed"),
    ]


@pytest.mark.parametrize("name", [*bundled()])
def test_a_written_suite_reads_back_the_same(name: str, tmp_path: Path) -> None:
    suite = read_suite(name)
    assert read_suite(written(tmp_path, suite.to_toml())) == suite


NAMES = st.sampled_from(["tvae", "dp-1.0", "é", "x+y", "7_"])
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=3,
)
SETTINGS = st.dictionaries(
    st.sampled_from(["name", "settings", "parts", "label", "by", "a.b", ""]),
    st.sampled_from([1, -0.5, 'a\\b"\n\x7f\U0001f600', [], {}, [{"c": True}], {"name": "d"}]),
    max_size=2,
)
CHOICES = st.builds(Choice, NAMES, SETTINGS)


@st.composite
def suites(draw: st.DrawFn) -> Suite:
    def named() -> list[str]:
        return draw(st.lists(NAMES, unique=True, min_size=1, max_size=2))

    scenarios = tuple(
        Scenario(
            name=name,
            partition=draw(CHOICES),
            strategy=draw(CHOICES),
            rounds=draw(st.integers(1, 99)),
            participation=draw(st.floats(0.01, 1)),
            stopping=draw(st.sampled_from([None, Stopping(), Stopping(share=0.25, every=2)])),
            start=draw(st.sampled_from(["common", "site"])),
        )
        for name in named()
    )
    return Suite(
        name=draw(NAMES),
        scenarios=scenarios,
        datasets=tuple(
            DatasetChoice(
                name=name,
                settings=draw(SETTINGS),
                scenarios=draw(st.sampled_from([(), (scenarios[0].name,)])),
            )
            for name in named()
        ),
        generators=tuple(
            GeneratorChoice(name=draw(NAMES), label=label, settings=draw(SETTINGS))
            for label in named()
        ),
        seeds=tuple(draw(st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=1, max_size=4))),
        metrics=tuple(Choice(name) for name in draw(st.lists(NAMES, unique=True, max_size=3))),
        records=draw(st.integers(10, 10**9)),
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(suites())
def test_any_suite_reads_back_the_same(suite: Suite) -> None:
    assert suite_of(tomllib.loads(suite.to_toml()), where="") == suite


@settings(deadline=None)
@given(st.dictionaries(st.text(), VALUES))
def test_any_value_is_written_as_toml(value: dict[str, Any]) -> None:
    assert tomllib.loads(document({"it": {"is": value}}, {}))["it"]["is"] == value


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("clinics.stopping.share=0", "'scenarios.clinics.stopping.share' is 0; expected"),
        ("clinics.stopping.patience=0", "expected at least 1"),
        ("clinics.stopping.waits=2", "'scenarios.clinics.stopping.waits' is not known"),
        ("clinics.start=own", "expected 'common' or 'site'"),
    ],
)
def test_when_training_stops_is_checked(setting: str, problem: str) -> None:
    with pytest.raises(SpecError, match=re.escape(problem)):
        read_suite("smoke", Overrides(settings=(setting,)))


def test_part_of_when_training_stops_can_be_set() -> None:
    (scenario,) = read_suite(
        "smoke", Overrides(settings=("clinics.stopping.every=5", "clinics.start=site"))
    ).scenarios
    assert scenario.stopping == Stopping(every=5)
    assert scenario.start == "site"


def test_none_is_left_out() -> None:
    assert literal({"a": None, "b": 1}) == "{ b = 1 }"


# Mistakes in a file


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[suite]", "[suit]", "there is no table 'suit'. Did you mean 'suite'? "),
        ("[suite]", "[[suite]]", "'suite' must be a table, [suite]."),
        ("[suite]", "[suite]\nseeds=[]", "The suite 'small' names no seeds."),
        ("[suite]", "[suite]\nseeds=[0, 0]", "The seeds of the suite 'small' are not distinct: 0."),
        ("[suite]", "[suite]\nseeds=[-1]", "A seed is -1; expected at least 0."),
        ("[suite]", "[suite]\nseeds=['0']", "'seeds.0' is '0'; expected a valid integer."),
        ("[suite]", "[suite]\nseeds=[true]", "'seeds.0' is True; expected a valid integer."),
        ("[suite]", "[suite]\nrecords=-5", "records is -5; expected at least 10."),
        ("[suite]", "[suite]\nseeds=[9223372036854775808]", "A seed is 9223372036854775808; expec"),
        ("[suite]", "[suite]\nseeds=0", "'seeds' is 0; expected a list."),
        ("[suite]", "[suite]\nthreads=9999", "threads is 9999; expected at most 1024."),
        ("[suite]", "[suite]\nrecords='many'", "'records' is 'many'; expected a valid integer."),
        ("[suite]", "[suite]\nthreads=0", "threads is 0; expected at least 1."),
        ("[suite]", "[suite]\nreplicates=1", "replicates is 1; expected at least 10."),
        ("[suite]", "[suite]\nrecrods=9", "'recrods' is not known. Did you mean 'records'? "),
        ("[suite]", "[suite]\ndatasets=[]", "write 'datasets' as [[datasets]], outside of [suite]"),
        (
            "[suite]",
            "[suite]\nregimes=['fedrated']",
            (
                "'regimes.0' is 'fedrated'; expected 'federated', 'centralized', 'local' or "
                "'mixture'. Did you mean 'federated'?"
            ),
        ),
        ("[suite]", "[suite]\nattacks=3", "attacks must be a list of names or tables, found 3."),
        ("[suite]", "[suite]\nattacks=[3]", "attacks: expected a name or a table with a name"),
        ('name = "small"', "", "'name' is missing."),
        ('name = "small"', 'name = "../small"', "The suite '../small' becomes part of a path:"),
        ('"wide"', '"a/b"', "The generator label 'a/b' becomes part of a path:"),
        ('name = "mixed"', 'name = "a b"', "The scenario 'a b' becomes part of a path:"),
        (
            'label = "wide"',
            "",
            (
                "The generator labels of the suite 'small' are not distinct: 'tvae'. "
                "Give one of them a label."
            ),
        ),
        ('name = "pbcseq"', 'name = "opt"', "The datasets of the suite 'small' are not distinct:"),
        (
            '["mixed"]',
            '["mixd"]',
            (
                "The dataset 'pbcseq' asks for the scenario 'mixd'. Did you mean 'mixed'? "
                "The suite has: clinics, mixed."
            ),
        ),
        ("rounds = 2", "rounds = 0", "The scenario 'mixed': rounds is 0; expected at least 1."),
        ("latent = 64", "settings = 3", "the settings of 'tvae' are no table: 3."),
        (
            '"standard", "marginals"',
            '"standard", { name = "marginals", bins = 5 }',
            "The metrics of the suite 'small' are not distinct: 'marginals'.",
        ),
        ("rounds = 2", "rounds = 2.5", "'scenarios.mixed.rounds' is 2.5; expected a valid integer"),
        ("rounds = 2", "participation = 0", "The scenario 'mixed': participation is 0.0; expected"),
        ("rounds = 2", "round = 2", "'scenarios.mixed.round' is not known. Did you mean 'rounds'?"),
        (
            "rounds = 2",
            'privacy = { name = "dp-sgd", epsilon = 1.0 }',
            "The scenario 'mixed': privacy 'dp-sgd' is not known; expected one of 'none', 'patien",
        ),
        (
            "rounds = 2",
            'privacy = { name = "patient", epsilon = 0 }',
            "The scenario 'mixed': privacy: 'epsilon' is 0; expected more than 0",
        ),
        (
            "rounds = 2",
            'strategy = "scaffold"\nprivacy = { name = "patient", epsilon = 1 }',
            "The scenario 'mixed': Scaffold sends exact gradients of a hospital, which",
        ),
        (
            "rounds = 2",
            'privacy = "patient"',
            "The scenario 'mixed': privacy: 'epsilon' is missing.",
        ),
        ('partition = { name = "natural" }', "", "'scenarios.clinics.partition' is missing."),
        (
            'partition = { name = "natural" }',
            "partition = { sites = 3 }",
            "the partition of the scenario 'clinics': expected a name or a table with a name",
        ),
        ("train = 0.5", "train = 1.5", "The parts of 'opt': The shares of train, control and"),
        (
            "train = 0.5",
            "trian = 0.5",
            "The parts of 'opt': 'trian' is not known. Did you mean 'train'?",
        ),
        ("train = 0.5", "train = nan", "The parts of 'opt': The shares of train, control and"),
        ("train = 0.5", 'train = "x"', "The parts of 'opt': 'train' is 'x'; expected a valid"),
        ('"test"', "0.6", "The parts of 'opt': The shares of train, control and reference must"),
        ('name = "natural"', 'name = "natrual"', "There is no 'natrual' in fedbench.partitioners."),
        ("latent = 64", "latnt = 64", "'tvae' in fedbench.baselines: There is no setting 'latnt'."),
        ("sites = 3", 'sites = "3"', "'iid' in fedbench.partitioners: 'sites' is '3'; expected a"),
        ("latent = 64", "latent = 0", "'tvae' in fedbench.baselines: 'latent' is 0; expected at"),
        ("latent = 64", "passes = -1", "'tvae' in fedbench.baselines: 'passes' is -1; expected a"),
        (
            "latent = 64",
            "learning_rate = inf",
            "'tvae' in fedbench.baselines: 'learning_rate' is",
        ),
        (
            "sites = 3",
            "sites = 0",
            "'iid' in fedbench.partitioners: 'sites' is 0; expected at lea",
        ),
        ('"marginals"', '"marginal"', "There is no 'marginal' in fedbench.metrics. Did you mean"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in SMALL
    assert refusal(written(tmp_path, SMALL.replace(old, new, 1))).startswith(problem)


def test_a_table_where_a_list_of_tables_belongs(tmp_path: Path) -> None:
    problem = refusal(written(tmp_path, "[scenarios.clinics]\nrounds = 2\n"))
    assert problem == "'scenarios' must be a list of tables, [[scenarios]]."


def test_a_syntax_error_has_its_line(tmp_path: Path) -> None:
    text = refusal(written(tmp_path, "[suite]\nname = small\n"))
    assert "small.toml is not a TOML file that can be read: " in text
    assert "line 2" in text


def test_what_is_no_text_is_no_suite(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(b"\xff\xfe")
    assert "is not a TOML file that can be read" in refusal(str(tmp_path / "small.toml"))


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    assert refusal("quik").startswith("There is no suite 'quik'. Did you mean 'quick'? ")
    assert refusal(str(tmp_path)).startswith(f"'{tmp_path}' is a folder; expected a TOML file")
    assert "--resume" not in refusal(str(tmp_path))
    (tmp_path / "cells").mkdir()
    assert f"`fedbench run --resume {tmp_path}`" in refusal(str(tmp_path))


# Narrowing and changing


def narrowed(small: str, **asked: Any) -> Suite:
    return read_suite(small, Overrides(**asked)).check()


def test_the_command_line_narrows(small: str) -> None:
    suite = narrowed(
        small, datasets=("opt",), generators=("wide",), seeds=(7,), regimes=("local",), device="cpu"
    )
    assert [(d.name, s.name) for d, s in suite.worlds()] == [("opt", "clinics")]
    assert [g.settings for g in suite.generators] == [{"latent": 64}]
    assert (suite.seeds, suite.regimes, suite.device) == ((7,), ("local",), "cpu")


def test_a_label_is_meant_before_a_name(small: str) -> None:
    assert [g.label for g in narrowed(small, generators=("tvae",)).generators] == ["tvae"]
    Path(small).write_text(SMALL.replace("latent = 4", 'label = "slim"'))
    assert [g.label for g in narrowed(small, generators=("slim",)).generators] == ["slim"]
    assert [g.label for g in narrowed(small, generators=("tvae",)).generators] == ["slim", "wide"]


@pytest.mark.parametrize("asked", ["copula", "Copula", "fedbench.baselines.copula:Copula"])
def test_a_class_is_found_by_the_label_that_reports_show(small: str, asked: str) -> None:
    name = 'name = "fedbench.baselines.copula:Copula"'
    Path(small).write_text(f"{SMALL}\n[[generators]]\n{name}\n")
    (found,) = narrowed(small, generators=(asked,)).generators
    assert (found.label, found.choice.name.partition(":")[2]) == ("copula", "Copula")


def test_a_class_is_found_beside_its_label(small: str) -> None:
    name = 'name = "fedbench.baselines.copula:Copula"\nlabel = "ours"'
    Path(small).write_text(f"{SMALL}\n[[generators]]\n{name}\n")
    asked = ("ours", "Copula", "copula", "fedbench.baselines.copula:Copula")
    assert [g.label for g in narrowed(small, generators=asked).generators] == ["ours"]


def test_what_is_added_is_said(small: str) -> None:
    asked = Overrides(datasets=("opt", "nafld"), generators=("wide", "its:Own"), scenarios=("no",))
    assert additions(small, asked) == ["dataset 'nafld'", "scenario 'no'", "generator 'its:Own'"]


def test_what_a_suite_lacks_can_be_added(small: str) -> None:
    suite = narrowed(small, datasets=("nafld",), generators=("copula",), scenarios=("mixed",))
    assert [(d.name, s.name) for d, s in suite.worlds()] == [("nafld", "mixed")]
    assert suite.generators == (GeneratorChoice(name="copula"),)


def test_a_scenario_keeps_only_the_datasets_that_are_run_in_it(small: str) -> None:
    assert [d.name for d in narrowed(small, scenarios=("mixed",)).datasets] == ["pbcseq"]


def test_asking_twice_is_asking_once(small: str) -> None:
    assert len(narrowed(small, datasets=("opt", "opt")).datasets) == 1


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"scenarios": ("clinic",)}, "There is no scenario 'clinic' in the suite. Did you mean"),
        ({"datasets": ("opt",), "scenarios": ("mixed",)}, "In this suite 'opt' is not run in mixe"),
        ({"datasets": ("optt",)}, "There is no dataset 'optt' in the suite. Did you mean 'opt'?"),
        ({"generators": ("wde",)}, "There is no generator 'wde' in the suite. Did you mean 'wide'"),
        ({"generators": ("cpula",)}, "There is no generator 'cpula' in the suite. Did you mean 'c"),
        ({"regimes": ("alone",)}, "'regimes.0' is 'alone'; expected 'federated', 'centralized', "),
        ({"device": "gpu"}, "'device' is 'gpu'; expected 'auto', 'cpu' or 'cuda'."),
    ],
)
def test_asking_for_what_is_not_there(small: str, asked: dict[str, Any], problem: str) -> None:
    assert refusal(small, **asked).startswith(problem)


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("suite.records=500", lambda s: s.records, 500),
        ("suite.device=cpu", lambda s: s.device, "cpu"),
        ("tvae.latent=8", lambda s: s.generators[1].settings, {"latent": 8}),
        ("wide.latent=8", lambda s: s.generators[2].settings, {"latent": 8}),
        ("mixed.partition.sites=5", lambda s: s.scenarios[1].partition.settings, {"sites": 5}),
        ("mixed.partition=natural", lambda s: s.scenarios[1].partition, Choice("natural")),
        ("clinics.rounds=3", lambda s: s.scenarios[0].rounds, 3),
        ("clinics.participation=1", lambda s: s.scenarios[0].participation, 1.0),
        ("suite.metrics=['marginals']", lambda s: s.metrics, (Choice("marginals"),)),
    ],
)
def test_a_setting_is_changed(small: str, setting: str, where: Any, value: object) -> None:
    assert where(narrowed(small, settings=(setting,))) == value


def test_setting_one_share_leaves_the_others(small: str) -> None:
    before, after = (
        Parts(**narrowed(small, settings=settings).datasets[1].parts)
        for settings in ((), ("pbcseq.parts.train=0.3",))
    )
    assert after == Parts(train=0.3, control=before.control, reference=before.reference)


def test_settings_are_carried_out_in_order(small: str) -> None:
    suite = narrowed(small, settings=("suite.records=20", "suite.records=30"))
    assert suite.records == 30


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("suite.records=abc", "--set suite.records=abc: 'records' is 'abc'; expected a valid int"),
        ("suite.records=1", "--set suite.records=1: records is 1; expected at least 10."),
        ("suite.recods=99", "--set suite.recods=99: 'recods' is not known. Did you mean 'records'"),
        ("records=5", "--set 'records=5' is not of the form a.b=value."),
        ("suite.records", "--set 'suite.records' is not of the form a.b=value."),
        ("suite..a=1", "--set 'suite..a=1' is not of the form a.b=value."),
        ("tvea.latent=1", "--set 'tvea.latent=1': nothing in the suite is called 'tvea'. Did you"),
        ("clinics.rounds.x=1", "--set 'clinics.rounds.x=1': 'rounds' is 20 and has nothing in it."),
        ("tvae.latnt=1", "'tvae' in fedbench.baselines: There is no setting 'latnt'. Did you mean"),
        ("suite.seeds=[]", "--set suite.seeds=[]: The suite 'small' names no seeds."),
    ],
)
def test_a_setting_that_cannot_be_changed(small: str, setting: str, problem: str) -> None:
    assert refusal(small, settings=(setting,)).startswith(problem)


# Seeds


@given(st.lists(st.integers(0, 999), min_size=1, unique=True))
def test_seeds_are_read_as_written(seeds: list[int]) -> None:
    assert seeds_of(", ".join(map(str, seeds))) == tuple(seeds)


@pytest.mark.parametrize("text", ["", "a", "1,", "4-1", "-1", "1.5", "0-", "0-99999999", "1 2"])
def test_what_is_no_list_of_seeds(text: str) -> None:
    with pytest.raises(SpecError, match="--seeds"):
        seeds_of(text)
