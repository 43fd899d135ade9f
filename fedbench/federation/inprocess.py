"""A Flower grid inside this process: no daemon, no start-up, the very same apps."""

from __future__ import annotations

import fedbench.federation  # noqa: F401  isort: skip  (switches telemetry off before flwr)

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

# Private to flwr: messages cannot be built without it. Touched here and nowhere else.
from flwr.supercore.task_identity import TaskIdentity

from fedbench.accounting import Accountant
from fedbench.data import Cohort, Schema
from fedbench.encoding import Encoder
from fedbench.federation.client import client
from fedbench.federation.door import arrays_of
from fedbench.federation.server import server
from fedbench.federation.sites import Dealt
from fedbench.federation.study import Study
from fedbench.generator import State

__all__ = ["InProcessGrid", "Trained", "train"]

RUN_ID = 1
SERVER_ID = 1


@dataclass
class InProcessGrid(Grid):
    """Calls the client app once per message, site after site, in this process.

    ``tap`` sees every message as it crosses; it is how tests look for leaks.
    """

    nodes: Mapping[int, Context]
    tap: Callable[[Message], None] = lambda _: None
    _replies: dict[str, Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        identify()

    def set_run(self, run: Run) -> None:
        """Accept any run; there is only one here."""

    @property
    def run(self) -> Run:
        """The only run there is."""
        return Run.create_empty(RUN_ID)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message for a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return all nodes."""
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Work through messages now; their replies wait to be pulled."""
        pushed = []
        for message in messages:
            pushed.append(f"message-{len(self._replies)}")
            self._replies[pushed[-1]] = self._delivered(message)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to these messages."""
        return [self._replies.pop(name) for name in message_ids]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Return the replies, in the order of the messages."""
        return [self._delivered(message) for message in messages]

    def _delivered(self, message: Message) -> Message:
        self.tap(message)
        reply = client(message, self.nodes[message.metadata.dst_node_id])
        self.tap(reply)
        return reply


@dataclass(frozen=True)
class Trained:
    """What a federation leaves: encoder, model, who said how much when, what was noticed.

    ``accountants`` has those of the sites, which without differential privacy are none; ``judged``
    what patients who were held back made of it, round by round. ``before`` is the model before the
    last site joined, empty where all were there from the start. ``seconds`` is how long it took
    on this machine.
    """

    schema: Schema
    encoder: Encoder
    state: State
    before: State
    ledger: Mapping[str, list[Any]]
    history: Mapping[str, list[Any]]
    remarks: Mapping[str, list[Any]]
    judged: Mapping[str, list[Any]]
    accountants: Mapping[str, Accountant]
    seconds: float


def identify() -> None:
    """Give this process the identity that Flower's messages ask for."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = RUN_ID
    TaskIdentity.node_id = SERVER_ID


def train(
    study: Study,
    cohorts: Mapping[str, Cohort],
    tap: Callable[[Message], None] = lambda _: None,
) -> Trained:
    """Train one model on these sites' training records, through the Flower apps."""
    started = time.monotonic()
    with Dealt(cohorts) as source:
        nodes = {
            number: _context(number, {"site": site, "dealt": source.token}, {})
            for number, site in enumerate(study.sites, start=SERVER_ID + 1)
        }
        context = _context(SERVER_ID, {}, {"study": study.to_json(), "dealt": source.token})
        server(InProcessGrid(nodes, tap), context)
    state = context.state
    return Trained(
        schema=source.schema,
        encoder=Encoder(source.schema, arrays_of(state.array_records["encoder"])),
        state=arrays_of(state.array_records["state"]),
        before=arrays_of(state.array_records["before"]),
        ledger=dict(state.config_records["ledger"]),  # type: ignore[arg-type]
        history=dict(state.config_records["history"]),  # type: ignore[arg-type]
        remarks=dict(state.config_records["remarks"]),  # type: ignore[arg-type]
        judged=dict(state.config_records["judged"]),  # type: ignore[arg-type]
        accountants=source.accountants,
        seconds=time.monotonic() - started,
    )


def _context(node: int, node_config: dict[str, Any], run_config: dict[str, Any]) -> Context:
    return Context(RUN_ID, node, node_config, RecordDict(), run_config)
