from __future__ import annotations

import io
import subprocess
import sys
from contextlib import suppress

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from overlap.errors import CheckpointError, DataError
from overlap.store.parquet import columns_of
from overlap.store.tables import (
    Hard,
    Labels,
    Predictions,
    decode,
    decode_hard,
    decode_labels,
    encode,
    encode_hard,
    encode_labels,
    from_logits,
)
from tests.reference.predictions import arg_max, max_softmax
from tests.store.written import written_beside

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    keys = draw(st.lists(KEYS, max_size=12, unique=True))
    classes = draw(st.integers(1, 7))
    halves = st.floats(width=16, allow_nan=False, allow_infinity=False)
    return from_logits(keys, draw(npst.arrays(np.float16, (len(keys), classes), elements=halves)))


def _equal(one: Predictions, other: Predictions) -> bool:
    return (
        one.keys == other.keys
        and one.logits.dtype == other.logits.dtype == np.dtype("<f2")
        and one.logits.shape == other.logits.shape
        and one.logits.tobytes() == other.logits.tobytes()
        and _equal_hard(one.hard, other.hard)
    )


def _equal_hard(one: Hard, other: Hard) -> bool:
    return (
        one.keys == other.keys
        and (one.prediction.dtype, one.confidence.dtype) == (other.prediction.dtype, other.confidence.dtype)
        and np.array_equal(one.prediction, other.prediction)
        and np.array_equal(one.confidence, other.confidence, equal_nan=True)
    )


@settings(deadline=None)
@given(predictions(), st.dictionaries(st.sampled_from("abcde"), KEYS))
def test_predictions_come_back_bit_for_bit(one: Predictions, metadata: dict[str, str]) -> None:
    data = encode(one, metadata)
    assert _equal(decode(data), one)
    assert _equal_hard(decode_hard(data), one.hard)
    held = written_beside(data)
    assert held == {**metadata, "schema": "1", "classes": str(one.logits.shape[1])}


@settings(deadline=None)
@given(predictions(), st.data())
def test_equal_predictions_are_equal_bytes(one: Predictions, data: st.DataObject) -> None:
    metadata = {"shard": "s", "fingerprint": "f", "data": "d"}
    shuffled = dict(data.draw(st.permutations(list(metadata.items()))))
    copied = from_logits(list(one.keys), np.asfortranarray(one.logits.astype(np.float64)))
    assert encode(one, metadata) == encode(copied, shuffled) == encode(decode(encode(one, metadata)), metadata)


def test_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import sys, numpy as np; from overlap.store.tables import *;"
        "x = np.random.default_rng(0).normal(size=(300, 50));"
        "sys.stdout.buffer.write(encode(from_logits([f'k{i}' for i in range(300)], x), {'a': '1', 'b': '2'}))"
    )
    first, second = (subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(2))
    logits = np.random.default_rng(0).normal(size=(300, 50))
    here = encode(from_logits([f"k{i}" for i in range(300)], logits), {"b": "2", "a": "1"})
    assert first.stdout == second.stdout == here


@settings(deadline=None)
@given(
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-60, 60, width=32) | st.sampled_from([0.0, -0.0, 1.0, 1.0001, 65504.0, -65504.0]),
    )
)
def test_columns_derive_from_the_stored_logits(logits: np.ndarray) -> None:
    found = from_logits([str(row) for row in range(len(logits))], logits)
    for row, stored in enumerate(logits.astype("<f2").tolist()):
        assert found.logits[row].tolist() == stored
        assert found.prediction[row] == arg_max(stored)
        assert found.confidence[row] == pytest.approx(max_softmax(stored), rel=1e-6)


def test_ties_go_to_the_lowest_class() -> None:
    # 10.001 and 10.002 differ as float32 and are one and the same float16.
    logits = np.array([[1, 3, 3, 3], [10.001, 10.002, 0, 0], [0, -0.0, 0, 0], [-0.0, 0.0, 0, 0]], np.float32)
    assert logits[1].argmax() == 1
    found = from_logits(list("abcd"), logits)
    assert found.prediction.tolist() == [1, 0, 0, 0]
    assert found.confidence[2] == 0.25


def test_many_rows_are_as_few() -> None:
    logits = np.random.default_rng(0).normal(size=(9000, 5)).astype(np.float32) * 5
    whole = from_logits([str(row) for row in range(9000)], logits)
    parts = [from_logits([str(row)], logits[row : row + 1]) for row in (0, 4095, 4096, 8191, 8192, 8999)]
    assert [float(part.confidence[0]) for part in parts] == [
        float(whole.confidence[int(part.keys[0])]) for part in parts
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65520.0, -1e9])
def test_a_logit_that_is_not_finite_is_refused_by_key(bad: float) -> None:
    logits = np.zeros((3, 4), np.float32)
    logits[1, 2] = bad
    with pytest.raises(CheckpointError, match=r"^sample n002: the logit of class 2 is [^\n]*$"):
        from_logits(["n001", "n002", "n003"], logits)
    logits[1, 2] = 65504
    assert from_logits(["n001", "n002", "n003"], logits).prediction[1] == 2


