"""Pictures as SVG that sits inside a page: its text is text, its colours are the page's."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedbench.direction import hint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["INK", "QUIET", "RULE", "SERIES", "hospitals", "styled", "svg", "tradeoff"]

Json = dict[str, Any]

# Stand-ins that become the page's own colours, so that dark mode and print need no second picture.
INK, QUIET, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004", "#0a0005", "#0a0006")
MARKS = {
    "federated": "o", "centralized": "s", "local": "^", "mixture": "D", "given": "o",
    "control": "X",
}  # fmt: skip
# Two ways to train may give the same point: the larger mark is drawn first, and both are seen.
SIZES = {"centralized": 11.0, "local": 8.0, "mixture": 7.0, "federated": 6.5}
SIDES = ("local", "federated", "centralized", "given")

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
}


def tradeoff(found: Json, name: str) -> str:
    """Return the picture of usefulness against leakage."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    with styled(name):
        figure = Figure(figsize=(8.2, 4.8), layout="constrained")
        axes = figure.add_subplot()
        own = [point for point in found["points"] if point["regime"] != "control"]
        labels = list(dict.fromkeys(point["generator"] for point in own))
        for point in sorted(own, key=lambda p: -SIZES.get(p["regime"], 7.0)):
            _point(axes, point, SERIES[labels.index(point["generator"]) % len(SERIES)])
        _frame(axes, found, own)
        _legend(axes, labels, [r for r in MARKS if any(p["regime"] == r for p in own)])
        return svg(figure)


def _point(axes: Axes, point: Json, color: str) -> None:
    x, y = point["x"], point["y"]
    axes.errorbar(
        x["value"], y["value"], xerr=_reach(x), yerr=_reach(y), fmt="none", ecolor=color,
        elinewidth=0.9, alpha=0.5, zorder=2,
    )  # fmt: skip
    axes.plot(
        x["value"], y["value"], MARKS.get(point["regime"], "P"), color=color,
        markersize=SIZES.get(point["regime"], 7.0), markeredgecolor=PAPER, zorder=3,
    )  # fmt: skip


def _reach(cell: Json) -> list[list[float]] | None:
    if cell.get("low") is None or cell.get("high") is None:
        return None
    # An interval cut to what is possible may end a hair inside the mean.
    down, up = cell["value"] - cell["low"], cell["high"] - cell["value"]
    return [[max(down, 0.0)], [max(up, 0.0)]]


