"""One dataset dealt to its hospitals under one seed, with everything scores are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedbench.attack import Planting
from fedbench.config import DatasetChoice, Scenario
from fedbench.data import TABLES, Cohort, Schema
from fedbench.encoding import Encoder, summarize
from fedbench.errors import ContractError, FedbenchError, SpecError
from fedbench.heterogeneity import Index, altered, indices
from fedbench.kinds import PARTITIONERS
from fedbench.metric import Hospital, View
from fedbench.partition import PARTS, Partition, Partitioner, Parts, Place, Split, split_site, units
from fedbench.planting import Canaries, sown
from fedbench.seeds import Seeds
from fedbench.stats import poisson_weights

__all__ = ["World", "uniform"]


@dataclass(frozen=True)
class World:
    """Every hospital with its four parts, and one ruler for all cells of this seed."""

    dataset: DatasetChoice
    scenario: Scenario
    seed: int
    cohort: Cohort
    records: int
    replicates: int
    planting: Planting | None = None
    """Plants canaries among the training records; None: nobody does."""
    _views: dict[str, View] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        try:
            schema = self.partitioner.agreed(self.cohort.schema)
        except FedbenchError as error:
            raise self._placed(error) from error
        if schema is not self.cohort.schema:
            object.__setattr__(self, "cohort", replace(self.cohort, schema=schema))

    @property
    def schema(self) -> Schema:
        """The public description of the data."""
        return self.cohort.schema

    @property
    def seeds(self) -> Seeds:
        """The streams of this dataset under this seed."""
        return Seeds(self.seed).child("deal", self.dataset.name)

    @cached_property
    def partition(self) -> Partition:
        """Which patient lives where."""
        choice = self.scenario.partition
        rng = self.seeds.child("partition", self.scenario.name).rng()
        try:
            dealt = self.partitioner.deal(self.cohort, rng)
            if isinstance(dealt, Partition):
                return dealt.check(self.cohort)
        except FedbenchError as error:
            raise self._placed(error) from error
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise ContractError(f"{choice.name}: deal broke with {what}") from error
        raise ContractError(f"{choice.name}: deal returned {dealt!r:.80}; expected a Partition.")

    @cached_property
    def partitioner(self) -> Partitioner:
        """What deals the patients out."""
        choice = self.scenario.partition
        found: Partitioner = PARTITIONERS.build(choice.name, choice.settings)
        return found

    def _placed(self, error: FedbenchError) -> FedbenchError:
        """Return an error that says where it happened."""
        return type(error)(f"{self.dataset.called}, scenario {self.scenario.name!r}: {error}")

    @cached_property
    def canaries(self) -> Canaries | None:
        """The records that were planted; None where nobody plants."""
        if self.planting is None:
            return None
        like = Cohort.union([split.reference for split in self.dealt.values()])
        seeds = self.seeds.child("plant", self.scenario.name)
        return sown(self.planting, like, tuple(self.dealt), seeds)

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """Each site's own split, by name; canaries, if any, are among its training records."""
        if self.canaries is None:
            return self.dealt
        return {
            site: replace(split, train=Cohort.union([split.train, self.canaries.there[site]]))
            for site, split in self.dealt.items()
        }

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """How many real patients each site trains on; canaries do not count.

        So many records are written: how many canaries were trained on must not show in that.
        """
        return {site: len(split.train) for site, split in self.dealt.items()}

    @cached_property
    def dealt(self) -> Mapping[str, Split]:
        """Each site's own split, without canaries."""
        parts = Parts(**self.dataset.parts)
        _ = self.cohort.table  # once for all: every part takes its rows from it
        dealt = sorted(self.partition.patients.items())
        try:
            everyone = {site: self.cohort.take(patients) for site, patients in dealt}
            split = {
                site: split_site(found, site, parts, self.seeds) for site, found in everyone.items()
            }
        except SpecError as error:
            raise self._placed(SpecError(self._too_small(parts))) from error
        return {site: self._recorded(site, found, everyone[site]) for site, found in split.items()}

    def _recorded(self, site: str, split: Split, everyone: Cohort) -> Split:
        """Return a site's parts as it writes them down."""
        alters = self.partitioner.alters
        seeds = self.seeds.child("alter", self.scenario.name, site)
        found: dict[str, Cohort] = {}
        for name in PARTS:
            part = getattr(split, name)
            if name == "control" and split.control is split.test:
                found[name] = found["test"]
                continue
            if name in alters and len(part):
                place = Place(site, name, self.partition, everyone)
                part = self._altered(part, place, seeds.rng())
            found[name] = part
        return Split(**found)

    def _altered(self, part: Cohort, place: Place, rng: np.random.Generator) -> Cohort:
        try:
            found = self.partitioner.alter(part, place, rng)
        except FedbenchError as error:
            raise self._placed(error) from error
        if list(found.patients) != list(part.patients):
            name = self.scenario.partition.name
            raise ContractError(f"{name}: alter returned other patients than it was given.")
        return found

    @cached_property
    def recorded(self) -> Cohort:
        """All patients as they are in the parts of their sites."""
        if not self.partitioner.alters:
            return self.cohort
        parts = [
            getattr(split, name)
            for split in self.dealt.values()
            for name in PARTS
            if not (name == "control" and split.control is split.test)
        ]
        return Cohort.union([part for part in parts if len(part)])

    def _too_small(self, parts: Parts, most: int = 5) -> str:
        """Name the sites that cannot be split, and say what would help."""
        clusters = pd.Series(self.cohort.clusters, index=self.cohort.patients)
        known = {site: clusters.reindex(p) for site, p in self.partition.patients.items()}
        small = {site: c for site, c in known.items() if c.nunique() < parts.enough}
        what = units(self.schema)
        listed = [f"{site!r} has {c.nunique()} {what}" for site, c in sorted(small.items())]
        more = f", and {len(listed) - most} more" if len(listed) > most else ""
        shares = ", ".join(f"{name} {share:.3g}" for name, share in parts.shares.items())
        return (
            f"{', '.join(listed[:most])}{more}; to be split into {shares}, a site needs "
            f"{parts.enough}. {self.partitioner.advice(parts.enough)}"
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of the hospitals, sorted."""
        return tuple(self.splits)

    def part(self, name: str) -> Mapping[str, Cohort]:
        """Return one part of every site: train, test, control or reference."""
        return {site: getattr(split, name) for site, split in self.splits.items()}

    @cached_property
    def train(self) -> Cohort:
        """All training records."""
        return Cohort.union(list(self.part("train").values()))

    @cached_property
    def m(self) -> int:
        """Records scored per model: what the suite asks for, but not more than were trained on.

        The ceiling is real training records at the same n, so there must be that many.
        """
        return min(self.records, sum(self.sizes.values()))

    @cached_property
    def encoder(self) -> Encoder:
        """The evaluator's ruler: the pooled training records, the same for every cell."""
        return Encoder(self.schema, summarize(self.train))

    @cached_property
    def everyone(self) -> View:
        """All test patients under their bootstrap weights."""
        test = Cohort.union(list(self.part("test").values()))
        return View(test, self.weights_of(test))

    def target(self, site: str) -> View:
        """Return the test patients of one site, or everybody's for an empty name."""
        if not site:
            return self.everyone
        if site not in self._views:
            mine = pd.Index(self.everyone.cohort.patients).isin(self.splits[site].test.patients)
            self._views[site] = self.everyone.at(mine)
        return self._views[site]

    def beside(self, written: Mapping[str, Cohort]) -> Mapping[str, Hospital]:
        """Return all sites side by side, with their shares of what each alone has written.

        Args:
            written: records by site, of those who have a model of their own.
        """
        trained = {site: len(split.train) for site, split in self.splits.items()}
        shares = {site: -(-self.m * count // len(self.train)) for site, count in trained.items()}
        return {
            site: Hospital(self.target(site), count, self._share(written.get(site), shares[site]))
            for site, count in trained.items()
        }

    def _share(self, written: Cohort | None, count: int) -> View | None:
        if written is None:
            return None
        return self.synthetic(written.take(written.patients[: min(count, self.m)]))

    @cached_property
    def trained_on(self) -> View:
        """All training records under their bootstrap weights."""
        return View(self.train, self.weights_of(self.train))

    def weights_of(self, cohort: Cohort) -> NDArray[np.uint8]:
        """Return the weights of these patients: one draw per cluster of the whole dataset."""
        known, all_weights = self._weights
        return all_weights[:, np.searchsorted(known, cohort.clusters.astype(str))]

    def synthetic(self, cohort: Cohort) -> View:
        """Return synthetic records under bootstrap weights, the same in every cell."""
        return View(cohort, self._synthetic_weights[:, : len(cohort)])

    def table(self) -> pd.DataFrame:
        """Return every patient with site, cluster and part."""
        where = {
            patient: (site, name)
            for site, split in self.splits.items()
            for name in PARTS
            for patient in getattr(split, name).patients
            if not (name == "control" and split.control is split.test)
        }
        known = [where[patient] for patient in self.cohort.patients]
        return pd.DataFrame(
            {
                "patient": self.cohort.patients,
                "site": [site for site, _ in known],
                "cluster": self.cohort.clusters.astype(str),
                "part": [part for _, part in known],
            }
        )

    @cached_property
    def heterogeneity(self) -> list[dict[str, Any]]:
        """How the hospitals differ."""
        told = [
            Index(site, name, float(value))
            for each in self.partitioner.chain
            for site, numbers in each.numbers(self.cohort, self.partition).items()
            for name, value in numbers.items()
        ]
        if self.partitioner.alters:
            for site, split in self.dealt.items():
                dealt = self.cohort.take(split.train.patients)
                told += altered(site, dealt, split.train)
        return [dict(vars(row)) for row in [*indices(self.recorded, self.partition), *told]]

    @cached_property
    def _weights(self) -> tuple[NDArray[np.str_], NDArray[np.uint8]]:
        known = np.unique(self.cohort.clusters.astype(str))
        rng = Seeds(self.seed).child("bootstrap", self.dataset.name).rng()
        return known, poisson_weights(rng, len(known), self.replicates)

    @cached_property
    def _synthetic_weights(self) -> NDArray[np.uint8]:
        rng = Seeds(self.seed).child("bootstrap", self.dataset.name, "synthetic").rng()
        return poisson_weights(rng, self.m, self.replicates)


def uniform(encoder: Encoder, n: int, rng: np.random.Generator) -> Cohort:
    """Return patients whose every column is drawn uniformly over its public range.

    Categories take each level, missing included where somebody misses it, equally often;
    numbers are spread over their public bounds and never missing.
    """
    flat = {
        name: np.where(counts > 0, 1.0, 0.0)
        if encoder_is_category(encoder, name)
        else _level(counts)
        for name, counts in encoder.counts.items()
    }
    ruler = Encoder(encoder.schema, flat)
    drawn = [rng.choice(np.flatnonzero(possible), size=n) for possible in ruler.possible]
    levels = np.column_stack([np.empty((n, 0), np.int64), *drawn])  # there may be no category
    numbers = rng.standard_normal((n, len(ruler.numbers)))
    return ruler.decode(numbers, np.zeros(numbers.shape, dtype=bool), levels)


def encoder_is_category(encoder: Encoder, name: str) -> bool:
    """Say whether a feature is a category."""
    return encoder.schema.feature(name).column.kind == "category"


def _level(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    even = np.ones_like(counts)
    even[..., -1] = 0.0
    return even


def renamed(cohort: Cohort, names: NDArray[np.object_]) -> Cohort:
    """Return the same records under new patient names, in the order of ``cohort.patients``."""
    new = pd.Series(names, index=cohort.patients)

    def under(table: pd.DataFrame) -> pd.DataFrame:
        named = table.assign(patient=new.reindex(table["patient"]).to_numpy(dtype=object))
        by = ["patient", "day"] if "day" in named else ["patient"]
        return named.sort_values(by, kind="stable", ignore_index=True)

    return Cohort(cohort.schema, *(under(getattr(cohort, name)) for name in TABLES))