def test_a_doubled_key_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="sample n2 comes twice"):
        from_logits(["n1", "n2", "n3", "n2"], np.zeros((4, 2)))
    with pytest.raises(DataError, match="sample n2 comes twice"):
        encode_labels(Labels(["n2", "n2"], np.zeros(2, np.int32)))


@pytest.mark.parametrize("shape", [(2,), (2, 3, 1), (3, 2), (2, 0)])
def test_shapes_must_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="logits of shape"):
        from_logits(["a", "b"], np.zeros(shape))


def test_logits_are_read_without_a_copy() -> None:
    logits = np.random.default_rng(0).normal(size=(500, 100))
    found = decode(encode(from_logits([str(row) for row in range(500)], logits)))
    assert not found.logits.flags.owndata


@given(st.lists(KEYS, max_size=9, unique=True), st.data())
@settings(deadline=None)
def test_hard_predictions_come_back_with_unknown_confidence(keys: list[str], data: st.DataObject) -> None:
    confidence = npst.arrays(np.float32, len(keys), elements=st.floats(0, 1, width=32) | st.just(float("nan")))
    classes = npst.arrays(np.int32, len(keys), elements=st.integers(-1, 2**31 - 1))
    hard = Hard(keys, data.draw(classes), data.draw(confidence))
    written = encode_hard(hard, {"a": "1"})
    assert _equal_hard(decode_hard(written), hard)
    assert encode_hard(decode_hard(written), {"a": "1"}) == written


@given(st.lists(KEYS, max_size=9, unique=True), st.data())
@settings(deadline=None)
def test_labels_come_back(keys: list[str], data: st.DataObject) -> None:
    label = data.draw(npst.arrays(np.int32, len(keys), elements=st.integers(0, 2**31 - 1)))
    found = decode_labels(encode_labels(Labels(keys, label)))
    assert found.keys == keys
    assert found.label.dtype == np.int32
    assert np.array_equal(found.label, label)


def test_any_parquet_reader_reads_the_tables() -> None:
    logits = np.array([[1.5, -2, 0.25], [0, 7, 1]], np.float32)
    table = pl.read_parquet(io.BytesIO(encode(from_logits(["a", "b"], logits))))
    assert table.columns == ["key", "prediction", "confidence", "logits"]
    assert table["prediction"].to_list() == [0, 1]
    assert np.frombuffer(b"".join(table["logits"]), "<f2").reshape(2, 3).tolist() == logits.tolist()
    hard = Hard(["a", "b"], np.array([1, 2], np.int32), np.array([np.nan, 0.5], np.float32))
    assert pl.read_parquet(io.BytesIO(encode_hard(hard))).rows() == [("a", 1, None), ("b", 2, 0.5)]


def test_what_is_no_table_is_an_error_without_a_crash() -> None:
    good = encode(from_logits([f"k{row}" for row in range(40)], np.random.default_rng(0).normal(size=(40, 6))))
    for bad in (b"", b"PAR1", good[:-1], good[: len(good) // 2], b"x" * 1000):
        for read in (decode, decode_hard, decode_labels, columns_of):
            with pytest.raises(ValueError, match=r"^no (such table|Parquet file): [^\n]+$"):
                read(bad)
    with pytest.raises(ValueError, match="without label"):
        decode_labels(good)
    with pytest.raises(ValueError, match="without logits"):
        decode(encode_hard(decode_hard(good)))
    foreign = io.BytesIO()
    pl.DataFrame({"key": ["a"], "label": [1]}).write_parquet(foreign)
    with pytest.raises(ValueError, match="schema"):
        decode_labels(foreign.getvalue())


def test_altered_bytes_never_pass_for_others_than_a_value_error() -> None:
    good = encode(from_logits([f"k{row}" for row in range(20)], np.random.default_rng(0).normal(size=(20, 4))))
    random = np.random.default_rng(1)
    for position in random.integers(0, len(good), 300):
        altered = bytearray(good)
        altered[position] ^= 1 << random.integers(0, 8)
        with suppress(ValueError):
            decode(bytes(altered))


@given(st.lists(st.lists(st.integers(0, 99), unique=True, max_size=4), max_size=6))
def test_several_labels_come_back_and_any_reader_reads_them(rows: list[list[int]]) -> None:
    padded = np.full((len(rows), max([1, *map(len, rows)])), -1, np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    keys = [f"k{place}" for place in range(len(rows))]
    data = encode_labels(Labels(keys, padded))
    found = decode_labels(data)
    assert found.keys == keys
    assert found.label.dtype == np.int32
    assert np.array_equal(found.label, padded)
    table = pl.read_parquet(io.BytesIO(data))
    assert table["labels"].to_list() == rows
    assert table["label"].to_list() == [row[0] if row else -1 for row in rows]
