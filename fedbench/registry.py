"""Finding plug-ins by name, and building them from their settings.

A name such as ``marginals`` is the file ``metrics/marginals.py``. Other packages
add names through entry points, and ``some.module:Class`` always works, in the
current folder too. A name of ours always means our file: no installed package
can change what a published result was computed with.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import importlib
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from fedbench.errors import ContractError, FedbenchError, SpecError
from fedbench.plugin import Plugin, plain

__all__ = ["Kind", "expected", "misnamed"]

P = TypeVar("P", bound=Plugin)

WORDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
    "a valid array": "a list",
    "a valid tuple": "a list",
    "an object": "a table",
}
"""Our words for what pydantic says."""
FEW = re.compile(r"(?:Tuple|List) should have at least (\d+) items? after validation.*")


@dataclass(frozen=True)
class Kind(Generic[P]):
    """One kind of plug-in: the package whose files are its names, and its base class.

    The package's name is also the entry-point group through which others add names.
    """

    package: str
    base: type[P]

    def names(self) -> dict[str, str]:
        """Return every known name with the module, or ``module:Class``, it stands for."""
        installed = sorted(
            _entry_points(self.package, tuple(sys.path)), key=lambda point: point.value
        )
        theirs = {point.name: point.value for point in reversed(installed)}
        return dict(sorted((theirs | self._files()).items()))

    def summaries(self) -> dict[str, str]:
        """Return every known name with the first line of its class's docstring.

        The docstring is read from the file, so that no plug-in, and nothing that
        a plug-in needs, is imported.
        """
        return {name: _summary(target) for name, target in self.names().items()}

    def find(self, name: str) -> type[P]:
        """Return the class called ``name``.

        Raises:
            SpecError: nothing is called so, or it is not of this kind.
            ContractError: the file does not define exactly one plug-in of this kind, or
                the class is not a frozen dataclass with every method filled in.
        """
        target = name if ":" in name else self.names().get(name)
        if target is None:
            known = self.names()
            raise SpecError(
                f"There is no {name!r} in {self.package}.{_hint(name, known)} "
                f"Known names: {', '.join(known) or 'none yet'}."
            )
        ours = name in self._files()
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name) if ours else _import(module_name, name)
        if not attribute:
            return self._complete(self._only_class_of(module))
        found = _attribute(module, attribute)
        if not (inspect.isclass(found) and issubclass(found, self.base)):
            raise SpecError(f"{target!r} is not a {self.base.__name__}: it does not subclass it.")
        return self._complete(found)

    def build(self, name: str, settings: Mapping[str, Any] | None = None) -> P:
        """Return the plug-in called ``name`` with these settings.

        Values are taken as TOML means them: ``"20"`` is not a number, ``1`` is a float too.

        Raises:
            SpecError: see `find`; or a setting is unknown, missing, of the wrong type or out of
                its range.
            ContractError: see `find`; or the plug-in breaks while it is built.
        """
        # Slow to import, and `fedbench --help` and `fedbench list` need none of it.
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415

        plugin = self.find(name)
        # Through JSON: there, strict still lets a list become a tuple and a string a Path.
        try:
            table = json.dumps(plain(self.completed(name, settings or {})), default=repr)
            return TypeAdapter(plugin).validate_json(table, strict=True)
        except ValidationError as error:
            known = _settings(plugin)
            problems = " ".join(
                _problem(detail["type"], detail["loc"], detail["msg"], detail["input"], known)
                for detail in error.errors()
            )
            listed = ", ".join(known.values()) or "none"
            raise SpecError(
                f"{name!r} in {self.package}: {problems} Its settings: {listed}."
            ) from None
        except FedbenchError as error:
            raise SpecError(f"{name!r} in {self.package}: {error}") from None
        except Exception as error:
            raise ContractError(
                f"{name!r} in {self.package} cannot be built: {type(error).__name__}: {error}"
            ) from error

    def completed(self, name: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings with those of the preset that they name; what is said itself wins.

        Raises:
            SpecError: see `find`; or there is no such preset.
        """
        if "preset" not in settings or not (presets := self.find(name).presets):
            return settings
        preset = settings["preset"]
        if preset not in presets:
            raise SpecError(f"There is no preset {preset!r}. There is: {', '.join(presets)}.")
        said = {key: value for key, value in settings.items() if key != "preset"}
        return {**presets[preset], **said}

    def _files(self) -> dict[str, str]:
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        return {
            module.name: f"{self.package}.{module.name}"
            for module in pkgutil.iter_modules(folders or [])
            if not module.name.startswith("_")
        }

    def _only_class_of(self, module: ModuleType) -> type[P]:
        mine = [
            thing
            for thing in vars(module).values()
            if inspect.isclass(thing)
            and issubclass(thing, self.base)
            and thing.__module__ == module.__name__
        ]
        concrete = [thing for thing in mine if not inspect.isabstract(thing)]
        if len(concrete) == 1:
            return concrete[0]
        if len(mine) == 1:
            return mine[0]
        names = ", ".join(thing.__name__ for thing in concrete) or "none"
        raise ContractError(
            f"{module.__name__} should define exactly one {self.base.__name__}, "
            f"but defines {names}."
        )

    def _complete(self, plugin: type[P]) -> type[P]:
        where = f"{plugin.__module__}:{plugin.__name__}"
        if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
            raise ContractError(
                f"{where} does not fill in {', '.join(missing)}, which a "
                f"{self.base.__name__} promises."
            )
        if silent := [name for name in _promised(self.base) if not hasattr(plugin, name)]:
            raise ContractError(
                f"{where} does not say its {', '.join(silent)}, which a {self.base.__name__} "
                "promises."
            )
        if wrong := misnamed(plugin, self.base):
            raise ContractError(f"{where} says that {wrong}")
        # Asked of the class itself: one that only inherits the decorator loses its own settings.
        own = vars(plugin).get("__dataclass_params__")
        if own is None or not own.frozen:
            raise ContractError(
                f"{where} is not a frozen dataclass: "
                "put @dataclass(frozen=True, kw_only=True) above it."
            )
        return plugin


