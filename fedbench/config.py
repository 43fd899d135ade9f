"""Suite files: TOML in, checked and frozen objects out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from fedbench.errors import SpecError
from fedbench.federation.study import Choice
from fedbench.kinds import ATTACKS, CODECS, DATASETS, GENERATORS, METRICS, PARTITIONERS, STRATEGIES
from fedbench.partition import Parts

__all__ = [
    "DatasetChoice",
    "GeneratorChoice",
    "Overrides",
    "Regime",
    "Scenario",
    "Suite",
    "bundled",
    "read_suite",
]

Regime = Literal["federated", "centralized", "local", "mixture"]
REGIMES: tuple[Regime, ...] = ("federated", "centralized", "local", "mixture")

SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "metrics": {
        "standard": (
            "marginals",
            "associations",
            "missingness",
            "detection",
            "utility",
            "utilization",
        )
    },
    "attacks": {"fast": ("dcr", "attribute")},
}
"""Named sets of metrics and attacks."""

T = TypeVar("T")
FORBID: Mapping[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class DatasetChoice:
    """A dataset, how each site splits its patients, and which scenarios it is run in."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, Any] = field(
        default_factory=lambda: {"train": 0.5, "control": 0.2, "reference": 0.1}
    )
    scenarios: tuple[str, ...] = ()

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

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SpecError(f"scenario {self.name!r}: rounds is {self.rounds}; expected >= 1.")
        if not 0 < self.participation <= 1:
            raise SpecError(
                f"scenario {self.name!r}: participation is {self.participation}; "
                "expected a share in (0, 1]."
            )
        if self.privacy.name != "none":
            raise SpecError(
                f"scenario {self.name!r}: privacy {self.privacy.name!r} is not available; "
                "expected 'none'."
            )


@dataclass(frozen=True, kw_only=True)
class GeneratorChoice:
    """A generator with its settings and the label that stands for both."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = FORBID

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name.rpartition(":")[2].lower() or self.name)

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
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    replicates: int = 400

    def __post_init__(self) -> None:
        for kind in ("datasets", "scenarios", "generators", "seeds", "regimes"):
            if not getattr(self, kind):
                raise SpecError(f"The suite {self.name!r} names no {kind}.")
        for kind, names in (
            ("scenarios", [s.name for s in self.scenarios]),
            ("generator labels", [g.label for g in self.generators]),
            ("seeds", list(self.seeds)),
        ):
            if len(set(names)) != len(names):
                raise SpecError(f"The {kind} of suite {self.name!r} are not distinct: {names}.")
        if self.records < 10:
            raise SpecError(f"records is {self.records}; expected at least 10.")

    def worlds(self) -> Sequence[tuple[DatasetChoice, Scenario]]:
        """Return every dataset with every scenario it is run in."""
        known = {scenario.name: scenario for scenario in self.scenarios}
        found = []
        for dataset in self.datasets:
            for name in dataset.scenarios or known:
                if name not in known:
                    raise SpecError(
                        f"The dataset {dataset.name!r} asks for the scenario {name!r}; "
                        f"the suite has {', '.join(known)}."
                    )
                found.append((dataset, known[name]))
        return found

    def check(self) -> Suite:
        """Build every plug-in once, so that a typo costs seconds and not hours.

        Raises:
            SpecError: a name or setting does not exist.
        """
        for dataset, scenario in self.worlds():
            DATASETS.build(dataset.name, dataset.settings)
            Parts(**dataset.parts) if not _check_parts(dataset) else None
            PARTITIONERS.build(scenario.partition.name, scenario.partition.settings)
            STRATEGIES.build(scenario.strategy.name, scenario.strategy.settings)
            CODECS.build(scenario.codec.name, scenario.codec.settings)
        for generator in self.generators:
            GENERATORS.build(generator.name, generator.settings)
        for metric in self.metrics:
            METRICS.build(metric.name, metric.settings)
        for attack in self.attacks:
            ATTACKS.build(attack.name, attack.settings)
        return self

    def tables(self) -> dict[str, Any]:
        """Return the suite as TOML tables, every default spelled out."""
        values = asdict(self)
        lists = ("datasets", "scenarios", "generators")
        return {
            "suite": {k: v for k, v in values.items() if k not in lists},
            **{name: [_flat(table) for table in values[name]] for name in lists},
        }

    def to_toml(self) -> str:
        """Return the resolved suite as a TOML file that reads back as the same suite."""
        tables = self.tables()
        lines = ["[suite]", *_lines(tables["suite"])]
        for name in ("datasets", "scenarios", "generators"):
            for table in tables[name]:
                lines += ["", f"[[{name}]]", *_lines(table)]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line narrows or changes."""

    datasets: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    regimes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    device: str = ""
    settings: tuple[str, ...] = ()
    """``a.b=1``: ``suite.records=500``, or ``tvae.latent=8`` by name or label."""


