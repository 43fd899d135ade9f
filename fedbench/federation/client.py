"""The Flower ClientApp: one hospital's side of a federation.

A site runs only what is installed with it: the server names a generator, and the site's own
configuration says which names it allows.
"""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

from collections.abc import Iterator, MutableMapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from fedbench.codec import Codec
from fedbench.data import Cohort
from fedbench.encoding import summarize
from fedbench.errors import (
    ContractError,
    Declined,
    FedbenchError,
    Overspent,
    SpecError,
    Unsupported,
)
from fedbench.federation.door import array_of, arrays_in, pack, packed, part
from fedbench.federation.planning import ENCODER, Planning
from fedbench.federation.sites import SiteSource, source_of
from fedbench.federation.stopping import LOSS, Parted, validation
from fedbench.federation.study import Study, contradiction
from fedbench.generator import Generator, Local, Phase, Site
from fedbench.kinds import CODECS, GENERATORS, STRATEGIES
from fedbench.privacy import Budget, Hospital, Noised, Unlimited, Whole
from fedbench.strategy import Message as Arrays
from fedbench.strategy import Strategy, Update

__all__ = ["client"]

_PATIENTS = "(patients)"
"""Stands beside the features: how many patients there are."""


def discreet(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Keep what an error may say about records at the site; only its kind crosses.

    Whole cross what was refused before records were read (``Declined``), and a budget that is
    spent (``Overspent``): that follows from numbers that were noised.
    """
    try:
        return call_next(message, context)
    except Exception as error:
        # Any other may quote what it stumbled over, or say how many patients there are.
        if isinstance(error, Declined | Overspent) or context.node_config.get("dealt"):
            raise
        raise FedbenchError(
            f"{type(error).__name__}, about which this site's own log says more."
        ) from error


client = ClientApp(mods=[discreet])


@client.query()
def enrol(message: Message, context: Context) -> Message:
    """Remember what is asked, and answer with this site's declared name if it can be done."""
    for built in (_study, _generator, _strategy, _codec):
        built.cache_clear()
    context.state["study"] = part(message.content, "study", ConfigRecord)
    for name in set(context.state) - {"study"}:
        del context.state[name]
    desk = Desk(context)
    desk.check()
    return Message(RecordDict({"site": ConfigRecord({"name": desk.site})}), reply_to=message)


@client.train()
def train(message: Message, context: Context) -> Message:
    """Do one round's work on this site's own records."""
    desk = _seated(message, context)
    heading = part(message.content, "call", ConfigRecord)
    asked = heading["phase"] == ENCODER
    update = desk.summarize() if asked else desk.update(message.content)
    return Message(pack(update, desk.codec), reply_to=message)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Judge a model by this site's own patients who are held back."""
    desk = _seated(message, context)
    return Message(pack(desk.judge(message.content), desk.codec), reply_to=message)


def _seated(message: Message, context: Context) -> Desk:
    """Return the working place for a message, once it is known to be allowed."""
    if "encoder" in message.content:
        context.state["encoder"] = part(message.content, "encoder", ArrayRecord)
    desk = Desk(context)
    desk.check()
    return desk


@dataclass(frozen=True)
class Desk:
    """A site's working place, rebuilt from its Flower context for every message."""

    context: Context

    @cached_property
    def study(self) -> Study:
        """What was asked at enrolment."""
        return _study(self.asked)

    @property
    def asked(self) -> str:
        """The same as text."""
        return str(part(self.context.state, "study", ConfigRecord)["json"])

    @property
    def site(self) -> str:
        """The declared name of this site."""
        if name := self.context.node_config.get("site"):
            return str(name)
        raise SpecError("This node's configuration lacks `site`, the declared name of the site.")

    @cached_property
    def source(self) -> SiteSource:
        """Where this site's records are."""
        return source_of(self.context.node_config)

    @cached_property
    def generator(self) -> Generator:
        """The generator."""
        # Fresh for every message, as at a hospital: nothing is remembered but through memory.
        return copy(_generator(self.asked))

    @cached_property
    def strategy(self) -> Strategy:
        """The strategy, of which this site runs the client half."""
        return copy(_strategy(self.asked))

    @cached_property
    def planning(self) -> Planning:
        """What this site will release."""
        return Planning(self.study, self.generator)

    @cached_property
    def parted(self) -> Parted:
        """This site's training records: to learn from, and to judge by."""
        if self.planning.stopping:
            return self.source.parted(self.site, self.study)
        everyone = self.source.train(self.site, self.study)
        return Parted(everyone, everyone.take(everyone.patients[:0]))

    @cached_property
    def codec(self) -> Codec:
        """How parameters are packed."""
        return copy(_codec(self.asked))

    def check(self) -> None:
        """Refuse what this site does not allow or cannot do, before records are read.

        Raises:
            Declined: not allowed, not known here, or this node's configuration is incomplete.
        """
        try:
            self._check()
        except SpecError as error:
            raise Declined(str(error)) from error

    def _check(self) -> None:
        study = self.study
        if not self.context.node_config.get("dealt"):
            self._allow("generator", study.generator.name)
            for what in ("strategy", "codec", "dataset"):
                # Those that fedbench brings are safe; a module:Class imports what it names.
                if ":" in (name := getattr(study, what).name):
                    self._allow(what, name)
        _ = self.site, self.generator, self.strategy, self.codec
        self.source.check(study)
        self._check_promise()

    def _check_promise(self) -> None:
        promise = self.study.promise
        if promise is None:
            if self.source.limit:
                raise SpecError(
                    "The study promises no differential privacy; this site's configuration has an "
                    "`epsilon` for all trainings, and would have none left."
                )
            return
        if wrong := contradiction(promise, self.strategy, self.study.participation):
            raise SpecError(wrong)
        if promise.noise == "distributed" and not self.context.node_config.get("dealt"):
            raise SpecError(
                "Here the server sees what every single site sends, so that noise which sites add "
                "together protects nobody. Take privacy of a patient with noise = 'site'."
            )
        if promise.unit == "hospital" and len(self.study.sites) == 1:
            raise Unsupported("A hospital is hidden among others, and here is only one.")
        self.source.accountant(self.site)

    def summarize(self) -> Update:
        """Count, so that an encoder can be agreed."""
        cohort = self.source.train(self.site, self.study)
        # Each patient is in one bin of every feature, and one of the patients.
        counts = {**summarize(cohort), _PATIENTS: np.array([float(len(cohort))])}
        budget = self.budget(ENCODER, 0, len(cohort))
        sums = dict(budget.release(counts, len(counts) ** 0.5))
        patients = float(sums.pop(_PATIENTS)[0])
        if not isinstance(budget, Noised):
            return Update(sums=sums, weight=patients)
        hidden = isinstance(budget, Whole)
        patients = float(budget.patients if hidden else max(1, round(patients)))
        among = len(self.study.sites) if hidden else patients
        if among * 10 * budget.promise.delta > 1:
            raise Overspent(
                f"Privacy with delta {budget.promise.delta:g} means little for one of about "
                f"{among:.0f} {budget.promise.unit}s; ask for at most {0.1 / among:.1g}."
            )
        self.context.state["said"] = MetricRecord({"patients": patients})
        noise, charges = budget.scale[-1], tuple(budget.paid)
        return Update(sums=sums, weight=patients, noise=noise, charges=charges)

    def budget(self, phase: str, round: int, own: int) -> Budget:
        """Return what this site, with ``own`` patients, may say in one message."""
        promise, planning = self.study.promise, self.planning
        if promise is None:
            return Unlimited()
        plan = planning.first(promise)
        whole = isinstance(promise, Hospital)
        patients = promise.size if isinstance(promise, Hospital) else 0
        if phase != ENCODER:
            told = float(part(self.context.state, "said", MetricRecord)["patients"])  # type: ignore[arg-type]
            patients = planning.counted(told, judging=phase in planning.judgements)
            plan = planning.until(promise, phase, told)
        together = promise.noise == "distributed"
        found = Noised(
            promise=promise,
            accountant=self.source.accountant(self.site),
            run=sha256(self.asked.encode()).hexdigest()[:16],
            what=f"{phase} {round}",
            plan=plan,
            patients=patients,
            limit=self.source.limit,
            normals=self.source.normals(self.study.seeds.child("secret", self.site, phase, round)),
            part=len(self.study.sites) ** -0.5 if together else 1.0,
        )
        return Whole(**vars(found), own=own) if whole else found

    def private(self, found: Update, budget: Noised) -> Update:
        """Return what was released in place of what was counted.

        Raises:
            Unsupported: something would leave that was not noised.
        """
        said = {**found.parameters, **found.sums, **found.control}
        if found.control or not budget.covers(said):
            raise Unsupported(
                f"{self.study.generator.name} does not learn with differential privacy: what it "
                "sends is not all noised."
            )
        return replace(
            found,
            weight=float(budget.patients),
            noise=budget.scale[-1] if budget.scale else 0.0,
            charges=tuple(budget.paid),
        )

    def update(self, content: RecordDict) -> Update:
        """Train for one round."""
        heading = part(content, "call", ConfigRecord)
        phase, round = Phase(str(heading["phase"])), int(heading["round"])  # type: ignore[arg-type]
        cohort = self.parted.learned
        # Phases may train parameters of one name, and the server begins each without a past.
        memory = Remembered(self.context.state, f"strategy {phase.name}")
        extra = arrays_in(content, "extra")
        local = Local(
            round=round,
            rounds=int(heading["rounds"]),  # type: ignore[arg-type]
            streams=self.study.seeds.child(phase.name, round),
            correction=self.strategy.correct(extra, memory),
            budget=self.budget(phase.name, round, len(cohort)),
            steps_of=self.study.steps_of,
            device=self.study.device,
        )
        site = self.place(cohort)
        heard = self.codec.decode(arrays_in(content, "model"))
        if self.study.start == "site" and round == 0:
            heard = self.started(phase, heard, site)
        rng = self.study.seeds.child(self.site, phase.name, round).rng()
        found = self.generator.update(phase, heard, site, local, rng)
        if not isinstance(found, Update):
            raise ContractError(
                f"{self.study.generator.name}: update returned {found!r:.80}; expected an Update."
            )
        if isinstance(local.budget, Noised):
            found = self.private(found, local.budget)
        return self.strategy.learn(found, extra, memory)

    def started(self, phase: Phase, heard: Arrays, site: Site) -> Arrays:
        """Return what was heard with first parameters of this site's own."""
        rng = self.study.seeds.child("start", phase.name, self.site).rng()
        own = self.generator.start(phase, heard, site.encoder, rng)
        return {name: own.get(name, array) for name, array in heard.items()}

    def place(self, cohort: Cohort) -> Site:
        """Return this site with some of its training records, encoded as agreed."""
        agreed = part(self.context.state, "encoder", ArrayRecord)
        encoder = self.source.encoder(self.site, cohort.schema, agreed)
        records = self.source.encoded(self.site, cohort, encoder)
        return Site(self.site, records, encoder, Remembered(self.context.state), cohort)

    def judge(self, content: RecordDict) -> Update:
        """Add up what a model's losses are on the patients who are held back."""
        heading = part(content, "call", ConfigRecord)
        phase, round = Phase(str(heading["phase"])), int(heading["round"])  # type: ignore[arg-type]
        name = validation(phase.name)
        if not (stopping := self.planning.stopping) or name not in self.planning.judgements:
            raise Declined(f"The study holds no patients back to judge the phase {phase.name!r}.")
        site = self.place(self.parted.held)
        streams = self.study.seeds.child("validation")  # in every round the same draws
        device = self.study.device
        local = Local(round, int(heading["rounds"]), streams, device=device)  # type: ignore[arg-type]
        heard = self.codec.decode(arrays_in(content, "model"))
        losses = np.zeros(0)
        if len(site.records):
            losses = self.generator.judge(phase, heard, site, local)
        budget = self.budget(name, round, len(losses))
        bound = stopping.clip * len(site.cohort.schema.features)
        if isinstance(budget, Noised):
            # What is no number is the worst there is.
            losses = np.clip(np.nan_to_num(losses, nan=bound), -bound, bound)
        sums = budget.release({LOSS: np.array([losses.sum()])}, bound)
        found = Update(sums=sums, weight=float(len(losses)))
        return self.private(found, budget) if isinstance(budget, Noised) else found

    def _allow(self, what: str, name: str) -> None:
        listed = str(self.context.node_config.get("allow", "")).split(",")
        allowed = [entry.strip() for entry in listed if entry.strip()]
        if name not in allowed:
            raise SpecError(
                f"The server asks for the {what} {name!r}; this site allows "
                f"{', '.join(allowed) or 'none'}. Change `allow` in its configuration."
            )


@dataclass(frozen=True)
class Remembered(MutableMapping[str, NDArray[Any]]):
    """A site's private arrays, kept in Flower's context; they never cross."""

    state: RecordDict
    under: str = "memory"

    @property
    def _record(self) -> ArrayRecord:
        if self.under in self.state:
            return part(self.state, self.under, ArrayRecord)
        return ArrayRecord()

    def __getitem__(self, name: str) -> NDArray[Any]:
        return array_of(self._record[name])

    def __setitem__(self, name: str, value: NDArray[Any]) -> None:
        record = self._record.copy()
        record[name] = packed(value)
        self.state[self.under] = record

    def __delitem__(self, name: str) -> None:
        record = self._record.copy()
        del record[name]
        self.state[self.under] = record

    def __iter__(self) -> Iterator[str]:
        return iter(self._record)

    def __len__(self) -> int:
        return len(self._record)


# Looking a plug-in up and checking its settings takes longer than an empty round; once per
# enrolment is enough. What is kept here is never used itself, only copied.


@lru_cache(maxsize=1)
def _study(asked: str) -> Study:
    return Study.from_json(asked)


@lru_cache(maxsize=1)
def _generator(asked: str) -> Generator:
    choice = _study(asked).generator
    return GENERATORS.build(choice.name, choice.settings)


@lru_cache(maxsize=1)
def _strategy(asked: str) -> Strategy:
    choice = _study(asked).strategy
    return STRATEGIES.build(choice.name, choice.settings)


@lru_cache(maxsize=1)
def _codec(asked: str) -> Codec:
    choice = _study(asked).codec
    return CODECS.build(choice.name, choice.settings)