@lru_cache
def _entry_points(group: str, path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points installed on ``path``; asking reads every package's metadata."""
    del path  # names the answer
    return entry_points(group=group)


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known))
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _import(module_name: str, name: str) -> ModuleType:
    """Import somebody else's module; whatever goes wrong there is said in one line."""
    if module_name.endswith(".py") or "/" in module_name or not module_name:
        raise SpecError(
            f"{name!r} is not of the form module:Class. For a class in my_file.py, write "
            "'my_file:Class' and start in the folder that holds my_file.py."
        )
    try:
        with _current_folder_first():
            return importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(
            f"{error.name}."
        ):
            raise SpecError(
                f"There is no module {error.name!r} for {name!r}: it is neither in the "
                f"current folder ({Path.cwd()}) nor installed."
            ) from error
        raise SpecError(
            f"{module_name!r}, needed for {name!r}, cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed the path itself
            sys.path.remove(here)


def _attribute(module: ModuleType, attribute: str) -> object:
    with contextlib.suppress(AttributeError):
        return getattr(module, attribute)
    defined = [
        name
        for name, thing in vars(module).items()
        if inspect.isclass(thing) and thing.__module__ == module.__name__
    ]
    raise SpecError(
        f"There is no {attribute!r} in {module.__name__}.{_hint(attribute, defined)} "
        f"Classes it defines: {', '.join(defined) or 'none'}."
    )


def _promised(base: type[Plugin]) -> list[str]:
    """Return the class variables that a kind of plug-in declares."""
    return [
        name
        for name, shape in inspect.get_annotations(base).items()
        if str(shape).startswith("ClassVar")
    ]


def misnamed(plugin: type[Plugin], base: type[Plugin]) -> str:
    """Return which class variable is no word that its kind of plug-in knows, or nothing."""
    for name, words in _choices(base).items():
        if (said := getattr(plugin, name)) not in words:
            return f"its {name} is {said!r}; expected one of {', '.join(words)}."
    return ""


@lru_cache
def _choices(base: type[Plugin]) -> Mapping[str, tuple[str, ...]]:
    """Return the words between which a kind of plug-in lets its class variables choose."""
    shapes = {
        name: get_args(shape)[0]
        for name, shape in get_type_hints(base).items()
        if get_origin(shape) is ClassVar
    }
    return {name: get_args(shape) for name, shape in shapes.items() if get_origin(shape) is Literal}


def _settings(plugin: type[Plugin]) -> dict[str, str]:
    """Return every setting with how to show it: ``bins = 20``, ``sites (required)``."""
    shown = {}
    for field in dataclasses.fields(plugin):  # type: ignore[arg-type]  # `find` made sure
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        name = field.metadata.get("alias", field.name)
        if field.init:
            shown[name] = f"{name} {'(required)' if required else f'= {default!r}'}"
    return shown


def _problem(
    kind: str, loc: Sequence[int | str], message: str, found: object, known: Mapping[str, str]
) -> str:
    where = ".".join(map(str, loc))
    match kind:
        case "unexpected_keyword_argument":
            return f"There is no setting {where!r}.{_hint(where, known)}"
        case "missing":
            return f"The setting {where!r} is missing."
        case "value_error" | "assertion_error":
            # Raised by the plug-in's own __post_init__, which knows what it wants to say.
            return message.partition(", ")[2].rstrip(".") + "."
    return f"{where!r} is {found!r}; expected {expected(message)}."


def expected(message: str) -> str:
    """Return what pydantic expected, in words that somebody who writes TOML knows.

    >>> expected("Input should be greater than or equal to 1")
    'at least 1'
    >>> expected("Tuple should have at least 1 item after validation, not 0")
    '1 or more of them'
    """
    found = message.removeprefix("Input should be ")
    for theirs, ours in WORDS.items():
        found = found.replace(theirs, ours)
    return FEW.sub(r"\1 or more of them", found)


def _summary(target: str) -> str:
    module_name, _, attribute = target.partition(":")
    source = None
    with contextlib.suppress(ImportError, ValueError):
        source = find_spec(module_name)
    if source is None or not (source.origin or "").endswith(".py"):
        return ""
    tree = ast.parse(Path(str(source.origin)).read_bytes())
    wanted = attribute or module_name.rpartition(".")[2]
    return (ast.get_docstring(_class_called(wanted, tree)) or "").partition("\n")[0]


def _class_called(wanted: str, tree: ast.Module) -> ast.ClassDef | ast.Module:
    """Return the class that ``nearest_record.py`` is about: ``NearestRecord``.

    Without one of that name it is the last public class, as helpers stand above
    what uses them; without any class, the module speaks for itself.
    """
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    alike = [node for node in public if node.name.lower() == wanted.replace("_", "").lower()]
    return (alike or public)[-1] if public else tree
