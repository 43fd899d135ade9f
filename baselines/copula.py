"""A Gaussian copula for mixed columns, fitted from sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from fedbench.data import Cohort, Feature, Part
from fedbench.encoding import Encoder, Records, edges
from fedbench.generator import Local, Phase, Site, State, Statistic
from fedbench.privacy import Unlimited
from fedbench.seeds import Rng
from fedbench.strategy import Combined, Memory, Message, Update

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_DOUBT = 4.0
"""Counts below so many standard deviations of their noise are taken for that many."""

_GRID = np.linspace(-8.5, 8.5, 341)
_DENSITY = np.exp(-(_GRID**2) / 2) / np.sqrt(2 * np.pi) * (_GRID[1] - _GRID[0])


@dataclass(frozen=True, kw_only=True)
class Copula(Statistic):
    """One Gaussian behind all columns, fitted from sums in a single round.

    Every patient is thought to have normal scores that nobody sees. A number shows its score; a
    missing bit and a category with two levels show on which side of a threshold it lies; a category
    with more levels has a score per level, and shows the level whose score is largest after each
    was given its agreed advantage (a multinomial probit, the mixed copula of Zhao et al. 2022,
    https://arxiv.org/abs/2210.10673). A number that is described within the levels of a category
    (time within event) has one score per level.

    Sites send second moments of what they see, over the patients in whom both are seen, around
    the agreed means. Seeing less than the score weakens correlations by a known factor, to first
    order (Olsson et al. 1982, https://doi.org/10.1007/BF02294164), which is undone; two thresholds
    are solved exactly (tetrachoric). The nearest correlation matrix without negative eigenvalues
    is sampled. As these are sums, federated and centralized training are the same.

    Attributes:
        shrinkage: How strongly a covariance that chance could explain is pulled towards zero: by
            half where its squared distance from zero is this many sampling variances.
    """

    handles: ClassVar = frozenset(Part)

    shrinkage: Annotated[float, Ge(0)] = 1.0

    def phases(self) -> Sequence[Phase]:
        return (Phase("moments", rounds=1),)

    def features(
        self, phase: Phase, message: Message, records: Records, encoder: Encoder
    ) -> Message:
        plan = _Plan(encoder)
        seen, masks = plan.seen(records)
        upper, shared = np.triu_indices(seen.shape[1]), np.triu_indices(masks.shape[1])
        return {
            "products": seen[:, upper[0]] * seen[:, upper[1]],
            "counts": masks[:, shared[0]] * masks[:, shared[1]],
        }

    def update(self, phase: Phase, message: Message, site: Site, local: Local, rng: Rng) -> Update:
        if not isinstance(local.budget, Unlimited):
            return super().update(phase, message, site, local, rng)
        # The sums of `features` by one matrix product, in a fraction of time and memory.
        plan = _Plan(site.encoder)
        totals = [_moments(*plan.seen(block)) for block in site.records.blocks()]
        sums = {
            name: np.sum([total[name] for total in totals], axis=0)
            for name in ("products", "counts")
        }
        return Update(sums=sums, weight=float(len(site.records)))

    def bound(self, phase: Phase, encoder: Encoder) -> float:
        # Of a patient in whom everything is as spread as the agreed counts say.
        plan = _Plan(encoder)
        spread, masks = float(plan.variances.sum()), len(plan.names)
        return float(np.sqrt((spread**2 + (plan.variances**2).sum()) / 2 + masks * (masks + 1) / 2))

    def fold(
        self, phase: Phase, state: State, combined: Combined, encoder: Encoder, rng: Rng
    ) -> State:
        plan = _Plan(encoder)
        # Fewer patients than a few standard deviations of the noise are no patients.
        least = max(1.0, _DOUBT * combined.noise)
        counts = _square(combined.sums["counts"])[np.ix_(plan.groups, plan.groups)]
        counts = np.maximum(counts, least)
        covariance = _square(combined.sums["products"]) / counts
        spread = np.maximum(np.diag(covariance), 0.0)
        chance = np.outer(spread, spread) / counts + (combined.noise / counts) ** 2
        signal = covariance**2 + self.shrinkage * chance
        covariance *= np.divide(covariance**2, signal, out=np.ones_like(signal), where=signal > 0)
        return {"correlation": _nearest(plan.latent(covariance), plan.blocks)}

    def sample(
        self, state: State, encoder: Encoder, n: int, rng: Rng, memory: Memory | None = None
    ) -> Cohort:
        values, vectors = np.linalg.eigh(state["correlation"])
        # The symmetric root: eigenvectors alone have signs that differ between machines.
        root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        return _Plan(encoder).records(rng.standard_normal((n, len(root))) @ root)


@dataclass(frozen=True)
class _Part:
    """Something seen of a patient, and the hidden scores it comes from.

    ``shows`` is what one unit of each hidden score adds on average to each thing seen, shape
    ``(seen, hidden)``; ``means`` are their averages. ``levels`` are those that a category can have;
    all but the first are seen. ``offsets`` is a threshold, or the advantage of each level.
    ``group`` names the patients in whom it is seen.
    """

    kind: Literal["number", "bit", "category"]
    column: int
    group: str
    shows: Floats
    means: Floats
    offsets: Floats
    levels: Ints
    row: int = 0

    @property
    def binary(self) -> bool:
        """Whether it is one threshold on one hidden score."""
        return len(self.offsets) == 1


class _Plan:
    """How columns, what is seen of them, and hidden scores belong together."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.parts = [*_categories(encoder), *_bits(encoder), *_numbers(encoder)]
        self.names = sorted({part.group for part in self.parts})

    @cached_property
    def groups(self) -> Ints:
        """For everything seen, the position of its group."""
        found = [self.names.index(part.group) for part in self.parts for _ in part.shows]
        return np.array(found, dtype=np.int64)

    @cached_property
    def variances(self) -> Floats:
        """For everything seen, its variance if it is seen in everybody."""
        found = [
            np.diag(part.shows @ part.shows.T)
            if part.kind == "number"
            else part.means * (1 - part.means)
            for part in self.parts
        ]
        return np.concatenate([np.empty(0), *found])

    @cached_property
    def blocks(self) -> list[slice]:
        """The hidden scores of each part."""
        ends = np.cumsum([part.shows.shape[1] for part in self.parts]).tolist()
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def seen(self, records: Records) -> tuple[Floats, Floats]:
        """Return what is seen around its mean, 0 where it is not, and who is in which group."""
        masks: dict[str, Bools] = {}
        columns: list[Floats] = []
        for part in self.parts:
            mask = masks[part.group] = self._mask(part, records)
            if part.kind == "number":
                values = records.numbers[:, [part.column]]
            elif part.kind == "bit":
                values = records.missing[:, [part.column]].astype(np.float64)
            else:
                values = (records.levels[:, [part.column]] == part.levels[1:]).astype(np.float64)
            columns.append((values - part.means) * mask[:, None])
        groups = np.stack([masks[name] for name in self.names], axis=1)
        return np.concatenate(columns, axis=1), groups.astype(np.float64)

    def latent(self, covariance: Floats) -> Floats:
        """Return the correlation of hidden scores that explains a covariance of what is seen."""
        inverse = np.zeros((self.blocks[-1].stop, len(covariance)))
        start = 0
        for part, block in zip(self.parts, self.blocks, strict=True):
            inverse[block, start : start + len(part.shows)] = np.linalg.pinv(part.shows)
            start += len(part.shows)
        found = inverse @ covariance @ inverse.T
        self._solve_thresholds(found)
        found = np.clip(found, -0.99, 0.99)
        for block in self.blocks:
            found[block, block] = np.eye(block.stop - block.start)
        return found

    def records(self, hidden: Floats) -> Cohort:
        """Return the patients that these hidden scores show."""
        n, encoder = len(hidden), self.encoder
        numbers = np.zeros((n, len(encoder.numbers)))
        missing = np.tile(encoder.missing_rates >= 1, (n, 1))
        levels = np.tile(
            np.array([int(np.argmax(shares)) for shares in encoder.shares], dtype=np.int64), (n, 1)
        )
        # Categories come first: a number may be described within their levels.
        for part, block in zip(self.parts, self.blocks, strict=True):
            scores = hidden[:, block]
            if part.kind == "bit":
                missing[:, part.column] = scores[:, 0] > part.offsets[0]
            elif part.kind == "number":
                mine = _described(encoder, part, levels)
                numbers[mine, part.column] = scores[mine, 0]
            elif part.binary:
                levels[:, part.column] = part.levels[(scores[:, 0] > part.offsets[0]).astype(int)]
            else:
                levels[:, part.column] = part.levels[np.argmax(scores + part.offsets, axis=1)]
        return encoder.decode(numbers, missing, levels)

    def _mask(self, part: _Part, records: Records) -> Bools:
        if part.kind == "category":
            return records.levels_apply[:, part.column]
        applies = records.applies[:, part.column]
        if part.kind == "bit":
            return applies
        there = applies & ~records.missing[:, part.column]
        return there & _described(self.encoder, part, records.levels)

    def _solve_thresholds(self, found: Floats) -> None:
        """Replace first-order values by exact ones where both are thresholds."""
        chosen = [i for i, part in enumerate(self.parts) if part.binary]
        where = np.array([self.blocks[i].start for i in chosen], dtype=np.int64)
        cuts = np.array([self.parts[i].offsets[0] for i in chosen])
        shows = np.array([self.parts[i].shows[0, 0] for i in chosen])
        pairs = np.ix_(where, where)
        found[pairs] = _tetrachoric(found[pairs] * np.outer(shows, shows), cuts)


def _categories(encoder: Encoder) -> list[_Part]:
    found = []
    for j, (feature, all_shares) in enumerate(zip(encoder.categories, encoder.shares, strict=True)):
        levels = np.flatnonzero(all_shares)
        shares, group = all_shares[levels], feature.needs or ""
        if len(levels) == 2:
            shows, offsets = _threshold(shares[1])
        elif len(levels) > 2:
            shows, offsets = _multinomial(shares)
        else:
            continue
        found.append(_Part("category", j, group, shows, shares[1:], offsets, levels))
    return found


def _bits(encoder: Encoder) -> list[_Part]:
    found = []
    for j, (feature, rate) in enumerate(zip(encoder.numbers, encoder.missing_rates, strict=True)):
        if 0 < rate < 1:
            shows, cut = _threshold(rate)
            group, levels = feature.needs or "", np.arange(2)
            found.append(_Part("bit", j, group, shows, np.array([rate]), cut, levels))
    return found


def _numbers(encoder: Encoder) -> list[_Part]:
    found = []
    for j, (feature, rate) in enumerate(zip(encoder.numbers, encoder.missing_rates, strict=True)):
        for row, counts in enumerate(encoder.counts[feature.name][:, :-1]):
            if not counts.any():
                continue
            # Numbers that are seen in the same patients share their counts.
            group = (feature.needs or "") if rate == 0 else feature.name
            group = f"{feature.name} {row}" if feature.given else group
            shows, mean = _score(feature, counts)
            found.append(_Part("number", j, group, shows, mean, np.array([]), np.array([]), row))
    return found


def _described(encoder: Encoder, part: _Part, levels: Ints) -> Bools:
    """Say to whom this score of a number belongs."""
    feature = encoder.numbers[part.column]
    if not feature.given:
        return np.ones(len(levels), dtype=bool)
    column = [category.name for category in encoder.categories].index(feature.given)
    # Those with a missing level are described as those with the first, see `Encoder.encode`.
    last = encoder.widths[column] - 1
    found: Bools = np.where(levels[:, column] == last, 0, levels[:, column]) == part.row
    return found


def _score(feature: Feature, counts: Floats) -> tuple[Floats, Floats]:
    """Return what the hidden score of a number shows on average, and the mean of what is seen.

    Within a bin of several values the score is seen as it is, within a bin of one value only the
    middle of its ranks.
    """
    # Noised counts are no whole numbers, and may add up to a little more than their sum.
    ends = np.minimum(np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]), 1.0)
    cuts, shares = ndtri(ends), np.diff(ends)
    middle = ndtri(np.clip((ends[1:] + ends[:-1]) / 2, 1e-12, 1 - 1e-12))
    heights = np.exp(-(cuts**2) / 2) / np.sqrt(2 * np.pi)
    slopes = np.where(np.isfinite(cuts), cuts, 0.0) * heights
    single = np.diff(edges(feature)) <= 1 if feature.column.kind == "integer" else None
    if single is None:
        single = np.zeros(len(counts), dtype=bool)
        single[[0, -1]] = True
    shown = np.where(single, -middle * np.diff(heights), shares - np.diff(slopes)).sum()
    mean = np.where(single, middle * shares, -np.diff(heights)).sum()
    return np.array([[shown if shown > 1e-3 else 0.0]]), np.array([mean])


