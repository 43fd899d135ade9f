"""Starting a plug-in: one file that works, and its test."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Literal

from fedbench.errors import SpecError

__all__ = ["KINDS", "new"]

Kind = Literal["generator", "metric", "attack", "dataset"]

KINDS: tuple[Kind, ...] = ("generator", "metric", "attack", "dataset")

_ASKED = {
    "generator": 'check_generator("{module}:{name}")',
    "metric": "check_metric({name}())",
    "attack": "check_attack({name}())",
    "dataset": "check_dataset({name}(), DataStore())",
}

HEARD = ("conftest", "__init__", "__main__")
"""File names that Python or pytest act upon."""

_TEST = '''"""{name} keeps what every {kind} promises."""

from {module} import {name}

{imports}from fedbench.testing import check_{kind}


def test_it_keeps_its_promises() -> None:
    {asked}
'''


def new(kind: str, module: str, folder: Path) -> tuple[Path, Path]:
    """Write ``module``.py with a plug-in of this kind, and ``test_module``.py beside it.

    Args:
        kind: one of ``KINDS``.
        module: the file's name without ``.py``; the class is called the same, in capitals.
        folder: where to write; made if it is not there.

    Returns:
        The plug-in and its test.

    Raises:
        SpecError: an unknown kind, a name that cannot be imported or already is something, or a
            file in the way. Nothing is written then.
    """
    if kind not in KINDS:
        raise SpecError(f"There is no kind {kind!r} to start from; there are {', '.join(KINDS)}.")
    if not (module.isascii() and module.isidentifier() and module == module.lower()):
        raise SpecError(
            f"{module!r} cannot be a file's name that Python imports: use small letters, digits "
            "and _, and start with a letter."
        )
    paths = folder / f"{module}.py", folder / f"test_{module}.py"
    for path in paths:
        if path.exists():
            raise SpecError(f"{path} is already there; choose another name or --out.")
    if keyword.iskeyword(module) or module in HEARD or _taken(module):
        raise SpecError(f"{module!r} already means something in Python; choose another name.")
    name = "".join(part.capitalize() for part in module.split("_"))
    code = files("fedbench.templates").joinpath(f"{kind}.py").read_text(encoding="utf-8")
    words = {*re.findall(r"\w+", code + _ASKED[kind]), *dir(builtins)}
    if keyword.iskeyword(name) or not name.isidentifier() or name in words:
        raise SpecError(
            f"The class would be called {name!r}, which already means something in it; choose "
            "another name."
        )
    written = code.replace("Template", name).replace('"template"', f'"{module}"')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(written, encoding="utf-8")
        paths[1].write_text(_test(kind, module, name), encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"--out {str(folder)!r} cannot be written into: {error.strerror}."
        ) from None
    return paths


def _test(kind: str, module: str, name: str) -> str:
    imports = "from fedbench.data import DataStore\n" if kind == "dataset" else ""
    asked = _ASKED[kind].format(module=module, name=name)
    test = _TEST.format(kind=kind, module=module, name=name, imports=imports, asked=asked)
    # A generator is checked by name, as a suite asks for it.
    return test.replace(f"from {module} import {name}\n\n", "") if kind == "generator" else test


def _taken(module: str) -> bool:
    return module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None
