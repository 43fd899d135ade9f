"""Where a client finds the records of its hospital."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from fedbench.accounting import Accountant
from fedbench.data import Cohort, Schema, read_cohort
from fedbench.encoding import Encoder, Records
from fedbench.errors import DataError, SpecError
from fedbench.federation.door import arrays_of
from fedbench.federation.stopping import Parted, parted
from fedbench.federation.study import Study
from fedbench.kinds import DATASETS
from fedbench.partition import Parts, split_by_coins, split_site
from fedbench.privacy import Limit, os_normals
from fedbench.seeds import Seeds
from fedbench.tables import build

__all__ = ["Dealt", "Folder", "SiteSource", "source_of"]

_DEALT: dict[str, Dealt] = {}


class SiteSource(ABC):
    """Gives a site its own training records, and nobody else's."""

    @abstractmethod
    def check(self, study: Study) -> None:
        """Say what is wrong with how records are asked for, without a look at them.

        Raises:
            SpecError: something is.
        """

    @abstractmethod
    def train(self, site: str, study: Study) -> Cohort:
        """Return the training records of ``site``."""

    @abstractmethod
    def accountant(self, site: str) -> Accountant:
        """Return where this site writes down what its releases cost."""

    @property
    def limit(self) -> Limit | None:
        """What this site allows over all trainings."""
        return None

    @abstractmethod
    def normals(self, stream: Seeds) -> Callable[[int], NDArray[np.float64]]:
        """Return a source of the noise of one message."""

    def encoder(self, site: str, schema: Schema, agreed: ArrayRecord) -> Encoder:
        """Return the encoder that the sites agreed on."""
        return Encoder(schema, arrays_of(agreed))

    def encoded(self, site: str, cohort: Cohort, encoder: Encoder) -> Records:
        """Return training records of ``site`` encoded."""
        return encoder.encode(cohort)

    def parted(self, site: str, study: Study) -> Parted:
        """Return the training records of ``site`` in two: to learn from, and to judge by."""
        share = study.stopping.share if study.stopping else 0.0
        # Whether somebody is left says how many there are: under a promise, nobody is told.
        empty = study.promise is not None
        return parted(self.train(site, study), share, dealing(study), empty=empty)


@dataclass
class Dealt(SiteSource):
    """A partition dealt in this process. Use as a context; clients find it by its token."""

    cohorts: Mapping[str, Cohort]
    token: str = field(default_factory=lambda: uuid4().hex)
    _encoders: dict[tuple[str, tuple[tuple[str, bytes], ...]], Encoder] = field(
        default_factory=dict
    )
    _encoded: dict[tuple[str, str, int], tuple[Cohort, Records]] = field(default_factory=dict)
    _parted: dict[str, Parted] = field(default_factory=dict)
    accountants: dict[str, Accountant] = field(default_factory=dict)

    def __enter__(self) -> Self:
        _DEALT[self.token] = self
        return self

    def __exit__(self, *_: object) -> None:
        del _DEALT[self.token]

    @property
    def schema(self) -> Schema:
        """The public schema that all sites share."""
        return next(iter(self.cohorts.values())).schema

    def check(self, study: Study) -> None:
        """Expect nothing: they are dealt already."""

    def train(self, site: str, study: Study) -> Cohort:
        return self.cohorts[site]

    def accountant(self, site: str) -> Accountant:
        """Return one that lives as long as this training: nothing outlasts it unreported."""
        return self.accountants.setdefault(site, Accountant())

    def normals(self, stream: Seeds) -> Callable[[int], NDArray[np.float64]]:
        """Return seeded noise, so that runs repeat; whoever knows the seed can take it off."""
        return stream.rng().standard_normal

    def encoder(self, site: str, schema: Schema, agreed: ArrayRecord) -> Encoder:
        key = (site, tuple((name, array.data) for name, array in agreed.items()))
        if key not in self._encoders:
            self._encoders[key] = super().encoder(site, schema, agreed)
        return self._encoders[key]

    def encoded(self, site: str, cohort: Cohort, encoder: Encoder) -> Records:
        key = (site, encoder.digest, id(cohort))
        if key not in self._encoded:
            # With the cohort, so that no other one gets its number.
            self._encoded[key] = cohort, super().encoded(site, cohort, encoder)
        return self._encoded[key][1]

    def parted(self, site: str, study: Study) -> Parted:
        if site not in self._parted:
            self._parted[site] = super().parted(site, study)
        return self._parted[site]


@dataclass(frozen=True)
class Folder(SiteSource):
    """A hospital's own folder of tables; it splits its patients itself.

    Under a promise to patients it does so by coins: then folders that differ by one patient have
    training records that do.

    ``ledger`` is the folder of its accountant, which outlasts every training.
    """

    path: Path
    ledger: Path | None = None
    allowed: Limit | None = None

    def accountant(self, site: str) -> Accountant:
        if self.ledger is None:
            raise SpecError(
                "This node's configuration lacks `accountant`, the folder in which it writes down "
                "what patients give away. Nothing is released without it."
            )
        return Accountant(self.ledger / f"{site}.jsonl")

    @property
    def limit(self) -> Limit | None:
        return self.allowed

    def normals(self, stream: Seeds) -> Callable[[int], NDArray[np.float64]]:
        """Return noise of the operating system, whatever the server's seed."""
        return os_normals

    def check(self, study: Study) -> None:
        _ = _parts(study), DATASETS.build(study.dataset.name, study.dataset.settings)

    def train(self, site: str, study: Study) -> Cohort:
        if not self.path.is_dir():
            raise DataError(
                f"There is no folder {self.path}, in which this site's records should be. "
                "Change `data` in its configuration."
            )
        schema = DATASETS.build(study.dataset.name, study.dataset.settings).schema
        cohort = read_cohort(schema, self.path)
        split = split_by_coins if study.promise else split_site
        return split(cohort, site, _parts(study), dealing(study)).train


def dealing(study: Study) -> Seeds:
    """Return the streams that say who is in which part of a site."""
    return Seeds(study.seed).child("deal", study.dataset.name)


def _parts(study: Study) -> Parts:
    """Return the shares in which a site divides its patients."""
    return build(Parts, study.parts, "The study's parts")


def source_of(node: Mapping[str, Any]) -> SiteSource:
    """Return the source a node's own configuration names."""
    if token := node.get("dealt"):
        return _DEALT[str(token)]
    if path := node.get("data"):
        ledger = node.get("accountant")
        return Folder(Path(str(path)), Path(str(ledger)) if ledger else None, _limit(node))
    raise SpecError("This node's configuration lacks `data`, the folder of its records.")


def _limit(node: Mapping[str, Any]) -> Limit | None:
    """Return what a node's configuration allows.

    Raises:
        SpecError: it is no number, or one of two is missing.
    """
    told = [node.get(name) for name in ("epsilon", "delta")]
    if told == [None, None]:
        return None
    try:
        epsilon, delta = (float(str(each)) for each in told)
        if epsilon > 0 and 0 < delta < 1:
            return Limit(epsilon, delta)
    except ValueError:
        pass
    raise SpecError(
        f"This node's configuration has epsilon {told[0]!r} and delta {told[1]!r}; expected both, "
        "above 0, and delta below 1."
    )


def dealt(token: str) -> Dealt:
    """Return the partition dealt under this token."""
    return _DEALT[token]
