"""``report.html``: one file that needs nothing else and can be read to its end."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fedbench.nouns import plural
from fedbench.report import leakage, pictures
from fedbench.report.notes import SINGLE
from fedbench.report.words import people, percent, regime

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render"]

Json = dict[str, Any]


DRAWN = {
    "tradeoff": pictures.tradeoff,
    "hospitals": pictures.hospitals,
    "exposed": leakage.exposed,
}


def render(report: Json) -> str:
    """Return the page."""
    drawn = [
        {kind: draw(world[kind], f"{kind}-{i}") for kind, draw in DRAWN.items() if world[kind]}
        for i, world in enumerate(report["worlds"])
    ]
    return _template().render(report=report, pictures=drawn, single=SINGLE)


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "regime": regime,
        "people": people,
        "percent": percent,
        "plural": plural,
        "tied": _tied,
    }
    text = (files("fedbench.report") / "template.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _tied(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")
