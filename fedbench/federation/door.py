"""The one door: all that a site says or hears is packed, sized and unpacked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_to_proto
from numpy.typing import NDArray

from fedbench.codec import Codec
from fedbench.strategy import Message, Update

__all__ = ["Crossing", "Ledger", "arrays_of", "pack", "record_of", "size", "unpack"]


@dataclass(frozen=True)
class Crossing:
    """One message between a site and the server, with its serialized size in bytes."""

    phase: str
    round: int
    site: str
    way: str
    bytes: int


@dataclass
class Ledger:
    """Every message that crossed, in order."""

    crossings: list[Crossing] = field(default_factory=list)
    _sized: tuple[RecordDict, int] = field(default=(RecordDict(), 0), repr=False)

    def note(self, content: RecordDict, *, phase: str, round: int, site: str, way: str) -> None:
        """Write down a message."""
        # What all sites are told alike is packed once to be weighed.
        if self._sized[0] is not content:
            self._sized = (content, size(content))
        self.crossings.append(Crossing(phase, round, site, way, self._sized[1]))

    def columns(self) -> dict[str, Any]:
        """Return the ledger column by column."""
        names = ("phase", "round", "site", "way", "bytes")
        return {name: [getattr(c, name) for c in self.crossings] for name in names}


def size(content: RecordDict) -> int:
    """Return the bytes of a message's content as Flower puts it on the wire (protobuf)."""
    return int(recorddict_to_proto(content).ByteSize())


def record_of(message: Message) -> ArrayRecord:
    """Return named arrays as a Flower record."""
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in message.items()})


def arrays_of(record: ArrayRecord | None) -> dict[str, NDArray[Any]]:
    """Return a Flower record as named arrays."""
    return {} if record is None else {name: array.numpy() for name, array in record.items()}


def pack(update: Update, codec: Codec) -> RecordDict:
    """Return what a site says; empty parts are not sent."""
    parts: Mapping[str, Message] = {
        "parameters": codec.encode(update.parameters),
        "control": codec.encode(update.control),
        "sums": update.sums,
    }
    content = RecordDict({name: record_of(part) for name, part in parts.items() if part})
    content["facts"] = MetricRecord({"weight": float(update.weight), "steps": int(update.steps)})
    return content


def unpack(content: RecordDict, codec: Codec) -> Update:
    """Return what a site said; the inverse of ``pack``."""
    found = {
        name: arrays_of(content.array_records.get(name))
        for name in ("parameters", "control", "sums")
    }
    facts = content.metric_records["facts"]
    return Update(
        parameters=codec.decode(found["parameters"]),
        control=codec.decode(found["control"]),
        sums=found["sums"],
        weight=float(facts["weight"]),  # type: ignore[arg-type]
        steps=int(facts["steps"]),  # type: ignore[arg-type]
    )


def call(phase: str, round: int, rounds: int) -> ConfigRecord:
    """Return the heading of a round."""
    return ConfigRecord({"phase": phase, "round": round, "rounds": rounds})