def _threshold(share: float) -> tuple[Floats, Floats]:
    """Return what one hidden score shows above a threshold, and the threshold."""
    cut = float(ndtri(1 - share))
    return np.array([[np.exp(-(cut**2) / 2) / np.sqrt(2 * np.pi)]]), np.array([cut])


def _multinomial(shares: Floats) -> tuple[Floats, Floats]:
    """Return what independent hidden scores show, and the advantages that give these shares.

    By Stein's lemma the derivative of the shares by the advantages is also the mean product of
    scores and levels, so that Newton's method ends with both.
    """
    advantages = ndtri(shares) - ndtri(shares).mean()
    for _ in range(100):
        found, slope = _argmax(advantages)
        step = np.linalg.pinv(slope) @ (shares - found)
        advantages = advantages + step / max(1.0, np.abs(step).max() / 0.5)
        if np.abs(step).max() < 1e-10:
            break
    return slope[1:], advantages


def _argmax(advantages: Floats) -> tuple[Floats, Floats]:
    """Return how often each of several independent scores is largest, and the derivatives."""
    gaps = _GRID[:, None, None] + advantages[:, None] - advantages[None, :]
    below = ndtr(gaps)
    own = np.eye(len(advantages), dtype=bool)
    below[:, own] = 1.0
    product = below.prod(axis=2)
    shares = _DENSITY @ product
    density = np.exp(-(gaps**2) / 2) / np.sqrt(2 * np.pi)
    others = product[:, :, None] / np.maximum(below, 1e-300)
    slope = -np.einsum("g,glm,glm->lm", _DENSITY, density, others)
    slope[own] = 0.0
    slope[own] = -slope.sum(axis=1)
    return shares, slope


