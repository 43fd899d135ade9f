"""Asking every metric about every pair of a model and a target."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn, cast

import numpy as np
import pandas as pd

from fedbench.errors import ContractError, Refused, Unsupported
from fedbench.metric import (
    FEWEST,
    Anchors,
    Evidence,
    Hospital,
    Latents,
    Measure,
    Metric,
    Refusal,
    View,
    checked,
    no_model,
)
from fedbench.nouns import plural
from fedbench.seeds import Rng
from fedbench.world import World

__all__ = ["Answer", "Aside", "Question", "answers", "pairs", "questions"]


@dataclass(frozen=True)
class Question:
    """One model and one target; ``target`` is the word for their relation."""

    model: str
    site: str
    target: str


@dataclass(frozen=True)
class Aside:
    """What a cell has besides records: what crossed, what its models say, and its hospitals."""

    ledger: pd.DataFrame | None = None
    latents: Callable[[str], Latents] = lambda _: no_model
    beside: Mapping[str, Hospital] = field(default_factory=dict)
    before: View | None = None


@dataclass(frozen=True)
class Answer:
    """What was found for a question, ready to become a row."""

    question: Question
    name: str
    family: str
    better: str
    version: int
    found: Measure | Refusal
    status: str = "done"
    facts: Mapping[str, Any] = field(default_factory=dict)
    anchors: Anchors = Anchors()

    def row(self) -> dict[str, Any]:
        """Return the columns of a row that this answer fills, and its replicates."""
        found = self.found
        name = f"{self.name}.{found.part}" if found.part else self.name
        row: dict[str, Any] = {
            "model": self.question.model,
            "site": self.question.site,
            "target": self.question.target,
            "name": name,
            "family": self.family,
            "better": self.better,
            "metric_version": self.version,
            "anchors": self.anchors,
            **asdict(found.key),
            **found.facts,
            **self.facts,
        }
        if isinstance(found, Refusal):
            return {**row, "status": self.status, "reason": found.reason, "weak": ""}
        if not np.isfinite([found.value, found.low, found.high]).all():
            reason = "the number or its interval is not defined for these patients"
            return {**row, "status": "refused", "reason": reason, "weak": ""}
        row |= {"value": found.value, "low": found.low, "high": found.high, "n": found.n}
        row |= {"least": found.least, "most": found.most}
        if found.replicates is not None and not found.key.column:
            row["replicates"] = np.asarray(found.replicates, dtype=np.float64)
        return {**row, "status": "done", "reason": "", "weak": found.weak, "cases": found.cases}


def pairs(models: Sequence[str], sites: Sequence[str], *, per_site: bool) -> Iterator[Question]:
    """Return what is asked of these models.

    A model of everybody (empty name) is asked about the pooled patients and about each site's.
    A site's own model is asked about its own patients (specialist) and about everybody's
    (generalist).
    """
    for model in models:
        if model:
            yield Question(model, "", "generalist")
            if per_site:
                yield Question(model, model, "specialist")
        else:
            yield Question("", "", "pooled")
            if per_site:
                yield from (Question("", site, "specialist") for site in sites)


def questions(metric: Metric, models: Sequence[str], sites: Sequence[str]) -> list[Question]:
    """Return what this metric is asked; what crossed the wire belongs to no single model."""
    if metric.family == "communication":
        return list(pairs([""], sites, per_site=True))
    return list(pairs(models, sites, per_site=metric.per_site))


def answers(
    world: World,
    name: str,
    metric: Metric,
    views: Mapping[str, View],
    aside: Aside,
) -> Iterator[Answer]:
    """Ask one metric about all models of a cell."""
    empty = next(iter(views.values()))
    enough = _as_they_are if metric.judges_few else _enough
    for question in questions(metric, list(views), world.sites):
        evidence = Evidence(
            schema=world.schema,
            encoder=world.encoder,
            train=world.trained_on,
            test=enough(world.target(question.site), "real test", metric.fewest),
            synthetic=enough(views.get(question.model, empty), "synthetic", metric.fewest),
            site=question.site,
            model=question.model,
            ledger=aside.ledger,
            latents=aside.latents(question.model),
            beside=aside.beside,
            before=None if aside.before is None else enough(aside.before, "earlier synthetic"),
        )
        rng = world.seeds.child("score", name).rng()

        def answer(found: Measure | Refusal, status: str, to: Question = question) -> Answer:
            about = (name, metric.family, metric.better, metric.version)
            return Answer(to, *about, found, status, anchors=metric.anchors)

        def ask(about: Evidence = evidence, rng: Rng = rng) -> Sequence[Measure | Refusal]:
            return checked(metric, metric.measure(about, rng), world.replicates)

        for found, status in guarded(ask):
            yield answer(found, status)


def guarded(
    ask: Callable[[], Sequence[Measure | Refusal]],
) -> Iterator[tuple[Measure | Refusal, str]]:
    """Return what was found with its status; what goes wrong becomes a row with its reason."""
    try:
        for found in ask():
            yield found, found.status if isinstance(found, Refusal) else "done"
    except Unsupported as reason:
        yield Refusal(reason=str(reason)), "skipped"
    except Refused as reason:
        yield Refusal(reason=str(reason)), "refused"
    except ContractError as reason:
        yield Refusal(reason=str(reason)), "failed"
    except Exception:  # noqa: BLE001  (the one place where a measure becomes failed)
        yield Refusal(reason=traceback.format_exc(limit=8)), "failed"


class _TooFew:
    """In the place of patients of whom nothing can be said: whoever looks at them is refused."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise Refused(self._reason)

    def __len__(self) -> NoReturn:
        raise Refused(self._reason)


def _as_they_are(view: View, what: str, fewest: int = FEWEST) -> View:
    del what, fewest  # the metric counts them itself
    return view


def _enough(view: View, what: str, fewest: int = FEWEST) -> View:
    """Return these patients, if they are as many as a number needs.

    What says that it does not apply before it looks at anybody is still heard.
    """
    least = max(fewest, FEWEST)
    if len(view) >= least:
        return view
    found = plural(len(view), f"{what} patient")
    return cast("View", _TooFew(f"{found}; this needs at least {least}."))
