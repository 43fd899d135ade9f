from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]
BESIDE = ("attacks", "baselines", "leaderboards", "metrics")  # fedbench.* once installed
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def folders() -> Iterator[tuple[str, Path]]:
    """Every folder that holds Python files, with the name it has once installed."""
    for top in ("fedbench", *BESIDE):
        for folder in (ROOT / top, *(ROOT / top).rglob("*")):
            if any(folder.glob("*.py")):
                yield (
                    ".".join(("fedbench", *folder.relative_to(ROOT).parts[top == "fedbench" :])),
                    folder,
                )


def requirements(group: str) -> Iterator[Requirement]:
    for entry in PROJECT["dependency-groups"][group]:
        if isinstance(entry, dict):
            yield from requirements(entry["include-group"])
        else:
            yield Requirement(entry)


def runtime() -> Iterator[Requirement]:
    yield from map(Requirement, PROJECT["project"]["dependencies"])


def imported(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], file) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], file


def undeclared(folder: Path, allowed: set[NormalizedName]) -> set[tuple[str, str]]:
    providers = packages_distributions()
    return {
        (name, str(file.relative_to(ROOT)))
        for name, file in imported(folder)
        if name not in sys.stdlib_module_names
        and name != "fedbench"
        and not allowed & {canonicalize_name(found) for found in providers.get(name, [])}
    }


def test_every_folder_of_code_is_packaged() -> None:
    declared = PROJECT["tool"]["setuptools"]["packages"]
    assert declared == sorted(declared)
    assert {name for name, _ in folders()} <= set(declared), "add it to [tool.setuptools]"
    assert all((folder / "__init__.py").is_file() for _, folder in folders())


def test_every_folder_of_code_is_installed() -> None:
    missing = [name for name, _ in folders() if find_spec(name) is None]
    assert not missing


def test_every_file_of_data_is_installed() -> None:
    missing = []
    for top in ("fedbench", *BESIDE):
        package = find_spec("fedbench" if top == "fedbench" else f"fedbench.{top}")
        assert package is not None
        assert package.submodule_search_locations
        installed = Path(package.submodule_search_locations[0])
        inside = [file.relative_to(ROOT / top) for file in (ROOT / top).rglob("*")]
        missing += [
            f"{top}/{file}"
            for file in inside
            if (ROOT / top / file).is_file()
            and file.suffix != ".pyc"
            and not any(part.startswith(".") for part in file.parts)
            and not (installed / file).exists()
        ]
    assert not missing, "add it to [tool.setuptools.package-data], or move it out of the package"


@pytest.mark.parametrize("top", ["fedbench", *BESIDE])
def test_whatever_is_imported_is_declared(top: str) -> None:
    allowed = {canonicalize_name(found.name) for found in runtime()}
    if top == "fedbench":  # fedbench.testing is for other people's tests, under their pytest
        allowed.add(canonicalize_name("pytest"))
    assert not undeclared(ROOT / top, allowed)


def test_whatever_the_tests_import_is_declared() -> None:
    allowed = {canonicalize_name(found.name) for found in (*runtime(), *requirements("tests"))}
    assert not undeclared(ROOT / "tests", allowed)


def test_every_declared_package_has_a_pin_within_its_range() -> None:
    pins = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in map(Requirement, (ROOT / "constraints.txt").read_text().splitlines()[7:])
    }
    for wanted in (*runtime(), *requirements("dev")):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), wanted


def test_no_pin_names_a_build() -> None:
    """A pin such as ``2.13.0+cpu`` can be had from one place only."""
    pins = (ROOT / "constraints.txt").read_text().splitlines()[7:]
    assert pins == sorted(pins)
    assert all(pin.count("==") == 1 and "+" not in pin for pin in pins)


def test_finding_plugins_imports_nothing_heavy() -> None:
    program = """
import sys
from fedbench import registry
print(*sorted({"pydantic", "torch", "pandas", "numpy", "flwr"} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert answer.stdout.split() == []
