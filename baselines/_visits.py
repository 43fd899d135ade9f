"""Visits as rows that a network can be asked about, and rows as visits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedbench.baselines._rows import Field, Layout
from fedbench.data import SHORT, Cohort, Feature, Part
from fedbench.encoding import Encoder, edges
from fedbench.seeds import Rng
from fedbench.sequences import Sequences

__all__ = ["Plan"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEFT = 5
"""Which of the numbers that say when says how long follow-up goes on."""

_MINUTE = 1 / 1440
_SINGLE, _WIDE, _FAR = 60, 144, 36525


class Plan:
    """What the agreed encoder and the public schema say about fields, scales and days.

    With ``apart``, codes are not among the fields of a visit: their bits stand behind them. With
    ``closing``, the clock also says how long the last window is still open: until then stays are
    recorded, however long patients are followed.
    """

    def __init__(
        self, encoder: Encoder, blocks: int, *, apart: bool = False, closing: bool = False
    ) -> None:
        self.encoder, schema = encoder, encoder.schema
        self.schema = schema
        once = (Part.STATIC, Part.OUTCOME)
        self.fact_numbers = [j for j, f in enumerate(encoder.numbers) if f.part in once]
        self.fact_levels = [j for j, f in enumerate(encoder.categories) if f.part in once]
        known: list[Field] = []
        for feature in schema.features:
            if feature.part not in once:
                continue
            if feature.column.kind == "category":
                j = encoder.categories.index(feature)
                known.append(
                    Field("category", encoder.widths[j], encoder.possible[j], name=feature.name)
                )
            else:
                known.append(Field("number", name=feature.name))
        self.once = Layout(known, 32)
        self.numbers = [(k, c) for k, c in schema.visits.items() if c.kind != "category"]
        self.categories = [(k, c) for k, c in schema.visits.items() if c.kind == "category"]
        codes = [code for v in schema.vocabularies.values() for code in v.codes]
        told = [Field("bit", name="visited")] if schema.visits and codes else []
        told += [Field("number", gated=True, name=f"number {name}") for name, _ in self.numbers]
        told += [
            Field("category", len(column.levels) + 1, gated=True, name=f"category {name}")
            for name, column in self.categories
        ]
        bits = [Field("bit", name=f"code {i}") for i in range(len(codes))]
        # A layout has a field at least; where codes are all there is, one that never is.
        told += bits if not apart else [] if told else [Field("bit", name="nothing")]
        self.visit = Layout(told, blocks)
        self.width = self.visit.width + (len(codes) if apart else 0)
        self.visited = self.visit.place("visited") if schema.visits and codes else None
        self.score_at = [self.visit.place(f"number {name}") + 1 for name, _ in self.numbers]
        self.level_at = [self.visit.place(f"category {name}") for name, _ in self.categories]
        self.code_at = [
            self.visit.width + i if apart else self.visit.place(f"code {i}")
            for i in range(len(codes))
        ]
        self.unit = _MINUTE if any(w.end - w.start < SHORT for w in schema.windows) else 1.0
        ends = [end for w in schema.windows for end in (w.start, w.end) if abs(end) < _FAR]
        single = np.arange(_SINGLE + 1)
        far = np.floor(np.geomspace(_SINGLE + 1, _FAR / self.unit, _WIDE))
        self.gaps = np.unique([*single, *far]).astype(np.int64)
        even: list[float] = []
        if ends:
            even = np.floor(np.linspace(min(ends), max(ends), 33) / self.unit).tolist()
        last = schema.windows[-1].end if schema.windows else np.inf
        self.closing = (last if abs(last) < _FAR else 0.0) if closing else None
        self.clocks = 7 + closing
        self.days = np.unique([*-self.gaps, *self.gaps, *even]).astype(np.int64)
        self.scales = [self._scale(name) for name, _ in self.numbers]

    def _scale(self, name: str) -> tuple[Encoder, Feature]:
        """Return what numbers of this column were agreed to be, over all windows together."""
        every = [f for f in self.schema.features if f.part is Part.VISITS and f.source == name]
        feature = Feature(name, self.schema.visits[name], Part.VISITS, name)
        if not every:
            counts = np.zeros((1, len(edges(feature))))
        else:
            counts = np.sum([self.encoder.counts[f.name] for f in every], axis=0)
        # Last values tell which values there are, not all of them.
        counts = counts + max(1.0, 1e-3 * float(counts.sum())) / counts.shape[1]
        return Encoder(self.schema, {name: counts}), feature

    def told(self, steps: Sequences) -> NDArray[np.float32]:
        """Return the rows of all steps, ``(steps, columns)``."""
        found = np.zeros((len(steps.day), self.width), dtype=np.float32)
        if self.visited is not None:
            found[:, self.visited] = steps.visited
        for j, (at, (encoder, feature)) in enumerate(zip(self.score_at, self.scales, strict=True)):
            there = steps.measured[:, j]
            rows = np.zeros(int(there.sum()), dtype=np.int64)
            found[there, at - 1] = 1
            found[there, at] = encoder.scores(feature, steps.numbers[there, j], rows)
        for j, at in enumerate(self.level_at):
            found[np.arange(len(found)), at + steps.levels[:, j]] = 1
        step = np.repeat(np.arange(len(found)), np.diff(steps.code_starts))
        found[step, np.array(self.code_at, dtype=np.int64)[steps.codes]] = 1
        return found

    def clock(self, day: Floats, gap: Floats, count: Ints, end: Floats) -> Floats:
        """Return what time says about steps; all in days, ``(steps, clocks)``."""

        def size(days: Floats) -> Floats:
            return np.sign(days) * np.log1p(np.abs(days) / self.unit) / 5

        left = np.where(np.isfinite(end), end - day, 0.0)
        far = max(float(abs(self.schema.windows[0].start)), 30.0) if self.schema.windows else 365.0
        parts = [
            size(day), np.tanh(day / far), day > 0, size(gap), np.log1p(count) / 3, size(left),
            count == 0,
        ]  # fmt: skip
        if self.closing is not None:
            parts.append(size(self.closing - day))
        return np.stack(parts, axis=-1).astype(np.float32)

    def opened(self, logits: Tensor, clock: Tensor) -> Tensor:
        """Return logits of the days until the next visit that give nothing to what is too late.

        ``logits`` has no next visit first, then the public bins; ``clock`` is that of the visit.
        """
        if not self.schema.outcome:
            return logits
        left = torch.expm1(5 * clock[..., _LEFT, None]) * self.unit
        starts = torch.as_tensor(self.gaps * self.unit).to(clock)
        late = starts > left + self.unit  # days are rounded
        none = torch.zeros_like(late[..., :1])
        return logits.masked_fill(torch.cat([none, late], dim=-1), -1e9)

    def padded(self, cohort: Cohort, longest: int) -> Sequence[NDArray[Any]]:
        """Return what comes next, what it holds, and when: ``(n, most + 1)`` and one axis more."""
        steps = cohort.sequences
        n, lengths = len(steps), np.diff(steps.starts)
        kept = np.minimum(lengths, longest)
        most = int(kept.max(initial=0)) + 1
        count = np.arange(len(steps.day)) - np.repeat(steps.starts[:-1], lengths)
        mine = count < longest
        owner, count = steps.owner[mine], count[mine]
        day = np.round(steps.day / self.unit)
        gap = np.nan_to_num(np.diff(day, prepend=0.0))
        first = np.searchsorted(self.days, day, side="right").clip(1)
        later = np.searchsorted(self.gaps, gap, side="right").clip(1)
        when = np.full((n, most), -1, dtype=np.int64)
        ended = np.flatnonzero(lengths <= longest)
        ended = ended[kept[ended] < most]
        when[ended, kept[ended]] = 0
        when[owner, count] = np.where(count == 0, first[mine], later[mine])
        content = np.zeros((n, most, self.width), dtype=np.float32)
        content[owner, count] = self.told(steps)[mine]
        times = np.full(n, np.inf)
        if self.schema.outcome:
            times = cohort.outcome["time"].to_numpy(dtype=np.float64)
        clock = np.zeros((n, most, self.clocks), dtype=np.float32)
        clock[owner, count] = self.clock(
            steps.day[mine], np.where(count > 0, gap[mine] * self.unit, 0.0), count, times[owner]
        )
        return when, content, clock

    def carried(self, content: Tensor) -> Tensor:
        """Return, before each step, the last score of each number and whether there is one."""
        steps = content.shape[1]
        bits = content[..., [at - 1 for at in self.score_at]]
        scores = content[..., self.score_at]
        count = torch.arange(1, steps + 1, device=content.device)[:, None]
        last = torch.cummax(bits * count, dim=1).values.long()
        last = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], dim=1)
        found = torch.gather(scores, 1, (last - 1).clamp(min=0))
        known = (last > 0).to(content)
        return torch.cat([found * known, known], dim=-1)

    def carrying(self, carried: Tensor, rows: Tensor) -> Tensor:
        """Return the same after one more step, ``(n, 2 * numbers)``."""
        bits, p = rows[:, [at - 1 for at in self.score_at]], len(self.score_at)
        scores = torch.where(bits > 0, rows[:, self.score_at], carried[:, :p])
        return torch.cat([scores, torch.maximum(bits, carried[:, p:])], dim=1)

    def facts(self, numbers: Tensor, missing: Tensor, onehot: Tensor) -> Tensor:
        """Return the row of what is known once."""
        encoder, found = self.encoder, []
        starts = np.cumsum([0, *encoder.widths])
        named = {f.name: j for j, f in enumerate(encoder.numbers)}
        levels = {f.name: j for j, f in enumerate(encoder.categories)}
        for field in self.once.fields:
            if field.kind == "number":
                j = named[field.name]
                found += [1 - missing[:, [j]], numbers[:, [j]]]
            else:
                j = levels[field.name]
                found.append(onehot[:, starts[j] : starts[j + 1]])
        return torch.cat(found, dim=1) if found else numbers[:, :0]

    def gap(self, choice: Ints, rng: Rng, *, first: bool) -> Floats:
        """Draw days within the chosen public bins, which are counted from 1."""
        starts = self.days if first else self.gaps
        ends = np.append(starts[1:], starts[-1] + 1)
        low, high = starts[choice - 1], ends[choice - 1]
        return np.asarray(np.floor(low + rng.random(len(low)) * (high - low)) * self.unit)

    def timed(self, logits: Floats, left: Floats, rng: Rng, *, first: bool) -> tuple[Ints, Floats]:
        """Draw a public bin for each row, 0 for none, and days within it: none beyond ``left``.

        Bins that begin too late are left out of the draw, as training saw none there.
        """
        late = (self.days if first else self.gaps) * self.unit > left[:, None]
        none = np.zeros((len(logits), 1), dtype=bool)
        shown = np.where(np.concatenate([none, late], axis=1), -np.inf, logits)
        choice = np.argmax(shown + rng.gumbel(size=shown.shape), axis=1)
        most = np.floor(left / self.unit) * self.unit
        return choice, np.minimum(self.gap(choice.clip(1), rng, first=first), most)

    def decoded(self, facts: Tensor) -> Cohort:
        """Return what is known once as a cohort without visits."""
        encoder, n, rows = self.encoder, len(facts), facts.double().numpy()
        numbers = np.zeros((n, len(encoder.numbers)))
        missing = np.ones(numbers.shape, dtype=bool)
        levels = np.zeros((n, len(encoder.widths)), dtype=np.int64)
        layout = self.once
        named = {f.name: j for j, f in enumerate(encoder.numbers)}
        categories = [f.name for f in encoder.categories]
        for i, field in enumerate(layout.fields):
            mine = rows[:, layout.columns[i] : layout.columns[i + 1]]
            if field.kind == "number":
                j = named[field.name]
                missing[:, j], numbers[:, j] = mine[:, 0] == 0, mine[:, 1]
            else:
                levels[:, categories.index(field.name)] = np.argmax(mine, axis=1)
        return encoder.decode(numbers, missing, levels)

    def joined(self, whole: Cohort, found: list[tuple[Ints, Floats, Floats]]) -> Cohort:
        """Return the cohort with these visits."""
        n = len(whole)
        owner = np.concatenate([np.empty(0, dtype=np.int64), *(f[0] for f in found)])
        day = np.concatenate([np.empty(0), *(f[1] for f in found)])
        rows = np.concatenate([np.empty((0, self.width)), *(f[2] for f in found)])
        order = np.argsort(owner, kind="stable")
        owner, day, rows = owner[order], day[order], rows[order]
        numbers = np.zeros((len(day), len(self.score_at)))
        measured = np.zeros(numbers.shape, dtype=bool)
        for j, (at, (encoder, feature)) in enumerate(zip(self.score_at, self.scales, strict=True)):
            measured[:, j] = rows[:, at - 1] > 0
            numbers[:, j] = encoder.values(feature, rows[:, at], np.zeros(len(day), dtype=np.int64))
        levels = np.zeros((len(day), len(self.level_at)), dtype=np.int64)
        for j, (at, (_, column)) in enumerate(zip(self.level_at, self.categories, strict=True)):
            levels[:, j] = np.argmax(rows[:, at : at + len(column.levels) + 1], axis=1)
        step, code = np.nonzero(rows[:, self.code_at] > 0)
        there = bool(self.schema.visits)
        visited = np.full(len(day), there) if self.visited is None else rows[:, self.visited] > 0
        return Sequences(
            schema=self.schema,
            patients=whole.patients,
            starts=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]),
            day=day,
            visited=visited,
            numbers=np.where(measured, numbers, 0.0),
            measured=measured,
            levels=levels,
            code_starts=np.concatenate([[0], np.cumsum(np.bincount(step, minlength=len(day)))]),
            codes=code,
        ).cohort(whole.static, whole.outcome if self.schema.outcome else None)
