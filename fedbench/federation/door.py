"""The one door: all that a site says or hears is packed, sized and unpacked here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import array_to_proto, config_record_to_proto, metric_record_to_proto
from numpy.typing import NDArray

from fedbench.accounting import Charge
from fedbench.codec import Codec
from fedbench.strategy import Message, Update

__all__ = [
    "Crossing",
    "Ledger",
    "array_of",
    "arrays_in",
    "arrays_of",
    "pack",
    "packed",
    "part",
    "record_of",
    "size",
    "unpack",
]

Record = TypeVar("Record", ArrayRecord, ConfigRecord, MetricRecord)


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
    """Return the bytes of a message's content as Flower puts it on the wire (protobuf).

    Arrays are most of a message, and serializing one copies it four times over; protobuf's
    rules give the same number without.
    """
    return sum(_field(_text(name) + _field(_weight(record))) for name, record in content.items())


def _weight(record: ArrayRecord | ConfigRecord | MetricRecord) -> int:
    if isinstance(record, ArrayRecord):
        return sum(_field(_text(name) + _field(_size(array))) for name, array in record.items())
    if isinstance(record, MetricRecord):
        return int(metric_record_to_proto(record).ByteSize())
    return int(config_record_to_proto(record).ByteSize())


def _size(array: Array) -> int:
    data = len(array.data)
    return _bare(array.dtype, tuple(array.shape), array.stype) + (_field(data) if data else 0)


@lru_cache(maxsize=4096)
def _bare(dtype: str, shape: tuple[int, ...], stype: str) -> int:
    """Return the bytes of an array without its data."""
    return int(array_to_proto(Array(dtype, shape, stype, b"")).ByteSize())


def _text(text: str) -> int:
    """Return the bytes of a text, which is left out where it is empty."""
    return _field(len(text.encode())) if text else 0


def _field(length: int) -> int:
    """Return the bytes of a field this long: its number, its length in groups of 7 bits, itself."""
    return 1 + max(1, -(-length.bit_length() // 7)) + length


def record_of(message: Message) -> ArrayRecord:
    """Return named arrays as a Flower record."""
    record = ArrayRecord()
    for name, array in message.items():
        record[name] = packed(array)
    return record


def arrays_of(record: ArrayRecord | None) -> dict[str, NDArray[Any]]:
    """Return a Flower record as named arrays, each the receiver's own to change."""
    return {} if record is None else {name: array_of(array) for name, array in record.items()}


@dataclass(frozen=True)
class Form:
    """How arrays of a kind and shape look in Flower's messages: in numpy's format."""

    name: str
    dtype: np.dtype[Any]
    header: bytes
    bytes: int


@lru_cache(maxsize=4096)
def _form(dtype: np.dtype[Any] | str, shape: tuple[int, ...]) -> Form | None:
    """Return the form of numbers; there is none for what numpy may read in another way."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        return None
    if kind.kind not in "biufc":
        return None
    header = BytesIO()
    facts = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    start = header.getvalue()
    return Form(str(kind), kind, start, len(start) + kind.itemsize * prod(shape))


def packed(array: NDArray[Any]) -> Array:
    """Return what ``Array(array)`` does, to the byte, with one copy in place of three."""
    array = np.ascontiguousarray(array)
    if (form := _form(array.dtype, array.shape)) is None:
        return Array(array)
    return Array(form.name, array.shape, "numpy.ndarray", b"".join((form.header, array.data)))


def array_of(array: Array) -> NDArray[Any]:
    """Return what ``array.numpy()`` does; the header is not parsed where it is the expected one."""
    shape = tuple(array.shape)
    form = _form(array.dtype, shape) if array.stype == "numpy.ndarray" else None
    if form and len(array.data) == form.bytes and array.data.startswith(form.header):
        return np.ndarray(shape, form.dtype, array.data, len(form.header)).copy()
    return array.numpy()


def part(content: RecordDict, name: str, kind: type[Record]) -> Record:
    """Return one record; Flower's views by kind go through all of them.

    Raises:
        KeyError: there is none of this name and kind.
    """
    record = content[name]
    if isinstance(record, kind):
        return record
    raise KeyError(name)


def arrays_in(content: RecordDict, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays under a name; empty where there are none."""
    return arrays_of(part(content, name, ArrayRecord)) if name in content else {}


def pack(update: Update, codec: Codec) -> RecordDict:
    """Return what a site says; empty parts are not sent."""
    parts: Mapping[str, Message] = {
        "parameters": codec.encode(update.parameters),
        "control": codec.encode(update.control),
        "sums": update.sums,
    }
    content = RecordDict({name: record_of(part) for name, part in parts.items() if part})
    facts: dict[str, int | float] = {"weight": float(update.weight), "steps": int(update.steps)}
    if update.noise:
        facts["noise"] = float(update.noise)
    content["facts"] = MetricRecord(dict(facts))
    if update.charges:
        content["charges"] = ConfigRecord({"json": json.dumps([*map(asdict, update.charges)])})
    return content


def unpack(content: RecordDict, codec: Codec) -> Update:
    """Return what a site said; the inverse of ``pack``."""
    facts = part(content, "facts", MetricRecord)
    return Update(
        parameters=codec.decode(arrays_in(content, "parameters")),
        control=codec.decode(arrays_in(content, "control")),
        sums=arrays_in(content, "sums"),
        weight=float(facts["weight"]),  # type: ignore[arg-type]
        steps=int(facts["steps"]),  # type: ignore[arg-type]
        noise=float(facts.get("noise", 0.0)),  # type: ignore[arg-type]
        charges=_charges(content),
    )


def _charges(content: RecordDict) -> tuple[Charge, ...]:
    if "charges" not in content:
        return ()
    told = json.loads(str(part(content, "charges", ConfigRecord)["json"]))
    return tuple(Charge(**each) for each in told)


def call(phase: str, round: int, rounds: int) -> ConfigRecord:
    """Return the heading of a round."""
    return ConfigRecord({"phase": phase, "round": round, "rounds": rounds})
