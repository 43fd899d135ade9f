"""Suite files: TOML in, checked and frozen objects out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from fedbench.attack import Planting
from fedbench.errors import SpecError
from fedbench.federation.stopping import Stopping
from fedbench.federation.study import Choice, Start, contradiction, promised
from fedbench.kinds import ATTACKS, CODECS, DATASETS, GENERATORS, METRICS, PARTITIONERS, STRATEGIES
from fedbench.overrides import NAMED, Overrides, added, changed, narrowed, word
from fedbench.partition import Parts
from fedbench.planting import PLANTED
from fedbench.plugin import plain
from fedbench.tables import build, document, hint, named, read

__all__ = [
    "DatasetChoice",
    "GeneratorChoice",
    "Overrides",
    "Regime",
    "Scenario",
    "Suite",
    "additions",
    "bundled",
    "read_suite",
    "suite_of",
]

Regime = Literal["federated", "centralized", "local", "mixture"]
REGIMES: tuple[Regime, ...] = get_args(Regime)
Budget = Literal["pass-matched", "step-matched"]
Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = get_args(Device)

STANDARD = (
    "marginals",
    "associations",
    "missingness",
    "detection",
    "utility",
    "utilization",
    "communication",
)
FAST = ("dcr", "attribute")
AUDITED = (
    "verbatim",
    "trajectory",
    "fragment",
    "ratio",
    "density",
    "classifier",
    "surprise",
    "lookalike",
    "completion",
    "conditional",
    "linkage",
    "singling",
)
SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "metrics": {
        "standard": STANDARD,
        "full": (
            *STANDARD,
            "columns",
            "quality",
            "equivalence",
            "joint",
            "support",
            "adversarial",
            "visits",
            "codes",
            "rules",
            "effects",
            "survival",
            "augmentation",
            "forecast",
            "fairness",
            "latent_site",
            "size_bias",
            "compatibility",
            "forgetting",
            "agreement",
            "wallclock",
        ),
    },
    "attacks": {"fast": FAST, "audit": (*FAST, *AUDITED)},
}
"""Named sets of metrics and attacks."""

UNSAID: Mapping[str, Sequence[str]] = {"metrics": ["standard"], "attacks": ["fast"]}
"""What a suite asks that says nothing about it; an empty list asks nothing."""

LABELLED = ("datasets", "generator labels")

FORBID: Mapping[str, Any] = {"extra": "forbid"}

FILE_NAME = re.compile(r"\w[\w.+-]*")
"""Names that become part of a path."""

CHOICE = [entry.name for entry in fields(Choice)]

AS_WRITTEN = Overrides()

FEWEST_RECORDS = 10
FEWEST_REPLICATES, MOST_REPLICATES = 10, 100_000
MOST_ROUNDS = 1_000_000
MOST_RECORDS = 1_000_000_000
MOST_THREADS = 1_024
LARGEST = 2**63 - 1
"""The largest number that a column of results can hold."""


@dataclass(frozen=True, kw_only=True)
class DatasetChoice:
    """A dataset, how each site splits its patients, and which scenarios it is run in.

    The ``label`` stands for it in results: needed where a suite has two of one name, such as two
    tables of one's own. The random streams that deal patients have the name, not the label.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    label: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(
        default_factory=lambda: {"train": 0.5, "control": 0.2, "reference": 0.1}
    )
    scenarios: tuple[str, ...] = ()
    """Empty: all of the suite's."""

    def __post_init__(self) -> None:
        if self.label:
            _path_part("dataset label", self.label)

    @property
    def called(self) -> str:
        """What it is called in results."""
        return self.label or self.name

    @property
    def choice(self) -> Choice:
        """The plug-in and its settings."""
        return Choice(self.name, self.settings)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A named way for hospitals to work together."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    partition: Choice
    strategy: Choice = Choice("fedavg")
    codec: Choice = Choice("identity")
    privacy: Choice = Choice("none")
    rounds: int = 20
    participation: float = 1.0
    budget: Budget = "pass-matched"
    """Whether hospitals see each of their patients as often as centralized training does, or take
    as many optimizer steps."""
    stopping: Stopping | None = None
    """When training stops before its last round, and which round is kept; None: the last one."""
    start: Start = "common"
    """Whether hospitals begin with the same first parameters or each with its own."""

    def __post_init__(self) -> None:
        _path_part("scenario", self.name)
        what = f"The scenario {self.name!r}:"
        _within(f"{what} rounds", self.rounds, 1, MOST_ROUNDS)
        if not 0 < self.participation <= 1:
            raise SpecError(
                f"{what} participation is {self.participation}; "
                "expected a share above 0 and at most 1."
            )
        promised(self.privacy, f"{what} privacy")


