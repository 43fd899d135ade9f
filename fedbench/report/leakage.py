"""The pictures of an audit: who is found, at what price, and what would have been noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedbench.report.pictures import INK, QUIET, RULE, SERIES, styled, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["exposed", "percent"]

Json = dict[str, Any]

_LEAST, _MOST = 1e-4, 0.1  # where an axis of powers of ten begins


def exposed(found: Mapping[str, Any], name: str) -> str:
    """Return four panels: found against accused, power, by rarity of values, by hospital."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    sites = len(found["sites"]) > 1
    with styled(name):
        figure = Figure(figsize=(9.4, 7.2 if found["rarity"] else 3.6), layout="constrained")
        below = ";CD" if sites else ";CC" if found["rarity"] else ""
        panels = figure.subplot_mosaic(f"AB{below}")
        _curves(panels["A"], found["curves"])
        _power(panels["B"], found["power"])
        if found["rarity"]:
            tenths = "tenth of training patients, from usual to rare values"
            _groups(panels["C"], found["rarity"], tenths)
        if sites:
            _groups(panels["D"], found["sites"], "hospital")
        return svg(figure)


def _curves(axes: Axes, curves: Sequence[Json]) -> None:
    axes.set_title("Found against accused", loc="left", fontsize=10)
    least = min(point[0] for curve in curves for point in curve["points"] if point[0] > 0)
    least = min(max(least, _LEAST), _MOST)
    for i, curve in enumerate(curves):
        x, y = zip(*curve["points"], strict=True)
        # Nobody accused has no place on an axis of powers of ten: its left end stands for it.
        axes.plot([max(v, least) for v in x], [max(v, _LEAST) for v in y],
                  color=SERIES[i % len(SERIES)], linewidth=1.6, label=curve["attack"],
                  drawstyle="steps-post")  # fmt: skip
    axes.plot([least, 1], [least, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate("guessing", (least, least), xytext=(14, 4), textcoords="offset points",
                  color=QUIET, fontsize=8)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(least / 2, 1.1)
    _percents(axes.xaxis)
    _percents(axes.yaxis)
    axes.set_xlabel("other patients wrongly accused")
    axes.set_ylabel("training patients found")
    axes.legend(loc="lower right", fontsize=8)
    _quietly(axes)


def _power(axes: Axes, curves: Sequence[Json]) -> None:
    axes.set_title("What would have been noticed", loc="left", fontsize=10)
    for i, curve in enumerate(curves):
        x, y = zip(*curve["points"], strict=True)
        axes.plot(x, y, color=SERIES[i % len(SERIES)], linewidth=1.6,
                  label=f"{curve['alarms']} false alarms")  # fmt: skip
    axes.axhline(0.8, color=QUIET, linewidth=1, linestyle=(0, (1, 2)))
    axes.annotate("four times out of five", (0.0005, 0.8), xytext=(2, 2), color=QUIET, fontsize=8,
                  textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(0.0005, 1)
    axes.set_ylim(0, 1.02)
    _percents(axes.xaxis)
    axes.set_xlabel("share of training records copied")
    axes.set_ylabel("chance that it is noticed")
    if curves:
        axes.legend(loc="lower right", fontsize=8)
    _quietly(axes)


def _groups(axes: Axes, groups: Sequence[Json], what: str) -> None:
    axes.set_title(f"Found beyond luck, by {what.partition(',')[0]}", loc="left", fontsize=10)
    for at, group in enumerate(groups):
        down, up = group["value"] - group["low"], group["high"] - group["value"]
        axes.errorbar(at, group["value"], yerr=[[max(down, 0)], [max(up, 0)]], fmt="o",
                      color=SERIES[0], elinewidth=1.2, markersize=5)  # fmt: skip
    axes.axhline(0, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xticks(range(len(groups)), [group["group"] for group in groups], fontsize=8)
    if len(groups) > 10:
        axes.tick_params(axis="x", rotation=90)
    axes.yaxis.set_major_formatter(lambda y, _: percent(y))
    axes.set_xlabel(what)
    axes.set_ylabel(f"at {100 * groups[0]['at']:g} % false alarms")
    _quietly(axes)


def percent(share: float) -> str:
    """Return a tick as it is: 7.5 % is not 8 %."""
    return f"{100 * share:.6g} %".replace("-", "\N{MINUS SIGN}")


def _percents(axis: Any) -> None:
    axis.set_major_formatter(lambda x, _: percent(x))
    axis.set_minor_formatter("")


def _quietly(axes: Axes) -> None:
    axes.grid(color=RULE, linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    axes.title.set_color(INK)
