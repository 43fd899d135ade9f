"""Regroupings of sites around the one training loop, and what each regime releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
from flwr.app import RecordDict
from numpy.typing import NDArray

from fedbench.config import GeneratorChoice, Regime
from fedbench.data import TABLES, Cohort
from fedbench.errors import ContractError, DataError
from fedbench.federation.door import record_of, size
from fedbench.federation.inprocess import Trained, train
from fedbench.federation.study import Study
from fedbench.generator import Generator, Statistic
from fedbench.kinds import GENERATORS, STRATEGIES
from fedbench.metric import Refusal
from fedbench.world import World, renamed

__all__ = ["CHARGES", "Release", "Took", "Trainer"]

_POOLED = "all"
"""The one site that has everybody's records."""

CHARGES = ("site", "what", "noise", "rate", "steps")
LEDGER = ("phase", "round", "site", "way", "bytes")


@dataclass(frozen=True)
class Took:
    """How long a release took on this machine: seconds, and how many records were drawn.

    All that it rests on counts, also where another regime had it done before.
    """

    training: float
    sampling: float
    records: int


@dataclass(frozen=True)
class Release:
    """What a regime publishes: one model's records, or one per site, and what it cost.

    ``records`` is keyed by the model's name: empty for a model of everybody. Each holds enough
    for fidelity and for privacy, which use prefixes. ``remarks`` are the strategy's (columns
    ``site``, ``name``, ``value``). ``charges`` are those of the privacy accountants (columns
    ``site``, ``what``, ``noise``, ``rate``, ``steps``); a training on pooled records is charged to
    all sites alike. ``judged`` says which rounds were kept (columns ``model``, ``phase``,
    ``rounds``, ``loss``, ``patients``, ``noise``, ``kept``). ``before`` is what was written before
    the last hospital joined, where they came one after another. ``took`` is how long it took; None
    where nothing was trained.
    """

    records: Mapping[str, Cohort]
    ledger: pd.DataFrame | None = None
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    remarks: pd.DataFrame = field(default_factory=pd.DataFrame)
    charges: pd.DataFrame = field(default_factory=pd.DataFrame)
    judged: pd.DataFrame = field(default_factory=pd.DataFrame)
    before: Cohort | None = None
    took: Took | None = None


