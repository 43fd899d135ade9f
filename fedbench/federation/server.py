"""The Flower ServerApp: agreeing on an encoder, then the rounds of every phase."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedbench.accounting import Accountant, Charge
from fedbench.data import Schema
from fedbench.encoding import Encoder, settled
from fedbench.errors import FedbenchError, SpecError, Unsupported
from fedbench.federation.door import Ledger, call, part, record_of, unpack
from fedbench.federation.planning import ENCODER
from fedbench.federation.sites import dealt
from fedbench.federation.stopping import LOSS, Watch, columns, validation
from fedbench.federation.study import Study, unweighed
from fedbench.generator import Generator, Phase, State
from fedbench.kinds import CODECS, DATASETS, GENERATORS, STRATEGIES
from fedbench.strategy import SHARE, Update, added
from fedbench.strategy import Message as Arrays

__all__ = ["Federation", "server"]

Kind = Literal["train", "evaluate"]
"""What a site is asked to do, in Flower's words."""

PATIENCE = 600.0
"""Seconds to wait for the declared sites to connect."""

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Conduct the study named in the run's configuration, and leave what came of it."""
    logging.getLogger("flwr").setLevel(logging.WARNING)
    study = Study.from_json(str(context.run_config["study"]))
    token = str(context.run_config.get("dealt", ""))
    if token:
        schema = dealt(token).schema
    else:
        schema = DATASETS.build(study.dataset.name, study.dataset.settings).schema
    federation = Federation(study, schema, grid)
    federation.conduct()
    context.state["encoder"] = record_of(federation.encoder.counts)
    context.state["state"] = record_of(federation.state)
    context.state["before"] = record_of(federation.before)
    context.state["ledger"] = ConfigRecord(federation.ledger.columns())
    context.state["history"] = ConfigRecord(federation.history)
    context.state["remarks"] = ConfigRecord(federation.remarks())
    context.state["judged"] = ConfigRecord(federation.judged)
    if out := context.run_config.get("out"):
        _leave(federation, Path(str(out)))


