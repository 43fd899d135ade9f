"""Numbers about synthetic records, each with its uncertainty."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.data import Cohort, Schema
from fedbench.direction import Better
from fedbench.encoding import Encoder
from fedbench.errors import ContractError
from fedbench.plugin import Plugin
from fedbench.seeds import Rng

__all__ = [
    "FEWEST",
    "Anchors",
    "Evidence",
    "Family",
    "Hospital",
    "Key",
    "Latents",
    "Measure",
    "Metric",
    "Refusal",
    "View",
    "checked",
    "no_model",
]

Family = Literal["fidelity", "utility", "privacy", "fairness", "communication", "compute"]

FEWEST = 10
"""Patients of either side below which no number is given: intervals of so few are guesswork."""

T = TypeVar("T")

Latents = Callable[[Cohort], "NDArray[np.float64] | Refusal"]
"""Where a trained model puts patients, one row of hidden numbers each, or why it cannot."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What a number is about, beyond the metric's name; empty where it does not apply.

    ``column`` is also the place of a rule or a group of patients. ``level`` and ``group`` are
    overwritten where means over hospitals are made.
    """

    task: str = ""
    column: str = ""
    secret: str = ""
    level: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number and how far to trust it.

    ``replicates`` are ``B`` bootstrap values on the harness's own weights, re-centred on
    ``value``; gains, taxes, normalized values and worst sites are arithmetic on them.
    ``part`` is appended to the metric's name when it measures several things
    (``utility`` with part ``auroc`` is the row ``utility.auroc``).
    ``weak`` says why the number is too uncertain to stand as a row of its own; gains and taxes
    still use it, with the spread that ``cases`` (events, or the rarer of two classes) imply.
    ``least`` and ``most`` are the ends of its scale, which no mean over hospitals leaves.
    ``facts`` fill further columns of the row.
    """

    value: float
    low: float
    high: float
    n: int
    part: str = ""
    key: Key = Key()
    replicates: NDArray[np.float64] | None = None
    weak: str = ""
    cases: int = 0
    least: float = -math.inf
    most: float = math.inf
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no number."""

    reason: str
    status: Literal["refused", "not applicable", "skipped"] = "refused"
    part: str = ""
    key: Key = Key()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Anchors:
    """The two ends of a metric's scale.

    ``uniform`` draws every column uniformly over its public range; ``independent`` is the
    generator of that name, same regime; ``real`` is the training records scored as if they
    were synthetic, at the same n: train-vs-test for fidelity, train-on-real for utility.
    """

    floor: Literal["uniform", "independent"] | None = None
    ceiling: Literal["real"] | None = None


@dataclass(frozen=True)
class View:
    """Records under bootstrap weights, with what was already computed from them.

    ``weights`` has shape ``(B, n)``, one column per patient of ``cohort``, in its order.
    """

    cohort: Cohort
    weights: NDArray[np.uint8]
    _cache: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cohort)

    @property
    def table(self) -> pd.DataFrame:
        """The patient table, see ``Cohort.table``."""
        return self.cohort.table

    def shared(self, name: str, compute: Callable[[], T]) -> T:
        """Return what ``compute`` gives, computed once for all metrics."""
        if name not in self._cache:
            self._cache[name] = compute()
        return cast("T", self._cache[name])

    def at(self, rows: NDArray[np.bool_]) -> View:
        """Return these patients only."""
        return View(self.cohort.take(self.cohort.patients[rows]), self.weights[:, rows])


def no_model(cohort: Cohort) -> Refusal:
    """Say that no model can be asked about these patients."""
    del cohort
    reason = "there is no trained model here, only the records that it wrote"
    return Refusal(reason=reason, status="not applicable")


@dataclass(frozen=True)
class Hospital:
    """One site beside the others: its test patients, and with how many it trained.

    ``written`` are as many records as its share of everybody's training patients, from a model
    that knows this site alone; None where one model was learnt from all of them.
    """

    test: View
    trained: int
    written: View | None = None


@dataclass(frozen=True)
class Evidence:
    """All that a metric may look at: one model's records, and one target's patients.

    ``model`` is whose model wrote, ``site`` whose patients they are held against; both are empty
    where it is everybody.

    ``test`` are the real patients of the target (one site, or everybody); ``train`` are all
    training records. ``encoder`` describes the pooled training records and is the same for
    every cell of a seed, so that all are measured with one ruler. ``synthetic`` belongs to the
    model: what is fitted on it is shared between targets through ``synthetic.shared``.
    ``ledger`` holds every message of the cell: phase, round, site, way, bytes. ``latents`` asks
    the trained model. ``beside`` are all sites by name, whoever the target is; empty where nobody
    knows of any. ``before`` is what was written before the last one joined, where they came one
    after another.
    """

    schema: Schema
    encoder: Encoder
    train: View
    test: View
    synthetic: View
    site: str = ""
    model: str = ""
    ledger: pd.DataFrame | None = None
    latents: Latents = no_model
    beside: Mapping[str, Hospital] = field(default_factory=dict)
    before: View | None = None


class Metric(Plugin):
    """A question asked of synthetic records.

    The harness asks about one model and one target at a time, and makes pairs, gains, worst
    sites and normalized values itself.
    """

    family: ClassVar[Family]
    better: ClassVar[Better]
    """Where its best lies; a part whose best lies elsewhere says so in ``Measure.facts``."""
    version: ClassVar[int]
    anchors: ClassVar[Anchors] = Anchors()
    per_site: ClassVar[bool] = True
    """Whether it can also be asked of one site's patients."""
    needs_synthetic: ClassVar[bool] = True
    """Whether it looks at synthetic records; if not, it is asked once per dataset and seed."""
    needs_model: ClassVar[bool] = False
    """Whether it asks the trained model, which is not kept: asked when a cell is trained, only."""
    needs_replicates: ClassVar[bool] = False
    """Whether values, and not only their intervals, rest on the bootstrap: it then takes as many
    replicates to know a value as to know its interval."""

    judges_few: ClassVar[bool] = False
    """Whether it says itself, answer by answer, what rests on too few patients: it is asked about
    however few there are, because gains over hospitals use what is ``Measure.weak`` too."""

    @property
    def fewest(self) -> int:
        """Test and synthetic patients that it needs; it is not asked about fewer than ``FEWEST``.

        The harness refuses what looks at fewer.
        """
        return FEWEST

    @abstractmethod
    def measure(self, evidence: Evidence, rng: Rng) -> Sequence[Measure | Refusal]:
        """Answer the question."""


