"""A tree of pairwise tables, fitted from sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fedbench.data import Cohort, Feature, Part
from fedbench.encoding import Encoder, Records, edges
from fedbench.generator import Local, Phase, Site, State, Statistic
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TURNS = 50
"""Of fitting a table to its margins."""

_ROUGH = 4
"""Groups of a number while the tree is looked for."""

_FILLED = 20
"""Patients that a cell of two numbers should have, on average."""

_CLEAR = 8.0
"""By how much they should outnumber the standard deviation of the noise."""

_DOUBT = 2.0
"""Departures from chance within so many standard deviations of the noise are taken for noise."""


@dataclass(frozen=True, kw_only=True)
class Tree(Statistic):
    """Let every column depend on one other, along the tree that says most (Chow-Liu).

    Numbers are cut into groups of about equally many patients; missing and not applicable are
    groups of their own. Sites first send how often any two groups of different columns meet. The
    server gives each pair of columns its mutual information, less what chance alone would show in
    new patients (a parameter each, Akaike 1974, https://doi.org/10.1109/TAC.1974.1100705), and
    keeps the tree that adds up to most (Chow and Liu 1968,
    https://doi.org/10.1109/TIT.1968.1054142); columns without a link worth keeping stay on their
    own. Then sites count again, along the tree alone and more finely: one patient adds to far fewer
    counts there, so that noise for privacy costs less (as in MST, McKenna et al. 2021,
    https://arxiv.org/abs/2108.04978). As all of this is sums, federated and centralized training
    are the same.

    Patients are written from the root on. Every table is fitted to the agreed counts of its two
    columns, so that single columns stay as agreed; within its group a number is spread as agreed.

    Attributes:
        bins: Groups of a number in the tables of the tree, at most; fewer where a cell of two
            numbers would have fewer than 20 patients, or 8 times the noise, on average.
        smoothing: Imagined patients per group, to whom the next column means nothing.
    """

    handles: ClassVar = frozenset(Part)

    bins: Annotated[int, Ge(2), Le(64)] = 16
    smoothing: Annotated[float, Ge(0)] = 1.0

    def phases(self) -> Sequence[Phase]:
        # A rough look at all pairs is enough to choose; what is written is counted carefully.
        return (Phase("pairs", rounds=1, share=1), Phase("tree", rounds=1, share=2))

    def features(
        self, phase: Phase, message: Message, records: Records, encoder: Encoder
    ) -> Message:
        plan = self._plan(message, encoder)
        onehot, (one, other) = plan.onehot(records), plan.cells(message.get("parents"))
        return {"counts": onehot[:, one] * onehot[:, other]}

    def bound(self, phase: Phase, encoder: Encoder) -> float:
        # A patient is in one group of every column, so in one cell of every table.
        columns = len(encoder.numbers) + len(encoder.categories)
        tables = columns * (columns - 1) / 2 if phase.name == "pairs" else columns - 1
        return float(np.sqrt(max(tables, 1)))

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        # The sums of `features` by one matrix product, in a fraction of time and memory.
        plan = self._plan(message, site.encoder)
        blocks = [plan.onehot(block) for block in site.records.blocks()]
        meet = np.sum([block.T @ block for block in blocks], axis=0)
        counts = meet[plan.cells(message.get("parents"))]
        sums = local.budget.release({"counts": counts}, self.bound(phase, site.encoder))
        return Update(sums=sums, weight=float(len(site.records)))

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        plan, counts = self._plan(state, encoder), combined.sums["counts"]
        counts = plan.denoised(counts, combined.noise, state.get("parents"))
        if phase.name == "tree":
            return {**state, "counts": counts}
        first, second = self.phases()
        bounds = self.bound(second, encoder) / self.bound(first, encoder)
        noise = combined.noise * bounds * np.sqrt(first.share / second.share)
        filled = max(_FILLED, _CLEAR * noise)
        bins = int(np.clip(np.sqrt(plan.patients / filled), 2, self.bins))
        return {"parents": _spanning(plan.worth(counts)), "bins": np.array([bins])}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        plan, parents = self._plan(state, encoder), state["parents"]
        groups = np.zeros((n, len(plan.blocks)), dtype=np.int64)
        chances = plan.chances(state["counts"], parents, self.smoothing)
        for column in _from_roots(parents):
            # A root has one row, and everybody is in it.
            above = groups[:, parents[column]] if parents[column] >= 0 else np.zeros(n, np.int64)
            ends = chances[column].cumsum(axis=1)
            drawn = rng.random((n, 1)) * ends[above, -1:] >= ends[above, :-1]
            groups[:, column] = drawn.sum(axis=1)
        return plan.records(groups, rng)

    def _plan(self, message: Message, encoder: Encoder) -> _Plan:
        bins = message["bins"].item() if "bins" in message else min(_ROUGH, self.bins)
        return _Plan(encoder, bins)


class _Plan:
    """The groups of every column: numbers first, then categories.

    The groups of a number are its cuts, then missing, then not applicable; those of a category its
    levels (the last is missing), then not applicable. Groups nobody is in are left out of all sums.
    """

    def __init__(self, encoder: Encoder, bins: int) -> None:
        self.encoder, self.bins = encoder, bins
        self.patients = max((counts.sum() for counts in encoder.counts.values()), default=0.0)
        self.features = (*encoder.numbers, *encoder.categories)
        names = [feature.name for feature in encoder.categories]
        self.given = [names.index(f.given) if f.given else -1 for f in encoder.numbers]
        self.cuts = [_cuts(encoder, feature, self.bins) for feature in encoder.numbers]

    @cached_property
    def shares(self) -> Sequence[Floats]:
        """Per column, the agreed share of every group; they add up to 1."""
        encoder, found = self.encoder, []
        for feature, cuts, rate in zip(
            encoder.numbers, self.cuts, encoder.missing_rates, strict=True
        ):
            rows = encoder.counts[feature.name][:, :-1].sum(axis=1)
            rows = rows / rows.sum() if rows.any() else np.full(len(rows), 1 / len(rows))
            found.append(np.append((1 - rate) * rows @ np.diff(cuts, axis=1), rate))
        found.extend(encoder.shares)
        absent = [self._absent(feature) for feature in self.features]
        return [np.append((1 - a) * mine, a) for a, mine in zip(absent, found, strict=True)]

    @cached_property
    def there(self) -> Sequence[Ints]:
        """Per column, the groups that somebody is in."""
        return [np.flatnonzero(mine) for mine in self.shares]

    @cached_property
    def present(self) -> Floats:
        """The shares of all groups that somebody is in, end to end."""
        mine = [share[there] for share, there in zip(self.shares, self.there, strict=True)]
        return np.concatenate([np.empty(0), *mine])

    @cached_property
    def blocks(self) -> Sequence[slice]:
        """Where the groups of each column stand among those of all."""
        ends = np.cumsum([len(mine) for mine in self.there]).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def cells(self, parents: Ints | None = None) -> tuple[Ints, Ints]:
        """Return both groups of every cell of every pair of columns, or of a tree, parent first."""
        if parents is None:
            owner = np.repeat(np.arange(len(self.blocks)), [len(mine) for mine in self.there])
            one, other = np.nonzero(owner[:, None] < owner[None, :])
            return one, other
        pairs = [(self.blocks[p], self.blocks[c]) for c, p in enumerate(parents.tolist()) if p >= 0]
        empty = np.array([], dtype=np.int64)
        above = [np.repeat(_range(one), len(_range(other))) for one, other in pairs]
        below = [np.tile(_range(other), len(_range(one))) for one, other in pairs]
        return np.concatenate([empty, *above]), np.concatenate([empty, *below])

    def denoised(self, counts: Floats, noise: float, parents: Ints | None) -> Floats:
        """Return counts that could have been: what noise may have done to them is taken back.

        Differences to what independent columns would show are moved towards them by a few standard
        deviations (soft thresholds, Donoho 1995, https://doi.org/10.1109/18.382009).
        """
        one, other = self.cells(parents)
        chance = self.patients * self.present[one] * self.present[other]
        apart = counts - chance
        trusted = np.sign(apart) * np.maximum(np.abs(apart) - _DOUBT * noise, 0)
        return np.asarray(np.maximum(chance + trusted, 0))

    def onehot(self, records: Records) -> Floats:
        """Return in which groups each patient is, shape ``(n, groups)``."""
        columns = zip(self._groups(records), self.there, strict=True)
        found = [mine[:, None] == there for mine, there in columns]
        return np.concatenate(found, axis=1).astype(np.float64)

    def worth(self, counts: Floats) -> Floats:
        """Return the mutual information of every pair of columns, less what chance would show."""
        starts = [block.start for block in self.blocks]
        found = np.zeros((len(self.present), len(self.present)))
        found[self.cells()] = counts / self.patients
        ratio = found / np.outer(self.present, self.present)
        logs = np.log(ratio, out=np.zeros_like(ratio), where=ratio > 0)
        information = np.add.reduceat(np.add.reduceat(found * logs, starts, 0), starts, 1)
        sizes = np.array([len(mine) - 1 for mine in self.there])
        upper = np.triu(information - np.outer(sizes, sizes) / self.patients, 1)
        return np.where(np.outer(sizes, sizes) > 0, upper + upper.T, 0.0)

    def chances(self, counts: Floats, parents: Ints, smoothing: float) -> Sequence[Floats]:
        """Return for every column how likely its groups are, a row per group of its parent."""
        found, start = [], 0
        for column, parent in enumerate(parents.tolist()):
            mine = self.shares[column]
            if parent < 0:
                found.append(mine[None, :])
                continue
            above, below = self.there[parent], self.there[column]
            size = len(above) * len(below)
            table = counts[start : start + size].reshape(len(above), len(below))
            start += size
            chance = np.tile(mine, (len(self.shares[parent]), 1))
            chance[above] = 0
            chance[np.ix_(above, below)] = _raked(
                table + smoothing * mine[below], self.shares[parent][above], mine[below]
            )
            found.append(chance)
        return found

    def records(self, groups: Ints, rng: Rng) -> Cohort:
        """Write the patients who are in these groups."""
        encoder, n = self.encoder, len(groups)
        numbers, missing = np.zeros((n, len(self.cuts))), np.zeros((n, len(self.cuts)), dtype=bool)
        levels = np.minimum(groups[:, len(self.cuts) :], np.array(encoder.widths, int) - 1)
        for j, cuts in enumerate(self.cuts):
            mine = groups[:, j]
            missing[:, j] = mine >= self.bins
            row, group = self._row(j, levels), np.minimum(mine, self.bins - 1)
            low, high = cuts[row, group], cuts[row, group + 1]
            share = low + rng.random(n) * (high - low)
            numbers[:, j] = ndtri(np.clip(share, 1e-12, 1 - 1e-12))
        return encoder.decode(numbers, missing, levels)

    def _groups(self, records: Records) -> Sequence[Ints]:
        found: list[Ints] = []
        for j, cuts in enumerate(self.cuts):
            row, share = self._row(j, records.levels), ndtr(records.numbers[:, j])
            group = (share[:, None] >= cuts[row, 1:-1]).sum(axis=1)
            group[records.missing[:, j]] = self.bins
            group[~records.applies[:, j]] = self.bins + 1
            found.append(group)
        for j, width in enumerate(self.encoder.widths):
            found.append(np.where(records.levels_apply[:, j], records.levels[:, j], width))
        return found

    def _row(self, column: int, levels: Ints) -> Ints:
        """Return within which level of a category each patient's number is described."""
        given = self.given[column]
        if given < 0:
            return np.zeros(len(levels), dtype=np.int64)
        # Those with a missing level are described as those with the first, see `Encoder.encode`.
        last = self.encoder.widths[given] - 1
        return np.where(levels[:, given] == last, 0, levels[:, given])

    def _absent(self, feature: Feature) -> float:
        """Return the share of patients to whom a feature does not apply."""
        if feature.needs is None:
            return 0.0
        counts = self.encoder.counts[feature.needs]
        return float(counts[:, -1].sum() / max(counts.sum(), 1))


def _cuts(encoder: Encoder, feature: Feature, bins: int) -> Floats:
    """Return the ends of the groups as shares of patients, shape ``(rows, bins + 1)``.

    Many patients may have one value; a cut between them moves to the nearer end of its bin.
    """
    counts = encoder.counts[feature.name][:, :-1]
    pooled = counts.sum(axis=0) if counts.any() else np.ones(counts.shape[1])
    counts = np.where(counts.sum(axis=1, keepdims=True) > 0, counts, pooled)
    single = np.zeros(counts.shape[1], dtype=bool)
    if feature.column.kind == "integer":
        single = np.diff(edges(feature)) <= 1
    else:
        single[[0, -1]] = True
    found = np.tile(np.linspace(0, 1, bins + 1), (len(counts), 1))
    for cuts, mine in zip(found, counts, strict=True):
        ends = np.concatenate([[0.0], mine.cumsum() / mine.sum()])
        place = np.minimum(np.searchsorted(ends, cuts[1:-1], side="right") - 1, len(mine) - 1)
        low, high = ends[place], ends[place + 1]
        nearer = np.where(cuts[1:-1] - low < high - cuts[1:-1], low, high)
        cuts[1:-1] = np.where(single[place], nearer, cuts[1:-1])
    return found


def _range(block: slice) -> Ints:
    return np.arange(block.start, block.stop)


def _raked(table: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the table scaled by rows and by columns until its margins are these.

    Source: Deming and Stephan 1940, https://doi.org/10.1214/aoms/1177731829.
    """
    found = table
    for _ in range(_TURNS):
        found = found * _ratio(rows, found.sum(axis=1))[:, None]
        found = found * _ratio(columns, found.sum(axis=0))
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _spanning(worth: Floats) -> Ints:
    """Return the parent of every column in the forest of largest worth, -1 for roots.

    Source: Prim 1957, https://doi.org/10.1002/j.1538-7305.1957.tb01515.x.
    """
    parents = np.full(len(worth), -1, dtype=np.int64)
    best, source = np.zeros(len(worth)), parents.copy()
    left = np.ones(len(worth), dtype=bool)
    while left.any():
        column = int(np.argmax(np.where(left, best, -1.0)))
        parents[column], left[column] = source[column], False
        closer = left & (worth[column] > best)
        best[closer], source[closer] = worth[column][closer], column
    return parents


def _from_roots(parents: Ints) -> Sequence[int]:
    """Return the columns in an order in which every parent comes before its children."""
    depth = np.zeros(len(parents), dtype=np.int64)
    above = parents
    while (above >= 0).any():
        depth += above >= 0
        above = np.where(above >= 0, parents[above], -1)
    order: list[int] = np.argsort(depth, kind="stable").tolist()
    return order