def _frame(axes: Axes, found: Json, own: Sequence[Json]) -> None:
    axes.set_xlabel(f"← leaks less · {found['x']['title']}, 0.5 is guessing · leaks more →")
    axes.set_ylabel(_upwards(found["y"]["title"], found["better"]))
    right = max([p["x"].get("high") or p["x"]["value"] for p in own] + [0.55])
    left = min([p["x"].get("low") or p["x"]["value"] for p in own] + [0.47])
    axes.set_xlim(left - 0.01, right + 0.02)
    axes.axvline(0.5, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("guessing", (0.5, 1), xycoords=("data", "axes fraction"), xytext=(4, -2),
                  textcoords="offset points", va="top", color=QUIET, fontsize=8)  # fmt: skip
    if found["ceiling"] is not None:
        axes.axhline(found["ceiling"], color=QUIET, linewidth=1, linestyle=(0, (1, 2)))
        axes.annotate("real training records", (0.01, found["ceiling"]), va="bottom",
                      xycoords=("axes fraction", "data"), color=QUIET, fontsize=8)  # fmt: skip
    _copy(axes, found, right + 0.02)
    if found["better"] == "lower":
        axes.invert_yaxis()
    axes.grid(color=RULE, linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)


def _copy(axes: Axes, found: Json, right: float) -> None:
    """The copy lies far to the right; say where, instead of squeezing the others together."""
    for point in found["points"]:
        if point["regime"] == "control":
            where = min(point["x"]["value"], right)
            text = f"copy control: {point['x']['shown']}"
            axes.annotate(f"{text} →" if where == right else text, (where, point["y"]["value"]),
                          xytext=(-2, -12), textcoords="offset points", ha="right", va="top",
                          color=INK, fontsize=8, annotation_clip=False)  # fmt: skip
            axes.plot(where, point["y"]["value"], "X", color=INK, markersize=7, clip_on=False)


def _legend(axes: Axes, labels: Sequence[str], regimes: Sequence[str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    given = list(regimes) == ["given"]
    handles = [
        Line2D([], [], linestyle="", label="Colour: release" if given else "Colour: generator")
    ]
    handles += [
        Line2D([], [], marker="o", linestyle="", color=SERIES[i % len(SERIES)], label=label)
        for i, label in enumerate(labels)
    ]
    if not given:
        handles += [Line2D([], [], linestyle="", label="Shape: who trains with whom")]
        handles += [
            Line2D([], [], marker=MARKS[r], linestyle="", color=QUIET, label=r) for r in regimes
        ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.02, 0.5), labelspacing=0.7)


def hospitals(found: Json, name: str) -> str:
    """Return one measure for every hospital: one panel a generator, one row a hospital."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    panels = found["panels"]
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    rows = max(len(panel["rows"]) for panel in panels)
    with styled(name):
        figure = Figure(
            figsize=(4.4 * across + 0.8, down * (0.42 * rows + 0.9) + 0.5), layout="constrained"
        )
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _panel(axes, panel, found["regimes"], found["cut"])
            axes.tick_params(labelbottom=True)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[max(0, len(panels) - across) : len(panels)]:
            axes.set_xlabel(_direction(found))
        if found["regimes"] != ["given"]:  # one release needs no name for the way it was trained
            _regimes(figure, found["regimes"])
        return svg(figure)


def _direction(found: Json) -> str:
    """Name an axis with the way that is better."""
    if found["better"] == "lower":
        return f"← better · {found['title']}"
    return _upwards(found["title"], found["better"])


def _upwards(title: str, better: str) -> str:
    """Name an axis that ends at its best, or say which number is best."""
    if better.startswith("near"):
        return f"{title} · {hint(better)}"
    return f"{title} · better →" if better else title


def _panel(axes: Axes, panel: Json, regimes: Sequence[str], cut: float | None) -> None:
    rows = panel["rows"]
    axes.set_title(panel["generator"], loc="left", fontsize=10, color=INK)
    axes.set_yticks(range(len(rows)), [row["site"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(axis="x", color=RULE, linewidth=0.6, alpha=0.6)
    if cut is not None:
        axes.set_xlim(cut - _ROOM, 1.0 + _ROOM)
    for place, row in enumerate(rows):
        _site(axes, place, row, regimes, cut)


_ROOM = 0.02
"""Beside the ends of a cut axis, so that marks and arrows stay inside."""


def _site(axes: Axes, place: int, row: Json, regimes: Sequence[str], cut: float | None) -> None:
    silent = []
    for i, (regime, cell) in enumerate(zip(regimes, row["cells"], strict=True)):
        y = place + 0.22 * (i - (len(regimes) - 1) / 2)
        if cell["status"] == "done":
            _at_site(axes, cell, y, regime, cut)
        else:
            silent.append((regime, cell["status"]))
    if few := _few(regimes, row["cells"]):
        axes.annotate(few, (0.01, place - 0.37), xycoords=("axes fraction", "data"), va="center",
                      color=QUIET, fontsize=7)  # fmt: skip
    if silent:
        kinds = sorted({status for _, status in silent})
        who = "" if len(silent) == len(regimes) else f"{', '.join(r for r, _ in silent)} "
        said = f"{who}{' / '.join('no number' if k == 'absent' else k for k in kinds)}"
        axes.annotate(said, (1, place), xycoords=("axes fraction", "data"), ha="right", va="center",
                      color=QUIET, fontsize=8, style="italic")  # fmt: skip


def _few(regimes: Sequence[str], cells: Sequence[Json]) -> str:
    """Say on how many seeds a hospital's numbers stand, where that is not all."""
    done = [(r, c) for r, c in zip(regimes, cells, strict=True) if c["status"] == "done"]
    found = [(r, some[0] if (some := _SOME_SEEDS.search(c["note"])) else "") for r, c in done]
    said = {text for _, text in found}
    if len(said) == 1:
        return said.pop()
    return ", ".join(f"{regime} {text}" for regime, text in found if text)


def _at_site(axes: Axes, cell: Json, y: float, regime: str, cut: float | None) -> None:
    """Draw a number, hollow where some seeds have none; an arrow where an end is cut off."""
    color = SERIES[SIDES.index(regime)]
    some = _SOME_SEEDS.search(cell["note"])
    kept: Json = {k: cell.get(k) for k in ("value", "low", "high")}
    if cut is not None:
        kept = {k: None if v is None else max(v, cut) for k, v in kept.items()}
        if kept != {k: cell.get(k) for k in kept}:
            axes.plot(cut, y, "<", color=color, markersize=4.5)
    if kept["value"] == cell["value"]:
        axes.plot(kept["value"], y, MARKS[regime], color=color, markersize=5.5,
                  markerfacecolor=PAPER if some else color, zorder=3)  # fmt: skip
    axes.errorbar(kept["value"], y, xerr=_reach(kept), fmt="none", ecolor=color, elinewidth=1.2)


_SOME_SEEDS = re.compile(r"\d+ of \d+ seeds")


def _regimes(figure: Figure, regimes: Sequence[str]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415

    handles = [
        Line2D([], [], marker=MARKS[r], linestyle="", color=SERIES[SIDES.index(r)], label=r)
        for r in regimes
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Ids hang on a salt: the same picture the same bytes, two pictures of a page two names."""
    import matplotlib as mpl  # noqa: PLC0415

    with mpl.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # Only widths are measured here; the reader's own fonts draw the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg(figure: Figure) -> str:
    """Return the picture without what only a file of its own needs."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'#([\w-]+)[")]', text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {box[0] if box else ""} {_LINKS} aria-hidden="true">'
    text = head + text[text.index(">") + 1 :]
    text = re.sub(r"font: ([^;\"']*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--sans)", text)
    return re.sub(r"#[0-9a-f]{6}", lambda found: _COLOURS.get(found[0], found[0]), text)


_LINKS = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
_COLOURS = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    **{colour: f"var(--s{i})" for i, colour in enumerate(SERIES)},
}