@dataclass(frozen=True, kw_only=True)
class GeneratorChoice:
    """A generator with its settings and the label that stands for both."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if ":" in self.name and not all(self.name.partition(":")[::2]):
            raise SpecError(f"The generator {self.name!r} is no module:Class.")
        if not self.label:
            object.__setattr__(self, "label", word(self.name) or self.name)
        _path_part("generator label", self.label)
        if self.label.endswith(PLANTED):
            raise SpecError(
                f"The generator label {self.label!r} ends with {PLANTED!r}, which is kept for "
                "cells that were trained on canaries. Take another label."
            )

    @property
    def choice(self) -> Choice:
        """The plug-in and its settings."""
        return Choice(self.name, self.settings)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Everything a run is asked to do."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    datasets: tuple[DatasetChoice, ...]
    scenarios: tuple[Scenario, ...]
    generators: tuple[GeneratorChoice, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    regimes: tuple[Regime, ...] = REGIMES
    records: int = 2000
    metrics: tuple[Choice, ...] = ()
    attacks: tuple[Choice, ...] = ()
    device: Device = "auto"
    threads: int = 1
    replicates: int = 400

    def __post_init__(self) -> None:
        _path_part("suite", self.name)
        for kind in (*NAMED, "seeds", "regimes"):
            if not getattr(self, kind):
                raise SpecError(f"The suite {self.name!r} names no {kind}.")
        self._distinct()
        _within("records", self.records, FEWEST_RECORDS, MOST_RECORDS)
        _within("threads", self.threads, 1, MOST_THREADS)
        _within("replicates", self.replicates, FEWEST_REPLICATES, MOST_REPLICATES)
        for seed in self.seeds:
            _within("A seed", seed, 0, LARGEST)
        self.worlds()

    def worlds(self) -> Sequence[tuple[DatasetChoice, Scenario]]:
        """Return every dataset with every scenario it is run in."""
        known = {scenario.name: scenario for scenario in self.scenarios}
        found = []
        for dataset in self.datasets:
            for name in dataset.scenarios or known:
                if name not in known:
                    raise SpecError(
                        f"The dataset {dataset.called!r} asks for the scenario {name!r}."
                        f"{hint(name, known)} The suite has: {', '.join(known)}."
                    )
                found.append((dataset, known[name]))
        return found

    def check(self) -> Suite:
        """Build every plug-in once, so that a typo costs seconds and not hours.

        Raises:
            SpecError: a name or setting does not exist.
        """
        for dataset in self.datasets:
            DATASETS.build(dataset.name, dataset.settings)
            build(Parts, dataset.parts, where=f"The parts of {dataset.name!r}")
        for scenario in self.scenarios:
            PARTITIONERS.build(scenario.partition.name, scenario.partition.settings)
            strategy = STRATEGIES.build(scenario.strategy.name, scenario.strategy.settings)
            promise = promised(scenario.privacy, f"The scenario {scenario.name!r}: privacy")
            if wrong := contradiction(promise, strategy, scenario.participation):
                raise SpecError(f"The scenario {scenario.name!r}: {wrong}")
            CODECS.build(scenario.codec.name, scenario.codec.settings)
        for generator in self.generators:
            GENERATORS.build(generator.name, generator.settings)
        for metric in self.metrics:
            METRICS.build(metric.name, metric.settings)
        for attack in self.attacks:
            ATTACKS.build(attack.name, attack.settings)
        _ = self.planting
        return self

    @property
    def audits(self) -> tuple[Choice, ...]:
        """The attacks that plant canaries, and are asked about cells of their own."""
        return tuple(c for c in self.attacks if issubclass(ATTACKS.find(c.name), Planting))

    @property
    def planting(self) -> Planting | None:
        """The attack that plants for all of them; None where there is none.

        Raises:
            SpecError: they plant different canaries, which would take a training for each.
        """
        built = (ATTACKS.build(c.name, c.settings) for c in self.audits)
        found = [each for each in built if isinstance(each, Planting)]
        if len({(type(each).plant, each.canaries) for each in found}) > 1:
            told = ", ".join(
                f"{c.name} {p.canaries}" for c, p in zip(self.audits, found, strict=True)
            )
            raise SpecError(
                f"The suite {self.name!r} has audits that do not plant the same canaries ({told}). "
                "Give all of them the same number, or run them in suites of their own."
            )
        return found[0] if found else None

    def tables(self) -> dict[str, Any]:
        """Return the suite as TOML tables, every default and preset spelled out."""
        values: dict[str, Any] = {name: plain(value) for name, value in asdict(self).items()}
        for table, asked in zip(values["generators"], self.generators, strict=True):
            table["settings"] = plain(GENERATORS.completed(asked.name, asked.settings))
        arrays = {name: values.pop(name) for name in NAMED}
        for table in arrays["scenarios"]:
            if table["stopping"] is None:
                del table["stopping"]
        return {"suite": values, **arrays}

    def to_toml(self) -> str:
        """Return the resolved suite as a TOML file that reads back as the same suite."""
        tables = self.tables()
        head = {name: _brief(value) for name, value in tables["suite"].items()}
        return document({"suite": head}, {name: _brief(tables[name]) for name in NAMED})

    def _distinct(self) -> None:
        named: Sequence[tuple[str, Sequence[str | int]]] = [
            ("datasets", [dataset.called for dataset in self.datasets]),
            ("scenarios", [scenario.name for scenario in self.scenarios]),
            ("generator labels", [generator.label for generator in self.generators]),
            ("regimes", list(self.regimes)),
            ("seeds", list(self.seeds)),
            ("metrics", [word(metric.name) for metric in self.metrics]),
            ("attacks", [word(attack.name) for attack in self.attacks]),
            *((f"scenarios of {d.called!r}", list(d.scenarios)) for d in self.datasets),
        ]
        for kind, names in named:
            if twice := sorted({name for name in names if names.count(name) > 1}, key=str):
                advice = " Give one of them a label." if kind in LABELLED else ""
                raise SpecError(
                    f"The {kind} of the suite {self.name!r} are not distinct: "
                    f"{', '.join(map(repr, twice))}.{advice}"
                )


def bundled() -> dict[str, Path]:
    """Return the suites that come with fedbench."""
    folder = Path(str(files("fedbench") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(name: str, overrides: Overrides = AS_WRITTEN) -> Suite:
    """Read a bundled suite by name, or a TOML file by path.

    ``Suite.check``, which builds the plug-ins, is left to whoever runs it.

    Raises:
        SpecError: there is none, or it does not fit.
    """
    path = named(name, bundled(), "suite")
    suite = suite_of(narrowed(_shaped(read(path), str(path)), overrides), where=str(path))
    # On the resolved suite, so that one share of `parts` can be set and the others stay.
    for setting in overrides.settings:
        suite = suite_of(changed(suite.tables(), setting), where=f"--set {setting}")
    return suite


def additions(name: str, overrides: Overrides) -> Sequence[str]:
    """Return what is asked for that the suite itself does not have, in words.

    Raises:
        SpecError: there is no such suite.
    """
    path = named(name, bundled(), "suite")
    return added(_shaped(read(path), str(path)), overrides)


def suite_of(tables: Mapping[str, Any], where: str) -> Suite:
    """Return the suite these TOML tables describe.

    Raises:
        SpecError: they do not fit; the message starts with ``where``.
    """
    _shaped(tables, where)
    head = dict(tables.get("suite", {}))
    if lost := sorted(set(head) & set(NAMED)):
        raise SpecError(f"{where}: write {lost[0]!r} as [[{lost[0]}]], outside of [suite].")
    for kind in SETS:
        asked = head.get(kind, UNSAID[kind])
        head[kind] = [asdict(choice) for choice in _choices(asked, kind, where)]
    values = {
        **head,
        "datasets": [_plugin(t, DatasetChoice, where) for t in tables.get("datasets", [])],
        "scenarios": [_scenario(table, where) for table in tables.get("scenarios", [])],
        "generators": [_plugin(t, GeneratorChoice, where) for t in tables.get("generators", [])],
    }
    return build(Suite, values, where)


def _shaped(tables: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    known = ("suite", *NAMED)
    for name, found in tables.items():
        if name not in known:
            raise SpecError(
                f"{where}: there is no table {name!r}.{hint(name, known)} "
                f"A suite has: {', '.join(known)}."
            )
        if name == "suite" and not isinstance(found, Mapping):
            raise SpecError(f"{where}: 'suite' must be a table, [suite].")
        if name != "suite" and not (
            isinstance(found, list) and all(isinstance(table, Mapping) for table in found)
        ):
            raise SpecError(f"{where}: {name!r} must be a list of tables, [[{name}]].")
    return tables


def _plugin(table: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    """Tell a plug-in's own settings from what the suite says about it."""
    if not isinstance(inner := table.get("settings", {}), Mapping):
        raise SpecError(f"{where}: the settings of {table.get('name')!r} are no table: {inner!r}.")
    own = {entry.name for entry in fields(kind)} - {"settings"}
    values = {key: value for key, value in table.items() if key in own}
    settings = {k: v for k, v in table.items() if k not in own and k != "settings"}
    return {**values, "settings": {**inner, **settings}}


