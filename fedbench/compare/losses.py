"""What an earlier run has and a later one has not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedbench.compare.runs import About, Run

__all__ = ["Lost", "losses"]

_Cell = tuple[str, str, str, str]
_Why = tuple[str, str, bool]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Numbers of one cell that HEAD has not, for one reason; no names mean the whole cell."""

    dataset: str
    scenario: str
    label: str
    regime: str
    status: str
    reason: str
    names: tuple[str, ...]
    sites: tuple[str, ...]
    seeds: tuple[int, ...]


def losses(base: Run, head: Run, primary: Sequence[About], seeds: Sequence[int]) -> Iterator[Lost]:
    """Say what failed in HEAD alone, and which primary numbers of BASE it has not."""
    failed = [place for place in head.failed if place not in base.failed and place[1] in seeds]
    gone = [
        (about, seed)
        for about in primary
        for seed in seeds
        if base.done(about, seed) and not head.done(about, seed)
    ]
    groups: dict[tuple[_Cell, _Why], list[tuple[About, int]]] = {}
    for about, seed in [*failed, *gone]:
        groups.setdefault((_cell(about), _why(head, about, seed)), []).append((about, seed))
    for ((dataset, scenario, label, regime), (status, reason, whole)), lost in sorted(
        groups.items()
    ):
        yield Lost(
            dataset=dataset,
            scenario=scenario,
            label=label,
            regime=regime,
            status=status,
            reason=reason,
            names=() if whole else tuple(sorted({about.name for about, _ in lost})),
            sites=() if whole else tuple(sorted({about.site for about, _ in lost} - {""})),
            seeds=tuple(sorted({seed for _, seed in lost})),
        )


def _cell(about: About) -> _Cell:
    return about.dataset, about.scenario, about.label, about.regime


def _why(head: Run, about: About, seed: int) -> _Why:
    """Return status and reason, the row's own or its measure's or cell's, and if it is a cell's."""
    name, row = about.name, head.rows.get(about, {}).get(seed)
    for (failed, at), other in head.failed.items() if row is None else ():
        if _cell(failed) == _cell(about) and at == seed and name.startswith(failed.name):
            name, row = failed.name, other
    if row is None:
        return "missing", "HEAD has no such row.", False
    lines = str(row["reason"]).strip().splitlines()
    return str(row["status"]), lines[-1] if lines else "no reason was recorded", not name
