"""Features as tables and in the ledger: a unit's second object, which the record names and every reader verifies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from overlap.errors import CheckpointError, DataError, ObjectMissing
from overlap.identity import canonical_json, digest
from overlap.store import Objects, layout
from overlap.store.features import Features, decode_features, encode_features, from_features, put_features
from overlap.store.ledger import DamagedUnits, Ledger, Record
from overlap.store.tables import Predictions, from_logits
from overlap.store.units import feature_matrix
from tests.store.written import written_beside

FP = "f" * 16
DATASET = digest(b"dataset")
SHARDS = [digest(str(number).encode()) for number in range(4)]
ROWS = [7, 1, 12, 5]
D = 6


@pytest.fixture
def ledger(objects: Objects) -> Ledger:
    return Ledger(objects, "val")


def values(shard: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng((shard, seed)).normal(size=(ROWS[shard], D)).astype(np.float32)


def unit(shard: int, seed: int = 0) -> tuple[Predictions, Features]:
    keys = [f"s{shard}-{row}" for row in range(ROWS[shard])]
    return from_logits(keys, values(shard, seed)[:, :3]), from_features(keys, values(shard, seed))


def certify(ledger: Ledger, shard: int, seed: int = 0, **rest: Any) -> Record:
    predictions, features = unit(shard, seed)
    return ledger.certify(FP, SHARDS[shard], predictions, seconds=1.0, provenance={}, features=features, **rest)


def keys_under(ledger: Ledger, prefix: str) -> list[str]:
    return sorted(info.key for info in ledger.objects.list(prefix))


def alter(ledger: Ledger, key: str) -> None:
    data = bytearray(ledger.objects.get(key))
    data[len(data) // 2] ^= 1
    ledger.objects.put(key, bytes(data))


def truncate(ledger: Ledger, key: str) -> None:
    ledger.objects.put(key, ledger.objects.get(key)[:-7])


def remove(ledger: Ledger, key: str) -> None:
    ledger.objects.delete([key])


def features_key(record: Record) -> str:
    assert record.features is not None
    return record.features.object


@settings(deadline=None)
@given(npst.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 9)), elements=st.floats(-9, 9, width=32)))
def test_what_is_stored_comes_back_as_float16(given_: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    keys = [f"k{row}" for row in range(len(given_))]
    data = encode_features(from_features(keys, given_), {"data": "val"})
    assert data == encode_features(from_features(keys, given_), {"data": "val"})
    found = decode_features(data)
    assert found.keys == keys
    assert found.features.dtype == np.dtype("<f2")
    assert found.features.tobytes() == given_.astype("<f2").tobytes()
    assert written_beside(data) == {"schema": "1", "data": "val", "dimension": str(given_.shape[1])}
    assert pl.read_parquet(io.BytesIO(data)).columns == ["key", "features"]


@pytest.mark.parametrize(("bad", "said"), [(np.nan, "nan"), (np.inf, "inf"), (7e4, "70000")])
def test_what_float16_cannot_hold_is_named(bad: float, said: str) -> None:
    features = np.zeros((3, 2), np.float32)
    features[1, 1] = bad
    with pytest.raises(CheckpointError, match=rf"sample b: feature 1 is {said}.*features = false"):
        from_features(["a", "b", "c"], features)


def test_shapes_and_keys_that_do_not_fit() -> None:
    for shape in ((2,), (3, 2), (2, 0), (2, 2, 2)):
        with pytest.raises(ValueError, match="features of shape"):
            from_features(["a", "b"], np.zeros(shape))
    with pytest.raises(DataError, match="sample a comes twice"):
        from_features(["a", "a"], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"a table without features|no such table"):
        decode_features(encode_features(from_features(["a"], np.ones((1, 2))))[:-3])


def test_a_record_names_both_objects(ledger: Ledger) -> None:
    record = certify(ledger, 0)
    assert record.features is not None
    assert record.features.object.startswith(f"predictions/val/{FP}/{SHARDS[0][:16]}-")
    assert record.features.object.endswith(".features.parquet")
    assert digest(ledger.objects.get(record.features.object)) == record.features.bytes_digest
    assert record.features.dimension == D
    assert keys_under(ledger, "predictions/") == sorted([record.object, record.features.object])
    found = ledger.read_features(record)
    assert found.features.tobytes() == values(0).astype("<f2").tobytes()
    assert found.keys == ledger.read(record).keys
    assert ledger.record(FP, SHARDS[0]) == ledger.records(FP)[SHARDS[0][:16]] == record


def test_a_record_without_features_is_as_it_always_was(ledger: Ledger) -> None:
    record = ledger.certify(FP, SHARDS[0], unit(0)[0], seconds=1.0, provenance={})
    stored = json.loads(ledger.objects.get(record.key))
    assert "features" not in stored
    assert Record.from_json(canonical_json(stored)) == record
    with pytest.raises(ObjectMissing, match=r"has no features; run with predict.features = true"):
        ledger.read_features(record)
    with pytest.raises(ObjectMissing, match="has no features"):
        feature_matrix(ledger.objects, [record])
    assert ledger.damaged(record) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda held: held.update(features={}),
        lambda held: held.update(features=None),
        lambda held: held["features"].pop("dimension"),
        lambda held: held["features"].update(dimension="6"),
        lambda held: held["features"].update(more=1),
        lambda held: held.update(more=1),
    ],
)
def test_records_of_another_form_are_no_records(ledger: Ledger, spoil: Callable[[dict[str, Any]], None]) -> None:
    record = certify(ledger, 0)
    held = json.loads(record.to_json())
    spoil(held)
    assert Record.from_json(canonical_json(held)) is None


def test_features_of_other_samples_are_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="features of other samples"):
        ledger.certify(FP, SHARDS[0], unit(0)[0], seconds=1.0, provenance={}, features=unit(1)[1])
    assert keys_under(ledger, "records/") == []


def test_whoever_dies_before_the_record_leaves_an_orphan(ledger: Ledger) -> None:
    """Killed between the features and the record: the next attempt certifies, and the late one changes nothing."""
    predictions, features = unit(0, seed=1)
    named = {"data": "val", "fingerprint": FP, "shard": SHARDS[0][:16]}
    orphan = put_features(ledger.objects, named, features)
    assert ledger.record(FP, SHARDS[0]) is None
    assert ledger.recorded() == {}
    record = certify(ledger, 0, seed=2)
    assert features_key(record) != orphan.object
    late = ledger.certify(FP, SHARDS[0], predictions, seconds=1.0, provenance={}, features=features)
    assert late == record
    assert ledger.read_features(late).features.tobytes() == values(0, 2).astype("<f2").tobytes()


@pytest.mark.parametrize("damage", [alter, truncate, remove])
def test_damaged_features_are_found_and_superseded(ledger: Ledger, damage: Callable[[Ledger, str], None]) -> None:
    records = [certify(ledger, shard) for shard in range(4)]
    damage(ledger, features_key(records[2]))
    for read in (
        lambda: ledger.read_features(records[2]),
        lambda: feature_matrix(ledger.objects, records),
        lambda: ledger.complete(FP, DATASET, SHARDS, ledger.records(FP)),
    ):
        with pytest.raises(DamagedUnits, match=features_key(records[2])) as caught:
            read()
        assert caught.value.records == (records[2],)
    ledger.read(records[2])  # the predictions are whole
    assert "features.parquet" in str(ledger.damaged(records[2]))
    again = certify(ledger, 2, replaces=records[2])
    assert again.generation == 1
    assert again.features == records[2].features, "the same bytes under the same name"
    assert ledger.damaged(again) is None
    manifest = ledger.complete(FP, DATASET, SHARDS, ledger.records(FP))
    assert [record.generation for record in manifest.records] == [0, 0, 1, 0]


def test_a_record_that_says_another_dimension(ledger: Ledger) -> None:
    record = certify(ledger, 0)
    assert record.features is not None
    with pytest.raises(DamagedUnits, match="holds 6 features an image, not 7"):
        ledger.read_features(replace(record, features=replace(record.features, dimension=7)))
    with pytest.raises(DamagedUnits, match="the record cannot be read"):
        ledger.read_features(Record.unreadable("val", FP, SHARDS[0], 0))


def test_manifests_know_the_features(ledger: Ledger) -> None:
    records = [certify(ledger, shard) for shard in range(4)]
    manifest = ledger.complete(FP, DATASET, SHARDS, ledger.records(FP))
    assert ledger.manifest(FP, DATASET) == manifest
    assert manifest.records == tuple(records)
    matrix = feature_matrix(ledger.objects, manifest.records, threads=2)
    expected = np.concatenate([values(shard) for shard in range(4)]).astype("<f2").astype(np.float32)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, expected)
    with pytest.raises(ValueError, match="make no matrix"):
        feature_matrix(ledger.objects, [])


def test_keys_of_features_are_neither_records_nor_predictions() -> None:
    key = layout.features("val", FP, SHARDS[0], DATASET)
    assert key != layout.predictions("val", FP, SHARDS[0], DATASET)
    assert layout.parse_record(key) is None
