from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import ContractError, SpecError
from fedbench.kinds import METRICS
from fedbench.plugin import Plugin
from fedbench.registry import Kind

NOISES = Kind("noises", Plugin)

MOO = '''
"""The file about cows."""
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from annotated_types import Gt
from fedbench.plugin import Plugin

@dataclass(frozen=True, kw_only=True)
class Moo(Plugin):
    """What cows say.

    Loudly.
    """

    herd: int
    pitch: Annotated[float, Gt(0)] = 440.0
    names: tuple[str, ...] = ()
    mood: Literal["calm", "wild"] = "calm"
    field: Path = Path("meadow")

    def __post_init__(self) -> None:
        if self.herd < 0:
            raise ValueError("a herd has no fewer than 0 cows")
'''
PLAIN = '''
from dataclasses import dataclass
from fedbench.plugin import Plugin

@dataclass(frozen=True, kw_only=True)
class {name}(Plugin):
    """{name} says so."""
'''


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and elsewhere the package `noises` with one plug-in, `moo`."""
    package = tmp_path / "installed" / "noises"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "moo.py").write_text(MOO)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(package.parent)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def add(here: Path, path: str, text: str) -> None:
    (here.parent / "installed" / path).parent.mkdir(exist_ok=True)
    (here.parent / "installed" / path).write_text(dedent(text))


def install(here: Path, **names: str) -> None:
    """Another distribution that adds these names."""
    add(here, "more-1.0.dist-info/METADATA", "Name: more\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {target}" for name, target in names.items())
    add(here, "more-1.0.dist-info/entry_points.txt", f"[noises]\n{lines}\n")


def refusal(name: str, settings: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        NOISES.build(name, settings)
    return str(caught.value)


def breach(name: str) -> str:
    with pytest.raises(ContractError) as caught:
        NOISES.find(name)
    return str(caught.value)


# Names


def test_a_name_is_a_file(here: Path) -> None:
    add(here, "noises/_shared.py", "")
    assert NOISES.names() == {"moo": "noises.moo"}
    assert NOISES.find("moo").__name__ == "Moo"


def test_a_kind_without_a_package_has_no_names() -> None:
    assert Kind("nothing_of_that_name", Plugin).names() == {}


def test_a_near_miss_gets_a_hint() -> None:
    assert refusal("mooo") == "There is no 'mooo' in noises. Did you mean 'moo'? Known names: moo."


def test_a_far_miss_gets_the_list() -> None:
    assert refusal("quack") == "There is no 'quack' in noises. Known names: moo."


def test_an_installed_package_adds_a_name(here: Path) -> None:
    add(here, "farm.py", PLAIN.format(name="Oink"))
    install(here, oink="farm:Oink")
    assert NOISES.names() == {"moo": "noises.moo", "oink": "farm:Oink"}
    assert NOISES.find("oink").__name__ == "Oink"
    assert NOISES.summaries()["oink"] == "Oink says so."


def test_an_installed_package_cannot_take_a_name_of_ours(here: Path) -> None:
    install(here, moo="farm:Oink")
    assert NOISES.find("moo").__module__ == "noises.moo"


def test_an_installed_package_that_is_broken_is_named_and_stops_nothing_else(here: Path) -> None:
    install(here, oink="gone:Oink")
    assert NOISES.summaries() == {"moo": "What cows say.", "oink": ""}
    assert "There is no module 'gone'" in refusal("oink")


# The form module:Class


def test_a_class_in_the_current_folder_is_found(here: Path) -> None:
    (here / "mine.py").write_text(PLAIN.format(name="Baa"))
    path = list(sys.path)
    assert NOISES.find("mine:Baa").describe() == "Baa says so."
    assert sys.path == path


def test_a_module_that_does_not_exist_is_said_to_be_missing(here: Path) -> None:
    assert refusal("absent:Baa") == (
        "There is no module 'absent' for 'absent:Baa': "
        f"it is neither in the current folder ({here}) nor installed."
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import absent", "ModuleNotFoundError: No module named 'absent'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: "),
    ],
)
def test_a_module_that_breaks_is_told_from_one_that_is_missing(
    here: Path, text: str, reason: str
) -> None:
    (here / "broken.py").write_text(text)
    start = f"'broken', needed for 'broken:Baa', cannot be imported: {reason}"
    assert refusal("broken:Baa").startswith(start)


def test_a_path_is_not_a_module() -> None:
    assert "write 'my_file:Class'" in refusal("folder/mine.py:Baa")
    assert "write 'my_file:Class'" in refusal(":Baa")


def test_a_class_that_is_not_there_gets_a_hint(here: Path) -> None:
    (here / "mine.py").write_text(PLAIN.format(name="Baa"))
    assert refusal("mine:Bah") == (
        "There is no 'Bah' in mine. Did you mean 'Baa'? Classes it defines: Baa."
    )


@pytest.mark.parametrize("what", ["Path", "sep", "OrderedDict"])
def test_what_is_no_plugin_is_refused(here: Path, what: str) -> None:
    (here / "mine.py").write_text(
        "from collections import OrderedDict\nfrom os import sep\nfrom pathlib import Path\n"
    )
    assert refusal(f"mine:{what}") == f"'mine:{what}' is not a Plugin: it does not subclass it."


# What a file promises


def test_a_file_defines_exactly_one_plugin(here: Path) -> None:
    add(here, "noises/none.py", "from noises.moo import Moo")
    add(here, "noises/two.py", PLAIN.format(name="Baa") + PLAIN.format(name="Bah"))
    assert breach("none") == "noises.none should define exactly one Plugin, but defines none."
    assert breach("two") == "noises.two should define exactly one Plugin, but defines Baa, Bah."


def test_an_abstract_helper_does_not_count(here: Path) -> None:
    helper = """
    from abc import abstractmethod
    class Animal(Plugin):
        @abstractmethod
        def eat(self) -> None: ...
    """
    add(here, "noises/baa.py", PLAIN.format(name="Baa") + dedent(helper))
    assert NOISES.find("baa").__name__ == "Baa"


def test_a_promise_that_is_not_kept_is_named(here: Path) -> None:
    text = """
    from abc import abstractmethod
    from fedbench.plugin import Plugin
    class Baa(Plugin):
        @abstractmethod
        def eat(self) -> None: ...
    """
    add(here, "noises/baa.py", text)
    assert breach("baa") == "noises.baa:Baa does not fill in eat, which a Plugin promises."


def test_a_class_variable_is_one_of_the_words_that_its_kind_knows(here: Path) -> None:
    text = """
    from dataclasses import dataclass
    from fedbench.metric import Metric
    @dataclass(frozen=True, kw_only=True)
    class Gap(Metric):
        family, better, version = "fidelty", "lower", 1
        def measure(self, evidence, rng): ...
    """
    add(here, "gaps.py", text)
    with pytest.raises(ContractError) as broken:
        METRICS.find("gaps:Gap")
    assert str(broken.value) == (
        "gaps:Gap says that its family is 'fidelty'; expected one of fidelity, utility, privacy, "
        "fairness, communication, compute."
    )
    sys.modules.pop("gaps")


@pytest.mark.parametrize("above", ["", "@dataclass"])
def test_a_forgotten_decorator_is_noticed(here: Path, above: str) -> None:
    text = f"""
    from dataclasses import dataclass
    from fedbench.plugin import Plugin
    {above}
    class Baa(Plugin):
        volume: int = 3
    """
    add(here, "noises/baa.py", text)
    assert breach("baa").startswith("noises.baa:Baa is not a frozen dataclass: put @dataclass")


def test_a_decorator_is_not_inherited(here: Path) -> None:
    text = """
    from noises.moo import Moo
    class Baa(Moo):
        volume: int = 3
    """
    add(here, "noises/baa.py", text)
    assert "not a frozen dataclass" in breach("baa")


# Settings


def test_settings_become_a_plugin() -> None:
    moo = NOISES.build("moo", {"herd": 2, "pitch": 100, "names": ["a", "b"], "field": "barn"})
    assert moo.settings == {
        "herd": 2,
        "pitch": 100.0,
        "names": ["a", "b"],
        "mood": "calm",
        "field": "barn",
    }
    assert isinstance(moo.settings["pitch"], float)
    assert NOISES.build("moo", moo.settings) == moo
    assert hash(NOISES.build("moo", moo.settings)) == hash(moo)


@given(
    herd=st.integers(0, 10**9),
    pitch=st.floats(0, exclude_min=True, allow_infinity=False),
    names=st.lists(st.text()),
)
def test_settings_come_back_as_they_went_in(herd: int, pitch: float, names: list[str]) -> None:
    moo = NOISES.build("moo", {"herd": herd, "pitch": pitch, "names": names})
    assert NOISES.build("moo", moo.settings) == moo


LISTED = (
    "Its settings: herd (required), pitch = 440.0, names = (), mood = 'calm', "
    f"field = {Path('meadow')!r}."
)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "The setting 'herd' is missing."),
        ({"herd": 1, "pich": 2}, "There is no setting 'pich'. Did you mean 'pitch'?"),
        ({"herd": 1, "volume": 2}, "There is no setting 'volume'."),
        ({"herd": "many"}, "'herd' is 'many'; expected a valid integer."),
        ({"herd": "2"}, "'herd' is '2'; expected a valid integer."),
        ({"herd": True}, "'herd' is True; expected a valid integer."),
        ({"herd": 1, "mood": "odd"}, "'mood' is 'odd'; expected 'calm' or 'wild'."),
        ({"herd": 1, "names": ["a", 2]}, "'names.1' is 2; expected a valid string."),
        ({"herd": 1, "pitch": 0}, "'pitch' is 0; expected more than 0."),
        ({"herd": 1, "pitch": float("inf")}, "'pitch' is inf; expected a finite number."),
        ({"herd": -1}, "a herd has no fewer than 0 cows."),
        ({"mood": 1}, "The setting 'herd' is missing. 'mood' is 1; expected 'calm' or 'wild'."),
    ],
)
def test_a_wrong_setting_is_explained(settings: dict[str, object], problem: str) -> None:
    assert refusal("moo", settings) == f"'moo' in noises: {problem} {LISTED}"


# Summaries and descriptions


def test_summaries_import_nothing(here: Path) -> None:
    add(here, "noises/heavy.py", '"""Heavy things."""\nraise SystemExit\n')
    add(here, "noises/bare.py", "")
    add(here, "noises/nearest_record.py", PLAIN.format(name="NearestRecord") + "class Z: ...\n")
    assert NOISES.summaries() == {
        "bare": "",
        "heavy": "Heavy things.",
        "moo": "What cows say.",
        "nearest_record": "NearestRecord says so.",
    }
    assert "noises.moo" not in sys.modules


def test_a_summary_is_what_the_class_says_of_itself() -> None:
    assert NOISES.summaries()["moo"] == NOISES.find("moo").describe()


class Animal(StrEnum):
    COW = "cow"
    DOG = "dog"


@dataclass(frozen=True, kw_only=True)
class Chorus(Plugin):
    animals: frozenset[Animal] = frozenset()
    pitches: Mapping[Animal, tuple[float, ...]] = field(default_factory=dict)
    home: Path = Path("field")
    label: str = field(default="derived", init=False)


def test_settings_are_plain_values() -> None:
    chorus = Chorus(animals=frozenset(Animal), pitches={Animal.COW: (1.0, 2.0)})
    assert chorus.settings == {
        "animals": ["cow", "dog"],
        "pitches": {"cow": [1.0, 2.0]},
        "home": os.fspath(Path("field")),
    }
    assert all(type(name) is str for name in chorus.settings["animals"])


def test_a_plugin_without_a_docstring_describes_nothing() -> None:
    class Silent(Chorus):
        pass

    assert Silent.describe() == ""