def _tetrachoric(covariance: Floats, cuts: Floats) -> Floats:
    """Return the correlations of hidden scores, given covariances of what is above thresholds.

    Bisects Sheppard's integral for the bivariate normal distribution
    (Pearson 1900, https://doi.org/10.1098/rsta.1900.0022).
    """
    nodes, node_weights = np.polynomial.legendre.leggauss(24)
    a, b = cuts[:, None, None], cuts[None, :, None]
    low = np.full(covariance.shape, -np.arcsin(0.99))
    high = -low
    for _ in range(40):
        angle = (low + high) / 2
        theta = angle[:, :, None] * (nodes + 1) / 2
        power = (a**2 + b**2 - 2 * a * b * np.sin(theta)) / (2 * np.cos(theta) ** 2)
        found = angle / 2 * (np.exp(-power) @ node_weights) / (2 * np.pi)
        low, high = (
            np.where(found < covariance, angle, low),
            np.where(found < covariance, high, angle),
        )
    return np.asarray(np.sin((low + high) / 2))


def _moments(seen: Floats, groups: Floats) -> dict[str, Floats]:
    return {
        "products": (seen.T @ seen)[np.triu_indices(seen.shape[1])],
        "counts": (groups.T @ groups)[np.triu_indices(groups.shape[1])],
    }


def _square(packed: Floats) -> Floats:
    """Return the symmetric matrix whose upper triangle was packed."""
    width = int((np.sqrt(8 * len(packed) + 1) - 1) / 2)
    full = np.zeros((width, width))
    full[np.triu_indices(width)] = packed
    return full + np.triu(full, 1).T


def _nearest(found: Floats, blocks: Sequence[slice]) -> Floats:
    """Return a correlation matrix near this one, the identity within every block."""
    values, vectors = np.linalg.eigh(found)
    found = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    scale = np.zeros_like(found)
    for block in blocks:
        values, vectors = np.linalg.eigh(found[block, block])
        scale[block, block] = (vectors / np.sqrt(values)) @ vectors.T
    found = scale @ found @ scale.T
    return (found + found.T) / 2
