"""Tables of the largest logits: what is stored is what all logits come to, whole, and nothing else passes for it."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest

from overlap.analysis.tops import samples
from overlap.analysis.tops.moments import GRID, KEPT
from overlap.errors import CheckpointError, DataError
from overlap.sections import TOP_CLASSES
from overlap.store.folder import Folder
from overlap.store.ledger import DamagedUnits, Ledger
from overlap.store.tables import decode, encode, from_logits
from overlap.store.tops import Tops, decode_tops, encode_tops, is_tops, joined, tops_from_logits
from tests.reference import tops as reference

SHARD, PRINT = "ab" * 32, "0123456789abcdef"


def logits(images: int, classes: int = 100) -> np.ndarray:
    z = np.random.default_rng(3).normal(0, 3, (images, classes)).astype(np.float32)
    return np.round(z * 2) / 2  # with ties


def keys(images: int) -> list[str]:
    return [f"image-{number}" for number in range(images)]


def same(one: Tops, other: Tops) -> bool:
    arrays = ("prediction", "confidence", "largest", "classes", "least", "moments", "rows", "logits")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.keys == other.keys and one.among == other.among


def test_what_is_stored_is_what_all_logits_come_to() -> None:
    z = logits(400)
    full, top = from_logits(keys(400), z), tops_from_logits(keys(400), z)
    assert np.array_equal(full.prediction, top.prediction)
    assert np.array_equal(full.confidence, top.confidence)
    for row, classes, largest in zip(full.logits.tolist(), top.classes, top.largest, strict=True):
        assert classes.tolist() == reference.listed(row, KEPT)
        assert largest.tolist() == sorted(row, reverse=True)[:KEPT]
    assert np.array_equal(top.least, full.logits.min(axis=1))
    chosen = samples.calibration(keys(400)) | samples.audit(keys(400))
    assert not (samples.calibration(keys(400)) & samples.audit(keys(400))).any()
    assert 0 < chosen.sum() < 60
    assert np.array_equal(top.rows, np.flatnonzero(chosen))
    assert np.array_equal(top.logits, full.logits[chosen])


@pytest.mark.parametrize("images", [0, 1, 400])
def test_tables_come_back_whole_and_any_reader_reads_them(images: int) -> None:
    top = tops_from_logits(keys(images), logits(images))
    data = encode_tops(top, {"data": "x"})
    assert is_tops(data)
    assert not is_tops(encode(from_logits(keys(images), logits(images))))
    assert same(decode_tops(data), top)
    assert encode_tops(decode_tops(data), {"data": "x"}) == data
    table = pl.read_parquet(io.BytesIO(data))
    assert table["logits"].null_count() == images - len(top.rows)
    if images == 400:
        assert np.array_equal(np.frombuffer(b"".join(table["classes"]), "<u2").reshape(-1, KEPT), top.classes)
        moments = np.frombuffer(b"".join(table["moments"]), "<f4").reshape(-1, len(GRID), 2)
        assert np.array_equal(moments, top.moments)
        large = encode_tops(tops_from_logits(keys(400), logits(400, 2000)))
        assert len(large) < 0.25 * len(encode(from_logits(keys(400), logits(400, 2000))))


def test_parts_are_taken_and_joined() -> None:
    top = tops_from_logits(keys(400), logits(400))
    parts = [top.take(np.arange(start, start + 100)) for start in range(0, 400, 100)]
    assert same(joined(parts), top)
    few = top.take(np.concatenate([top.rows[:3], [399]]))
    assert few.rows.tolist()[:3] == [0, 1, 2]
    with pytest.raises(ValueError, match="different classes"):
        joined([top, tops_from_logits(["a"], logits(1, 80))])


def test_logits_that_cannot_be_stored_fail_the_unit() -> None:
    assert (KEPT + 1, np.iinfo(np.uint16).max - 1) == TOP_CLASSES
    with pytest.raises(CheckpointError, match="64 classes"):
        tops_from_logits(["a"], logits(1, 64))
    z = logits(2)
    z[1, 7] = np.nan
    with pytest.raises(CheckpointError, match="image-1: the logit of class 7"):
        tops_from_logits(keys(2), z)
    with pytest.raises(DataError, match="twice"):
        tops_from_logits(["a", "a"], logits(2))


def test_other_tables_are_refused() -> None:
    top = tops_from_logits(keys(50), logits(50))
    data = encode_tops(top)
    with pytest.raises(ValueError, match="no such table"):
        decode_tops(data[:-9])
    with pytest.raises(ValueError, match="vectors are of type"):
        decode(data)
    wrong = Tops(**{**vars(top), "prediction": (top.prediction + 1) % 100})
    with pytest.raises(ValueError, match="not its largest"):
        decode_tops(encode_tops(wrong))


def test_the_ledger_certifies_both_kinds_and_tells_them_apart(tmp_path) -> None:
    ledger = Ledger(Folder(tmp_path), "val")
    top = tops_from_logits(keys(50), logits(50))
    record = ledger.certify(PRINT, SHARD, top, seconds=1.0, provenance={})
    assert same(ledger.read_tops(record), top)
    with pytest.raises(DataError, match="the largest logits of each image alone"):
        ledger.read(record)
    assert ledger.damaged(record) is None
    manifest = ledger.complete(PRINT, "cd" * 32, [SHARD], ledger.records(PRINT))
    assert manifest.rows == 50
    assert np.array_equal(ledger.hard(PRINT, "cd" * 32).prediction, top.prediction)
    other = ledger.certify("f" * 16, SHARD, from_logits(keys(50), logits(50)), seconds=1.0, provenance={})
    with pytest.raises(DataError, match="holds all logits"):
        ledger.read_tops(other)
    path = tmp_path / record.object
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedUnits):
        ledger.read_tops(record)