def checked(metric: Metric, found: object, draws: int) -> Sequence[Measure | Refusal]:
    """Return what a metric answered, if it is what a metric promises to answer.

    Raises:
        ContractError: it is something else; says which plug-in, what it gave and what was expected.
    """
    what = f"{type(metric).__module__}:{type(metric).__name__}.measure"
    if isinstance(found, Measure | str) or not isinstance(found, Iterable):
        raise ContractError(
            f"{what} returned {found!r:.80}; expected a list of Measure and Refusal."
        )
    answers = list(found)
    for answer in answers:
        if wrong := _wrong(answer, draws):
            raise ContractError(f"{what} returned a list with {wrong}")
    return answers


def _wrong(answer: object, draws: int) -> str:
    """Return what is wrong with an answer and what was expected, or nothing."""
    if not isinstance(answer, Measure | Refusal):
        return f"{answer!r:.80}; expected Measure or Refusal."
    if not isinstance(answer.key, Key):
        return f"the key {answer.key!r:.80}; expected a Key."
    if isinstance(answer, Refusal):
        return "" if answer.reason else "a Refusal without a reason; expected one in words."
    for name in ("value", "low", "high", "n"):
        if not isinstance(number := getattr(answer, name), Real):
            return f"the {name} {number!r:.80} in a Measure; expected a number."
    if answer.replicates is not None and np.shape(answer.replicates) != (draws,):
        shape = np.shape(answer.replicates)
        return f"replicates of the shape {shape}; expected one number per draw, ({draws},)."
    return ""