def _scenario(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = dict(table)
    for name in ("partition", "strategy", "codec", "privacy"):
        if name in values:
            place = f"{where}: the {name} of the scenario {table.get('name', '')!r}"
            values[name] = asdict(_choice(values[name], place))
    return values


def _choices(found: Any, kind: str, where: str) -> Sequence[Choice]:
    """Return what a list of names, named sets and tables stands for, each once."""
    if not isinstance(found, list):
        raise SpecError(f"{where}: {kind} must be a list of names or tables, found {found!r}.")
    chosen: list[Choice] = []
    for item in found:
        names = SETS[kind].get(item) if isinstance(item, str) else None
        more = [Choice(name) for name in names or ()] or [_choice(item, f"{where}: {kind}")]
        chosen += [choice for choice in more if choice not in chosen]
    return chosen


def _choice(found: Any, where: str) -> Choice:
    if isinstance(found, str):
        return Choice(found)
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise SpecError(f"{where}: expected a name or a table with a name, found {found!r}.")
    return Choice(found["name"], _plugin(found, Choice, where)["settings"])


def _brief(value: Any) -> Any:
    """Write settings beside the name they belong to, and a bare name where there are none."""
    match value:
        case Mapping():
            table = {key: _brief(item) for key, item in value.items() if key != "settings"}
            settings = value.get("settings", {})
            if {*settings} & {"settings", "parts", "scenarios", "label", *table}:
                return {**table, "settings": settings}
            return table["name"] if list(value) == CHOICE and not settings else table | settings
        case list() | tuple():
            return [_brief(item) for item in value]
    return value


def _within(what: str, found: int, least: int, most: int) -> None:
    if found < least:
        raise SpecError(f"{what} is {found}; expected at least {least}.")
    if found > most:
        raise SpecError(f"{what} is {found}; expected at most {most}.")


def _path_part(what: str, name: str) -> None:
    if not FILE_NAME.fullmatch(name):
        raise SpecError(
            f"The {what} {name!r} becomes part of a path: use letters, digits, '.', '+', '-' "
            "and '_', and start with a letter or digit."
        )
