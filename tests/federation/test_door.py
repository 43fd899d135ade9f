"""What crosses is, byte for byte, what Flower itself would write and read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_to_proto
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedbench.federation.codecs.identity import Identity
from fedbench.federation.door import (
    Ledger,
    array_of,
    arrays_in,
    arrays_of,
    pack,
    packed,
    part,
    record_of,
    size,
    unpack,
)
from fedbench.strategy import Update

ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes() | hnp.byte_string_dtypes(),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)


@given(ARRAYS)
@example(np.zeros((0, 3), dtype=np.float32))
@example(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
@example(np.arange(10)[::-2])
@example(np.array([1.5], dtype=">f4"))
def test_an_array_is_packed_and_read_as_flower_does(array: np.ndarray) -> None:
    ours, flowers = packed(array), Array(np.ascontiguousarray(array))
    assert ours == flowers
    read, expected = array_of(ours), flowers.numpy()
    assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
    assert read.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_what_is_read_is_the_readers_own(dtype: str) -> None:
    array = packed(np.zeros(5, dtype=dtype))
    array_of(array)[:] = 1
    assert not array_of(array).any()


def test_an_array_that_is_not_what_it_says_is_read_by_flower() -> None:
    written = Array(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert (array_of(written) == written.numpy()).all()
    lying = Array("float32", (4,), "numpy.ndarray", packed(np.arange(4.0)).data)
    assert array_of(lying).tolist() == [0.0, 1.0, 2.0, 3.0]
    short = Array("float64", (4,), "numpy.ndarray", packed(np.arange(4.0)).data[:-1])
    with pytest.raises(ValueError, match="EOF"):
        array_of(short)
    with pytest.raises(TypeError, match="serialization type"):
        array_of(Array("float64", (4,), "pickle", packed(np.arange(4.0)).data))


def test_no_object_is_ever_packed_or_read() -> None:
    with pytest.raises(ValueError, match="pickle"):
        packed(np.array([{}]))
    with pytest.raises(ValueError, match="pickle"):
        array_of(Array("object", (1,), "numpy.ndarray", _pickled()))


def _pickled() -> bytes:
    header = packed(np.zeros(1)).data[:-8]
    return header.replace(b"'<f8'", b"'|O'  ")


def arrays(shapes: Mapping[str, tuple[int, ...]]) -> ArrayRecord:
    return record_of({name: np.zeros(shape) for name, shape in shapes.items()})


def metrics(numbers: dict[str, float]) -> MetricRecord:
    return MetricRecord({**numbers, "list": list(numbers.values())})


def config(texts: dict[str, str]) -> ConfigRecord:
    return ConfigRecord({**texts})


SHAPES = hnp.array_shapes(max_dims=3, min_side=0)
RECORDS = (
    st.dictionaries(TEXTS, SHAPES, max_size=3).map(arrays)
    | st.dictionaries(TEXTS, st.floats(), max_size=3).map(metrics)
    | st.dictionaries(TEXTS, TEXTS, max_size=3).map(config)
)


@given(st.dictionaries(TEXTS, RECORDS, max_size=4).map(RecordDict))
@example(RecordDict({"": ArrayRecord({"": Array("", (), "", b"")})}))
def test_the_size_is_that_of_the_serialized_message(content: RecordDict) -> None:
    assert size(content) == len(recorddict_to_proto(content).SerializeToString())


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 16_383, 16_384, 2_097_152, 3_000_000])
def test_the_size_is_right_where_a_length_takes_another_byte(length: int) -> None:
    for data in (length, max(0, length - 20), max(0, length - 60)):
        record = ArrayRecord({"w": Array("uint8", (data,), "numpy.ndarray", b"x" * data)})
        content = RecordDict({"model": record})
        assert size(content) == len(recorddict_to_proto(content).SerializeToString())


def test_the_ledger_weighs_every_message_itself() -> None:
    ledger = Ledger()
    heading: dict[str, Any] = {"phase": "train", "round": 0, "way": "down"}
    contents = [RecordDict({"model": arrays({"w": (n,)})}) for n in (1, 50, 1)]
    for content in contents:
        for site in ("north", "south"):
            ledger.note(content, site=site, **heading)
    expected = [recorddict_to_proto(c).ByteSize() for c in contents for _ in range(2)]
    assert ledger.columns()["bytes"] == expected


def test_an_update_comes_back_as_it_was_packed() -> None:
    said = Update(
        parameters={"w": np.arange(3.0, dtype=np.float32)},
        sums={"n": np.array([2.5])},
        weight=7.0,
        steps=3,
    )
    heard = unpack(pack(said, Identity()), Identity())
    assert (heard.weight, heard.steps, heard.control) == (7.0, 3, {})
    for name in ("parameters", "sums"):
        for key, array in getattr(said, name).items():
            assert array_equal(getattr(heard, name)[key], array)


def array_equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and bool((one == other).all())


def test_a_record_of_another_kind_is_not_taken_for_it() -> None:
    content = RecordDict({"model": ConfigRecord({"w": 1.0}), "state": arrays({"w": (2,)})})
    with pytest.raises(KeyError, match="model"):
        arrays_in(content, "model")
    with pytest.raises(KeyError, match="state"):
        part(content, "state", ConfigRecord)
    assert arrays_in(content, "absent") == {}
    assert arrays_of(None) == {}