@dataclass
class Trainer:
    """Trains one generator in one world; regimes that need the same training share it."""

    world: World
    choice: GeneratorChoice
    device: str
    _trained: dict[str, Trained] = field(default_factory=dict)
    _written: dict[str, Cohort] = field(default_factory=dict)
    _drawing: dict[str, float] = field(default_factory=dict)

    @property
    def generator(self) -> Generator:
        """The generator."""
        return GENERATORS.build(self.choice.name, self.choice.settings)

    def release(self, regime: Regime) -> Release:
        """Return what ``regime`` publishes."""
        match regime:
            case "federated":
                together = self.federated()
                return Release(
                    {"": self._sampled("federated", together)},
                    pd.DataFrame(together.ledger, columns=list(LEDGER)),
                    pd.DataFrame(together.history),
                    pd.DataFrame(together.remarks),
                    charges=_charges([together]),
                    judged=_judged({"": together}),
                    before=self._before(together),
                    took=self._took({"federated": together}),
                )
            case "centralized":
                pooled = self.centralized()
                return Release(
                    {"": self._sampled("centralized", pooled)},
                    self._pooling(),
                    _history(pooled),
                    charges=_charges([pooled], self.world.sites),
                    judged=_judged({"": pooled}),
                    took=self._took({"centralized": pooled}),
                )
            case "local":
                alone = {site: self._sampled(site, self.alone(site)) for site in self.world.sites}
                return Release(
                    alone,
                    _ledger([]),
                    _histories(self._locals()),
                    charges=_charges(self._locals().values()),
                    judged=_judged(self._locals()),
                    took=self._took(self._locals()),
                )
            case "mixture":
                return Release(
                    {"": self._mixed()},
                    self._models(),
                    _histories(self._locals()),
                    charges=_charges(self._locals().values()),
                    judged=_judged(self._locals()),
                    took=self._took(self._locals()),
                )

    def latents(self, regime: Regime, model: str, cohort: Cohort) -> NDArray[np.float64] | Refusal:
        """Return where a model of ``regime`` puts these patients, or why it does not."""
        if regime == "mixture":
            reason = "a mixture is several models, whose hidden numbers are not the same"
            return Refusal(reason=reason, status="not applicable")
        match regime:
            case "local":
                trained = self.alone(model)
            case "federated":
                trained = self.federated()
            case "centralized":
                trained = self.centralized()
        found = self.generator.latents(trained.state, trained.encoder, cohort)
        if found is None:
            reason = f"{self.choice.name} has no hidden numbers that stand for a patient"
            return Refusal(reason=reason, status="not applicable")
        return found

    def federated(self) -> Trained:
        """Train on all sites together."""
        return self._train("federated", self.world.part("train"))

    def centralized(self) -> Trained:
        """Train on everybody's records in one place.

        A generator fitted by sums has the same model either way (a test holds it to 1e-9), so
        its federated training serves; but not where every site adds noise of its own, nor where
        there is none, because the strategy is one that weighs sites.
        """
        scenario = self.world.scenario
        strategy = STRATEGIES.find(scenario.strategy.name)
        exact = scenario.privacy.name == "none" and not strategy.weighs
        if isinstance(self.generator, Statistic) and exact:
            return self.federated()
        return self._train("centralized", {_POOLED: self.world.train})

    def alone(self, site: str) -> Trained:
        """Train on one site's own records."""
        return self._train(f"site {site}", {site: self.world.splits[site].train})

    def _locals(self) -> Mapping[str, Trained]:
        return {site: self.alone(site) for site in self.world.sites}

    def _train(self, name: str, cohorts: Mapping[str, Cohort]) -> Trained:
        if name not in self._trained:
            self._trained[name] = train(self._study(tuple(cohorts)), cohorts)
        return self._trained[name]

    def _study(self, sites: tuple[str, ...]) -> Study:
        world, scenario = self.world, self.world.scenario
        return Study(
            generator=self.choice.choice,
            strategy=scenario.strategy,
            codec=scenario.codec,
            privacy=scenario.privacy,
            dataset=world.dataset.choice,
            parts=dict(world.dataset.parts),
            sites=sites,
            rounds=scenario.rounds,
            participation=scenario.participation if len(sites) > 1 else 1.0,
            seed=world.seed,
            path=(
                world.dataset.name,
                scenario.name,
                self.choice.label,
                *(["canaries"] if world.planting else []),
            ),
            steps_of=len(world.train) if scenario.budget == "step-matched" else None,
            device=self.device,
            stopping=scenario.stopping,
            start=scenario.start,
        )

    def _before(self, trained: Trained) -> Cohort | None:
        """Write with the model that the last hospital has not joined yet, by the same draws.

        A generator fitted by sums has those of all hospitals from its first round on.
        """
        if not trained.before or isinstance(self.generator, Statistic):
            return None
        return self._sampled("before", replace(trained, state=trained.before))

    def _took(self, trained: Mapping[str, Trained]) -> Took:
        """Return how long trainings and their records took, by whose records they are."""
        return Took(
            training=sum(one.seconds for one in trained.values()),
            sampling=sum(self._drawing[name] for name in trained),
            records=sum(len(self._written[name]) for name in trained),
        )

    def _sampled(self, name: str, trained: Trained) -> Cohort:
        """Draw once, enough for every use."""
        if name not in self._written:
            alone = name in self.world.splits
            own = self.world.sizes[name] if alone else sum(self.world.sizes.values())
            n = max(self.world.m, own)
            seeds = self.world.seeds.child(self.world.scenario.name, self.choice.label, "sample")
            started = monotonic()
            try:
                cohort = self.generator.sample(
                    trained.state, trained.encoder, n, seeds.child(name if alone else "").rng()
                )
            except DataError as error:
                raise ContractError(f"{self.choice.label} wrote bad records: {error}") from error
            if not isinstance(cohort, Cohort):
                raise ContractError(
                    f"sample of {self.choice.label} returned {cohort!r:.80}; expected a Cohort."
                )
            if len(cohort) != n:
                raise ContractError(f"{self.choice.label} wrote {len(cohort)} records, not {n}.")
            self._written[name], self._drawing[name] = cohort, monotonic() - started
        return self._written[name]

    def _mixed(self) -> Cohort:
        """Take from every site's own records its share of patients, in random order."""
        trains = self.world.sizes
        total = max(self.world.m, sum(trains.values()))
        shares = np.array([count / sum(trains.values()) * total for count in trains.values()])
        counts = np.floor(shares).astype(int)
        counts[np.argsort(counts - shares, kind="stable")[: total - counts.sum()]] += 1
        seeds = self.world.seeds.child(self.world.scenario.name, self.choice.label, "mixture")
        places = np.split(seeds.rng().permutation(total), np.cumsum(counts)[:-1])
        drawn = []
        for site, mine, count in zip(trains, places, counts, strict=True):
            written = self._sampled(site, self.alone(site))
            first = written.take(written.patients[:count])
            names = np.array([f"s{i:0{len(str(total))}d}" for i in mine], dtype=object)
            drawn.append(renamed(first, names))
        return Cohort.union(drawn)

    def _pooling(self) -> pd.DataFrame:
        """Price centralizing as sending the training records, compressed."""
        return _ledger(
            [
                ("records", site, _stored(cohort))
                for site, cohort in self.world.part("train").items()
            ]
        )

    def _models(self) -> pd.DataFrame:
        """Price a mixture as sending every site's model and encoder once."""
        sent = []
        for site, trained in self._locals().items():
            content = RecordDict({"encoder": record_of(trained.encoder.counts)})
            if trained.state:
                content["model"] = record_of(trained.state)
            sent.append(("models", site, size(content)))
        return _ledger(sent)


def _ledger(sent: Sequence[tuple[str, str, int]]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [(phase, 0, site, "up", count) for phase, site, count in sent]
    return pd.DataFrame(rows, columns=list(LEDGER))


def _stored(cohort: Cohort) -> int:
    total = 0
    for name in TABLES:
        table = getattr(cohort, name)
        if len(table):
            buffer = BytesIO()
            table.to_parquet(buffer, index=False, compression="zstd")
            total += buffer.tell()
    return total


def _charges(trained: Iterable[Trained], everybody: Sequence[str] = ()) -> pd.DataFrame:
    """Return what was charged, in order; to everybody, if they are named."""
    rows = [
        (name, charge.what, charge.noise, charge.rate, charge.steps)
        for one in trained
        for site, accountant in one.accountants.items()
        for name in (everybody or (site,))
        for charge in accountant.charges
    ]
    return pd.DataFrame(rows, columns=list(CHARGES))


def _judged(trained: Mapping[str, Trained]) -> pd.DataFrame:
    tables = [pd.DataFrame(one.judged).assign(model=model) for model, one in trained.items()]
    found = pd.concat(tables, ignore_index=True)
    return found[["model", *found.columns.drop("model")]]


def _history(trained: Trained) -> pd.DataFrame:
    return pd.DataFrame(trained.history)


def _histories(trained: Mapping[str, Trained]) -> pd.DataFrame:
    return pd.concat([_history(one) for one in trained.values()], ignore_index=True)