@dataclass
class Federation:
    """The server's side of one training; never sees a record."""

    study: Study
    schema: Schema
    grid: Grid
    ledger: Ledger = field(default_factory=Ledger)
    history: dict[str, Any] = field(
        default_factory=lambda: {n: [] for n in ("phase", "round", "site", "weight", "steps")}
    )
    judged: dict[str, Any] = field(default_factory=columns)
    roster: dict[str, int] = field(default_factory=dict)
    informed: set[str] = field(default_factory=set)
    state: State = field(default_factory=dict)
    before: State = field(default_factory=dict)
    charges: dict[str, list[Charge]] = field(default_factory=dict)
    remembered: Arrays = field(default_factory=dict)
    counts: Mapping[str, Update] = field(default_factory=dict)
    encoder: Encoder = field(init=False)

    def __post_init__(self) -> None:
        # Build every plug-in before the first message, so that a typo costs nothing.
        study = self.study
        self.generator: Generator = GENERATORS.build(study.generator.name, study.generator.settings)
        self.strategy = STRATEGIES.build(study.strategy.name, study.strategy.settings)
        self.codec = CODECS.build(study.codec.name, study.codec.settings)

    def conduct(self) -> None:
        """Enrol the sites, agree on an encoder, train every phase."""
        watches = [self.watch(phase) for phase in self.generator.phases()]
        self.enrol()
        # What is wrong for every generator, sites have said by now.
        if wrong := unweighed(self.study, self.generator, self.strategy):
            raise Unsupported(wrong)
        self.encoder = self.agree()
        state: State | None = None
        for phase, watch in zip(self.generator.phases(), watches, strict=True):
            rng = self.study.seeds.child("start", phase.name).rng()
            self.state = self.generator.start(phase, state, self.encoder, rng)
            self.remembered = self.strategy.meet(self.counts, self.noise)
            rounds = phase.rounds or self.study.rounds
            Rounds(self, phase, rounds, watch).start(self.grid, ArrayRecord(), rounds)
            if watch and watch.kept is not None:
                self.state = watch.kept
            state = self.state

    def watch(self, phase: Phase) -> Watch | None:
        """Return what says when a phase stops; None where all its rounds are trained.

        Raises:
            Unsupported: it is to stop, and there is nothing to judge the generator by.
        """
        if self.study.stopping and self.generator.judges(phase):
            return Watch(self.study.stopping, phase.name, self.judged)
        return None

    def joining(self, rounds: int) -> int | None:
        """Return the round with which the last site joins, if what was before can be told.

        Not where a phase came before, in which it took part, nor where some rounds lack sites or
        are taken back.
        """
        study = self.study
        if len(self.generator.phases()) > 1 or study.participation < 1 or study.stopping:
            return None
        return self.strategy.last_joins(len(study.sites), rounds)

    def enrol(self) -> None:
        """Ask every node for its name until all declared sites are there."""
        content = RecordDict({"study": ConfigRecord({"json": self.study.to_json()})})
        deadline = time.monotonic() + PATIENCE
        asked: set[int] = set()
        while set(self.roster) != set(self.study.sites):
            new = sorted(set(self.grid.get_node_ids()) - asked)
            asked |= set(new)
            for reply in self.grid.send_and_receive([Message(content, n, "query") for n in new]):
                name = str(part(_content(reply, "A new site"), "site", ConfigRecord)["name"])
                if name in self.roster or name not in self.study.sites:
                    raise SpecError(
                        f"A site called {name!r} answered; expected each of "
                        f"{', '.join(self.study.sites)} once."
                    )
                self.roster[name] = reply.metadata.src_node_id
                self.ledger.note(content, phase="enrol", round=0, site=name, way="down")
                self.ledger.note(reply.content, phase="enrol", round=0, site=name, way="up")
            if not new:
                if time.monotonic() > deadline:
                    raise SpecError(
                        f"After {PATIENCE:.0f} s these sites are not connected: "
                        f"{', '.join(sorted(set(self.study.sites) - set(self.roster)))}."
                    )
                time.sleep(1.0)
        self.roster = {name: self.roster[name] for name in sorted(self.roster)}

    def agree(self) -> Encoder:
        """Add up the counts of all sites."""
        heading = call(ENCODER, 0, 1)
        messages = [self.tell(site, RecordDict({"call": heading})) for site in self.roster]
        updates = self.hear(self.grid.send_and_receive(messages), ENCODER, 0)
        if set(updates) != set(self.roster):
            raise FedbenchError("Not every site sent its counts, so no encoder can be agreed.")
        self.counts = updates
        counts = added(updates)
        if self.noise:
            patients = sum(update.weight for update in updates.values())
            counts = settled(self.schema, counts, patients)
        return Encoder(self.schema, counts)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise in every count that a site sent."""
        return max(update.noise for update in self.counts.values())

    def remarks(self) -> dict[str, Any]:
        """Return what the strategy noticed about the sites, as columns."""
        noticed = self.strategy.remarks(self.counts, self.noise)
        if not self.generator.phases():  # nothing is averaged
            noticed = [one for one in noticed if one.name != SHARE]
        return {name: [getattr(one, name) for one in noticed] for name in ("site", "name", "value")}

    def privacy(self) -> dict[str, Any]:
        """Return what every site says that it was charged in this training, and epsilon of it."""
        promise = self.study.promise
        return {
            site: {
                "promised": self.study.privacy.settings,
                **(asdict(Accountant(charges=charges).spent(promise.delta)) if promise else {}),
                "charges": [asdict(charge) for charge in charges],
            }
            for site, charges in sorted(self.charges.items())
        }

    def tell(self, site: str, content: RecordDict, kind: Kind = "train") -> Message:
        """Address a message to a site, through the ledger."""
        heading = part(content, "call", ConfigRecord)
        phase = str(heading["phase"])
        self.ledger.note(
            content,
            phase=phase if kind == "train" else validation(phase),
            round=int(heading["round"]),  # type: ignore[arg-type]
            site=site,
            way="down",
        )
        return Message(content, self.roster[site], kind)

    def hear(self, replies: Iterable[Message], phase: str, round: int) -> dict[str, Update]:
        """Return what the sites said, sorted by their names, through the ledger."""
        names = {node: name for name, node in self.roster.items()}
        heard = {names[reply.metadata.src_node_id]: reply for reply in replies}
        updates = {}
        for site in sorted(heard):
            content = _content(heard[site], f"Site {site!r}")
            self.ledger.note(content, phase=phase, round=round, site=site, way="up")
            updates[site] = unpack(content, self.codec)
            if updates[site].charges:
                self.charges.setdefault(site, []).extend(updates[site].charges)
            row = (phase, round, site, updates[site].weight, updates[site].steps)
            for name, value in zip(self.history, row, strict=True):
                self.history[name].append(value)
        return updates


@dataclass
class Rounds(FlowerStrategy):
    """One phase as a Flower strategy; the rules themselves are the generator's and strategy's."""

    federation: Federation
    phase: Phase
    rounds: int
    watch: Watch | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Tell the chosen sites the model."""
        fed, round = self.federation, server_round - 1
        if self.over:
            return []
        if round == fed.joining(self.rounds):
            fed.before = fed.state
        model = fed.generator.message(self.phase, fed.state, round)
        content = RecordDict({"call": call(self.phase.name, round, self.rounds)})
        if model:
            content["model"] = record_of(fed.codec.encode(model))
        if extra := fed.strategy.broadcast(fed.remembered):
            content["extra"] = record_of(extra)
        return [fed.tell(site, self._informing(site, content)) for site in self._chosen(round)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Combine what the sites said and take it into the state."""
        fed, round = self.federation, server_round - 1
        if self.over:
            return None, None
        updates = fed.hear(replies, self.phase.name, round)
        seeds = fed.study.seeds.child("server", self.phase.name, round)
        combined, fed.remembered = fed.strategy.combine(
            fed.state, updates, fed.remembered, seeds.child("combine").rng()
        )
        noise = float(np.sqrt(sum(update.noise**2 for update in updates.values())))
        combined = replace(combined, noise=noise)
        fed.state = fed.generator.fold(
            self.phase, fed.state, combined, fed.encoder, seeds.child("fold").rng()
        )
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask all sites what the patients they hold back make of what would write by now."""
        fed, round = self.federation, server_round - 1
        if not self.watch or self.over or not self.watch.stopping.due(round, self.rounds):
            return []
        content = RecordDict({"call": call(self.phase.name, round, self.rounds)})
        model = fed.generator.judged(self.phase, fed.state, round)
        content["model"] = record_of(fed.codec.encode(model))
        return [fed.tell(site, self._informing(site, content), "evaluate") for site in fed.roster]

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Add up what the sites said, and remember the state if none was better."""
        fed, round = self.federation, server_round - 1
        if self.watch and not self.over and self.watch.stopping.due(round, self.rounds):
            said = fed.hear(replies, validation(self.phase.name), round)
            if set(said) != set(fed.roster):
                raise FedbenchError("Not every site judged the model, so rounds do not compare.")
            patients = sum(update.weight for update in said.values())
            noise = float(np.sqrt(sum(update.noise**2 for update in said.values())))
            losses = np.array([update.sums[LOSS] for update in said.values()])
            self.watch.take(fed.state, server_round, losses, patients, noise)
        return None

    @property
    def over(self) -> bool:
        """Whether training has stopped before its last round."""
        return self.watch is not None and self.watch.over

    def summary(self) -> None:
        """Stay silent; the run directory holds the story."""

    def _chosen(self, round: int) -> list[str]:
        fed = self.federation
        names = list(fed.roster)
        count = max(1, round_up(fed.study.participation * len(names)))
        rng = fed.study.seeds.child("participation", self.phase.name, round).rng()
        return sorted(rng.choice(names, size=count, replace=False).tolist())

    def _informing(self, site: str, content: RecordDict) -> RecordDict:
        """Add the encoder to the first message after it was agreed."""
        fed = self.federation
        if site in fed.informed:
            return content
        fed.informed.add(site)
        return RecordDict({**content, "encoder": record_of(fed.encoder.counts)})


def round_up(x: float) -> int:
    """Return the smallest whole number that is not below ``x``, forgiving rounding noise."""
    return int(np.ceil(x - 1e-9))


def _content(reply: Message, who: str) -> RecordDict:
    if reply.has_error():
        raise FedbenchError(f"{who} failed: {reply.error.reason}")
    return reply.content


def _leave(federation: Federation, out: Path) -> None:
    """Write what came of a federation that ran on a SuperLink."""
    out.mkdir(parents=True, exist_ok=True)
    _save(out / "encoder.npz", federation.encoder.counts)
    _save(out / "state.npz", federation.state)
    (out / "ledger.json").write_text(json.dumps(federation.ledger.columns()))
    (out / "history.json").write_text(json.dumps(federation.history))
    if any(federation.judged.values()):
        (out / "judged.json").write_text(json.dumps(federation.judged))
    (out / "remarks.json").write_text(json.dumps(federation.remarks()))
    if federation.charges:
        (out / "privacy.json").write_text(json.dumps(federation.privacy(), indent=2))


def _save(file: Path, arrays: Arrays) -> None:
    """Write an npz; ``np.savez`` would take an array called ``file`` for its own argument."""
    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