def bundled() -> dict[str, Path]:
    """Return the suites that come with fedbench."""
    folder = Path(str(files("fedbench") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_suite(name: str, overrides: Overrides = Overrides()) -> Suite:
    """Read a bundled suite by name, or a TOML file by path.

    Raises:
        SpecError: there is none, or it does not fit.
    """
    known = bundled()
    path = known.get(name) or Path(name)
    if not path.is_file():
        raise SpecError(
            f"There is no suite {name!r}: it is neither a file nor one of {', '.join(known)}."
        )
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not a TOML file: {error}.") from None
    return suite_of(_overridden(tables, overrides), where=str(path))


def suite_of(tables: Mapping[str, Any], where: str) -> Suite:
    """Return the suite these TOML tables describe."""
    known = {"suite", "datasets", "scenarios", "generators"}
    if unknown := sorted(set(tables) - known):
        raise SpecError(
            f"{where}: unknown table {unknown[0]!r}; known are {', '.join(sorted(known))}."
        )
    head = dict(tables.get("suite", {}))
    for kind in ("metrics", "attacks"):
        head[kind] = [asdict(c) for c in _choices(head.get(kind, []), kind, where)]
    values = {
        **head,
        "datasets": [_split(t, DatasetChoice, where) for t in _list(tables, "datasets", where)],
        "scenarios": [_scenario(t, where) for t in _list(tables, "scenarios", where)],
        "generators": [_split(t, GeneratorChoice, where) for t in _list(tables, "generators", where)],
    }
    return _validated(Suite, values, where)


def _overridden(tables: dict[str, Any], asked: Overrides) -> dict[str, Any]:
    tables = {**tables, "suite": dict(tables.get("suite", {}))}
    for kind, wanted in (
        ("datasets", asked.datasets),
        ("generators", asked.generators),
        ("scenarios", asked.scenarios),
    ):
        if wanted:
            tables[kind] = [_wanted(tables.get(kind, []), name, kind) for name in wanted]
    if asked.scenarios:
        tables["datasets"] = [
            {**t, "scenarios": [s for s in t["scenarios"] if s in asked.scenarios]}
            if t.get("scenarios")
            else t
            for t in tables.get("datasets", [])
        ]
        tables["datasets"] = [t for t in tables["datasets"] if t.get("scenarios") != []]
    for name in ("regimes", "seeds", "device"):
        if value := getattr(asked, name):
            tables["suite"][name] = list(value) if isinstance(value, tuple) else value
    for setting in asked.settings:
        _set(tables, setting)
    return tables


def _wanted(tables: Sequence[Mapping[str, Any]], name: str, kind: str) -> Mapping[str, Any]:
    for table in tables:
        if name in (table.get("name"), table.get("label")):
            return table
    if kind == "scenarios":
        names = ", ".join(str(table.get("name")) for table in tables)
        raise SpecError(f"There is no scenario {name!r} in the suite; it has {names}.")
    return {"name": name}


def _set(tables: dict[str, Any], setting: str) -> None:
    path, sign, text = setting.partition("=")
    head, dot, rest = path.strip().partition(".")
    if not (sign and dot and rest):
        raise SpecError(f"--set {setting!r} is not of the form a.b=value.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    rows = [
        (kind, i)
        for kind in ("datasets", "scenarios", "generators")
        for i, table in enumerate(tables.get(kind, []))
        if head in (table.get("name"), table.get("label"))
    ]
    if head != "suite" and not rows:
        raise SpecError(
            f"--set {setting!r}: nothing in the suite is called {head!r}; "
            "use suite.…, or the name of a dataset, scenario or generator."
        )
    if head == "suite":
        tables["suite"] = _with(tables["suite"], rest.split("."), value)
    for kind, index in rows:
        tables[kind] = [
            _with(table, rest.split("."), value) if i == index else table
            for i, table in enumerate(tables[kind])
        ]


def _with(table: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    if len(path) == 1:
        return {**table, path[0]: value}
    inner = table.get(path[0], {})
    if not isinstance(inner, Mapping):
        raise SpecError(f"--set: {path[0]!r} is {inner!r} and has no {path[1]!r} in it.")
    return {**table, path[0]: _with(inner, path[1:], value)}


def _list(tables: Mapping[str, Any], name: str, where: str) -> list[Mapping[str, Any]]:
    found = tables.get(name, [])
    if not isinstance(found, list) or not all(isinstance(t, Mapping) for t in found):
        raise SpecError(f"{where}: {name} must be tables [[{name}]].")
    return found


def _split(table: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    """Tell a plug-in's own settings from what the suite says about it."""
    own = {"name", "parts", "scenarios"} if kind is DatasetChoice else {"name", "label"}
    given = dict(table)
    inner = given.pop("settings", {})
    settings = {**inner, **{k: v for k, v in given.items() if k not in own}}
    return {**{k: v for k, v in given.items() if k in own}, "settings": settings}


def _scenario(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = dict(table)
    for name in ("partition", "strategy", "codec", "privacy"):
        if name in values:
            values[name] = asdict(_choice(values[name], f"{where}: {name}"))
    return values


def _choices(found: Any, kind: str, where: str) -> list[Choice]:
    if not isinstance(found, list):
        raise SpecError(f"{where}: {kind} must be a list of names or tables.")
    chosen: list[Choice] = []
    for item in found:
        if isinstance(item, str) and item in SETS[kind]:
            chosen += [Choice(name) for name in SETS[kind][item]]
        else:
            chosen.append(_choice(item, f"{where}: {kind}"))
    return chosen


def _choice(found: Any, where: str) -> Choice:
    if isinstance(found, str):
        return Choice(found)
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise SpecError(f"{where}: expected a name or a table with a name, found {found!r}.")
    settings = {k: v for k, v in found.items() if k not in ("name", "settings")}
    return Choice(found["name"], {**found.get("settings", {}), **settings})


def _validated(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc'])) or 'suite'}: {problem['msg']}"
            f" (found {problem['input']!r})"
            for problem in error.errors()
        ]
        raise SpecError(f"{where}: {'; '.join(problems)}") from None


def _check_parts(dataset: DatasetChoice) -> bool:
    try:
        Parts(**dataset.parts)
    except TypeError:
        raise SpecError(
            f"The parts of {dataset.name!r} are {dict(dataset.parts)}; "
            "expected shares of train, control and reference."
        ) from None
    return True


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in table.items() if v != "" or k == "name"}


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            import json  # noqa: PLC0415

            return json.dumps(value)
        case Mapping():
            inner = ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return repr(value)


def narrowed(suite: Suite, **changes: Any) -> Suite:
    """Return the suite with these fields changed."""
    return replace(suite, **changes)
