"""The ledger over a folder and over a bucket on a real S3 server."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from overlap.errors import DamagedObject, DataError, ObjectMissing, StoreError
from overlap.identity import digest, digest_keys
from overlap.store import Location, Objects, layout, open_objects
from overlap.store.hard import certified_prediction
from overlap.store.ledger import DamagedUnits, Ledger, Manifest, Record
from overlap.store.tables import Predictions, decode_hard, from_logits

FP, OTHER = "f" * 16, "e" * 16
DATASET = hashlib.sha256(b"dataset").hexdigest()
SHARDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5)]
NAMES = [shard[:16] for shard in SHARDS]


@pytest.fixture
def ledger(objects: Objects) -> Ledger:
    return Ledger(objects, "val")


def _unit(shard: int, seed: int = 0, rows: int = 20) -> Predictions:
    logits = np.random.default_rng((shard, seed)).normal(size=(rows, 7)) * 3
    return from_logits([f"s{shard}-{row:03d}" for row in range(rows)], logits)


def _certify(ledger: Ledger, shard: int, seed: int = 0, fingerprint: str = FP, **rest: Any) -> Record:
    provenance = {"host": "h", "seed": seed}
    return ledger.certify(fingerprint, SHARDS[shard], _unit(shard, seed), seconds=1.5, provenance=provenance, **rest)


def _keys(ledger: Ledger, prefix: str = "") -> list[str]:
    return [info.key for info in ledger.objects.list(prefix)]


def _alter(ledger: Ledger, key: str) -> None:
    data = bytearray(ledger.objects.get(key))
    data[len(data) // 2] ^= 1
    ledger.objects.put(key, bytes(data))


def _truncate(ledger: Ledger, key: str) -> None:
    ledger.objects.put(key, ledger.objects.get(key)[:-7])


def _remove(ledger: Ledger, key: str) -> None:
    ledger.objects.delete([key])


DAMAGES = pytest.mark.parametrize("damage", [_alter, _truncate, _remove])


def test_a_certified_unit_is_read_as_it_was(ledger: Ledger) -> None:
    record = _certify(ledger, 0)
    unit = _unit(0)
    assert record == ledger.record(FP, SHARDS[0]) == ledger.record(FP, NAMES[0])
    assert (record.shard, record.name, record.generation, record.rows) == (SHARDS[0], NAMES[0], 0, 20)
    assert record.keys_digest == digest_keys(unit.keys)
    assert record.bytes_digest == digest(ledger.objects.get(record.object))
    assert (record.seconds, record.provenance) == (1.5, {"host": "h", "seed": 0})
    assert record.object == f"predictions/val/{FP}/{NAMES[0]}-{record.bytes_digest[:16]}.parquet"
    assert record.key == f"records/val/{FP}/{NAMES[0]}.json"
    assert _keys(ledger) == sorted([record.object, record.key])
    found = ledger.read(record)
    assert found.keys == unit.keys
    assert found.logits.tobytes() == unit.logits.tobytes()
    assert ledger.damaged(record) is None
    assert ledger.record(FP, SHARDS[1]) is None
    assert ledger.record(OTHER, SHARDS[0]) is None


def test_a_record_is_plain_json_of_the_same_bytes(ledger: Ledger) -> None:
    record = _certify(ledger, 0)
    stored = ledger.objects.get(record.key)
    assert stored == record.to_json()
    held = json.loads(stored)
    assert held["schema"] == 1
    assert held["object"] == record.object
    assert Record.from_json(stored) == record


def test_what_is_done_is_seen_in_the_keys(ledger: Ledger) -> None:
    assert ledger.recorded() == {}
    assert ledger.records(FP) == {}
    first, second = _certify(ledger, 0), _certify(ledger, 1)
    other = _certify(ledger, 1, fingerprint=OTHER)
    Ledger(ledger.objects, "val2").certify(FP, SHARDS[4], _unit(4), seconds=1, provenance={})
    assert ledger.recorded() == {FP: {NAMES[0], NAMES[1]}, OTHER: {NAMES[1]}}
    assert ledger.records(FP) == {NAMES[0]: first, NAMES[1]: second}
    assert ledger.records(OTHER, threads=1) == {NAMES[1]: other}


def test_a_late_attempt_adopts_the_record_that_is_there(ledger: Ledger) -> None:
    first = _certify(ledger, 0, seed=1)
    late = _certify(ledger, 0, seed=2)
    assert late == first
    assert ledger.record(FP, SHARDS[0]) == first
    assert ledger.read(first).logits.tobytes() == _unit(0, 1).logits.tobytes()
    orphans = set(_keys(ledger, "predictions/")) - {first.object}
    assert len(orphans) == 1, "the late bytes are beside the certified ones"


def test_of_racing_attempts_all_go_on_with_one_record(location: Location) -> None:
    start = threading.Barrier(6)

    def attempt(number: int) -> Record:
        ledger: Ledger = pickle.loads(pickle.dumps(Ledger(open_objects(location), "val")))
        start.wait()
        return _certify(ledger, 0, seed=number)

    with ThreadPoolExecutor(6) as pool:
        records = list(pool.map(attempt, range(6)))
    assert all(record == records[0] for record in records)
    ledger = Ledger(open_objects(location), "val")
    assert ledger.record(FP, SHARDS[0]) == records[0]
    winner = records[0].provenance["seed"]
    assert ledger.read(records[0]).logits.tobytes() == _unit(0, winner).logits.tobytes()


def test_the_same_unit_is_the_same_object(ledger: Ledger) -> None:
    first = _certify(ledger, 0)
    again = _certify(ledger, 0)
    assert again == first
    assert _keys(ledger, "predictions/") == [first.object]


@DAMAGES
def test_a_damaged_object_is_named_and_superseded(ledger: Ledger, damage: Any) -> None:
    record = _certify(ledger, 0, seed=1)
    damage(ledger, record.object)
    with pytest.raises(DamagedUnits, match=f"{record.object}: [^\n]+; run again") as caught:
        ledger.read(record)
    assert caught.value.records == (record,)
    assert pickle.loads(pickle.dumps(caught.value)).records == (record,)
    assert record.object in str(ledger.damaged(record))
    assert _certify(ledger, 0, seed=2) == record, "only who knows of the damage may supersede"

    better = _certify(ledger, 0, seed=2, replaces=record)
    assert better.generation == 1
    assert better.key == f"records/val/{FP}/{NAMES[0]}.1.json"
    assert ledger.record(FP, SHARDS[0]) == better
    assert ledger.records(FP) == {NAMES[0]: better}
    assert ledger.recorded() == {FP: {NAMES[0]}}
    assert ledger.damaged(better) is None
    assert _certify(ledger, 0, seed=3, replaces=record) == better, "a second one that noticed adopts it"
    assert _certify(ledger, 0, seed=3) == better, "a late attempt adopts the newest"


@DAMAGES
def test_the_same_bytes_again_mend_a_damaged_object(ledger: Ledger, damage: Any) -> None:
    record = _certify(ledger, 0)
    damage(ledger, record.object)
    better = _certify(ledger, 0, replaces=record)
    assert (better.generation, better.object) == (1, record.object)
    assert ledger.damaged(better) is None
    assert ledger.damaged(record) is None


def test_many_generations_are_ordered_by_number(ledger: Ledger) -> None:
    record = _certify(ledger, 0)
    for generation in range(1, 12):
        record = _certify(ledger, 0, seed=generation, replaces=record)
    assert record.generation == 11
    assert ledger.record(FP, SHARDS[0]) == record
    assert ledger.records(FP) == {NAMES[0]: record}


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b'{"schema":1}', b"null", "otherwise"])
def test_a_damaged_record_certifies_nothing_and_is_superseded(ledger: Ledger, bad: bytes | str) -> None:
    good = _certify(ledger, 0, seed=1)
    if isinstance(bad, str):  # the record of another unit in its place
        bad = _certify(ledger, 1).to_json()
    ledger.objects.put(good.key, bad)
    stand_in = ledger.records(FP)[NAMES[0]]
    assert stand_in == ledger.record(FP, SHARDS[0])
    assert not stand_in.readable
    assert good.key in str(ledger.damaged(stand_in))
    with pytest.raises(DamagedUnits, match="the record cannot be read") as caught:
        ledger.read(stand_in)
    assert caught.value.records == (stand_in,)
    for better in (_certify(ledger, 0, seed=2), _certify(ledger, 0, seed=3, replaces=stand_in)):
        assert (better.generation, better.provenance["seed"]) == (1, 2)
        assert ledger.record(FP, SHARDS[0]) == better


def test_a_record_that_lies_about_its_object_is_found_out(ledger: Ledger) -> None:
    record, other = _certify(ledger, 0), _certify(ledger, 1)
    held = json.loads(record.to_json())
    for change in (
        {"rows": 19},
        {"keys_digest": "0" * 64},
        {"object": other.object},
        {"bytes_digest": other.bytes_digest},
    ):
        ledger.objects.put(record.key, json.dumps({**held, **change}).encode())
        found = ledger.record(FP, SHARDS[0])
        assert found is not None
        assert found.readable
        with pytest.raises(DamagedUnits):
            ledger.read(found)
    lying = {**held, "object": other.object, "bytes_digest": other.bytes_digest}
    ledger.objects.put(record.key, json.dumps(lying).encode())
    with pytest.raises(DamagedUnits, match="whose keys are not those"):
        ledger.read(ledger.records(FP)[NAMES[0]])


def test_a_record_of_a_newer_version_is_not_touched(ledger: Ledger) -> None:
    record = _certify(ledger, 0)
    newer = json.dumps({**json.loads(record.to_json()), "schema": 2}).encode()
    ledger.objects.put(record.key, newer)
    for ask in (lambda: ledger.record(FP, SHARDS[0]), lambda: ledger.records(FP), lambda: _certify(ledger, 0, seed=1)):
        with pytest.raises(StoreError, match=r"schema 2.*upgrade overlap"):
            ask()
    assert ledger.objects.get(record.key) == newer


def _complete(ledger: Ledger, order: list[int] | None = None) -> Manifest:
    return ledger.complete(FP, DATASET, [SHARDS[shard] for shard in order or [2, 0, 1]], ledger.records(FP))


def test_a_complete_checkpoint_has_a_manifest_and_hard_predictions(ledger: Ledger) -> None:
    for shard in range(3):
        _certify(ledger, shard)
    assert ledger.completed(DATASET) == set()
    assert ledger.manifest(FP, DATASET) is None
    with pytest.raises(ObjectMissing, match="not complete"):
        ledger.hard(FP, DATASET)
    manifest = _complete(ledger)
    assert manifest == ledger.manifest(FP, DATASET)
    assert ledger.completed(DATASET) == ledger.completed(DATASET[:16]) == {FP}
    assert ledger.completed("0" * 64) == set()
    units = [_unit(shard) for shard in (2, 0, 1)]
    hard = ledger.hard(FP, DATASET)
    assert hard.keys == [key for unit in units for key in unit.keys]
    assert hard.prediction.tolist() == [p for unit in units for p in unit.prediction.tolist()]
    assert certified_prediction(ledger.objects, DATASET, manifest).tolist() == hard.prediction.tolist()
    assert hard.confidence.tolist() == [c for unit in units for c in unit.confidence.tolist()]
    assert (manifest.rows, manifest.keys_digest, manifest.seconds) == (60, digest_keys(hard.keys), 4.5)
    assert [record.shard for record in manifest.records] == [SHARDS[2], SHARDS[0], SHARDS[1]]
    assert [ledger.read(record).keys for record in manifest.records] == [unit.keys for unit in units]
    assert manifest.hard_digest == digest(ledger.objects.get(f"complete/val/{DATASET[:16]}/{FP}/hard.parquet"))
    assert decode_hard(ledger.objects.get(layout.hard("val", DATASET, FP))).keys == hard.keys


def test_completing_again_writes_the_same_bytes(ledger: Ledger) -> None:
    for shard in range(3):
        _certify(ledger, shard)
    _complete(ledger)
    before = {key: ledger.objects.get(key) for key in _keys(ledger, "complete/")}
    assert len(before) == 2
    _complete(ledger)
    assert {key: ledger.objects.get(key) for key in _keys(ledger, "complete/")} == before


def test_completing_names_every_damaged_unit_at_once(ledger: Ledger) -> None:
    records = [_certify(ledger, shard) for shard in range(4)]
    _alter(ledger, records[1].object)
    _remove(ledger, records[3].object)
    ledger.objects.put(records[2].key, b"")
    with pytest.raises(DamagedUnits, match="and 2 more") as caught:
        _complete(ledger, [0, 1, 2, 3])
    assert _keys(ledger, "complete/") == []
    assert {record.name for record in caught.value.records} == {NAMES[1], NAMES[2], NAMES[3]}
    for damaged in caught.value.records:
        shard = NAMES.index(damaged.name)
        ledger.certify(FP, SHARDS[shard], _unit(shard), seconds=1, provenance={}, replaces=damaged)
    manifest = _complete(ledger, [0, 1, 2, 3])
    assert [record.generation for record in manifest.records] == [0, 1, 1, 1]
    assert len(ledger.hard(FP, DATASET)) == 80


@DAMAGES
def test_damage_to_what_is_complete_is_named_and_mended_by_completing(ledger: Ledger, damage: Any) -> None:
    for shard in range(3):
        _certify(ledger, shard)
    whole = _complete(ledger)
    hard, manifest = layout.hard("val", DATASET, FP), layout.manifest("val", DATASET, FP)
    damage(ledger, hard)
    for read in (lambda: ledger.hard(FP, DATASET), lambda: certified_prediction(ledger.objects, DATASET, whole)):
        with pytest.raises(DamagedObject, match=hard):
            read()
    assert _complete(ledger) == whole
    assert len(ledger.hard(FP, DATASET)) == 60
    ledger.objects.put(manifest, ledger.objects.get(manifest)[:-1])
    for ask in (ledger.hard, ledger.manifest):
        with pytest.raises(DamagedObject, match=manifest):
            ask(FP, DATASET)
    assert _complete(ledger) == whole


def test_what_lacks_a_record_cannot_be_completed(ledger: Ledger) -> None:
    _certify(ledger, 0)
    with pytest.raises(ValueError, match=f"1 shards have no record, the first {NAMES[1]}"):
        _complete(ledger, [0, 1])
    assert _keys(ledger, "complete/") == []


def test_a_sample_in_two_shards_is_named(ledger: Ledger) -> None:
    _certify(ledger, 0)
    ledger.certify(FP, SHARDS[1], _unit(0), seconds=1, provenance={})
    with pytest.raises(DataError, match="sample 's0-000' is in two shards"):
        _complete(ledger, [0, 1])
    assert _keys(ledger, "complete/") == []


def test_failures_are_kept_until_they_are_cleared(ledger: Ledger) -> None:
    assert ledger.failures() == []
    ledger.fail("net.a1@x", None, None, "no such file", "weights")
    ledger.fail("net.a1@x", SHARDS[0], FP, "a first reason", "unit")
    last = ledger.fail("net.a1@x", SHARDS[0], FP, "logit of class 3 is nan", "unit")
    ledger.fail("net", SHARDS[1], FP, "out of memory", "unit")
    Ledger(ledger.objects, "val2").fail("net", None, None, "elsewhere", "weights")
    found = ledger.failures()
    assert [(failure.model, failure.shard, failure.reason) for failure in found] == [
        ("net.a1@x", SHARDS[0], "logit of class 3 is nan"),
        ("net.a1@x", None, "no such file"),
        ("net", SHARDS[1], "out of memory"),
    ]
    assert found[0] == last
    assert last.at.endswith("+00:00")
    ledger.clear_failures("net")
    assert {failure.model for failure in ledger.failures()} == {"net.a1@x"}
    ledger.objects.put(layout.failure("val", "net.a1@x", SHARDS[0]), b"{")
    assert [failure.kind for failure in ledger.failures()] == ["unreadable", "weights"]
    ledger.clear_failures("net.a1@x")
    ledger.clear_failures("never-failed")
    assert ledger.failures() == []


def test_foreign_objects_between_records_are_passed_over(ledger: Ledger) -> None:
    record = _certify(ledger, 0)
    for key in (f"records/val/{FP}/notes.txt", f"records/val/{FP}/{NAMES[1]}.json.bak", "failures/val/net/readme"):
        ledger.objects.put(key, b"?")
    assert ledger.recorded() == {FP: {NAMES[0]}}
    assert ledger.records(FP) == {NAMES[0]: record}
    assert ledger.failures() == []


def test_some_checkpoints_are_listed_each_by_itself(ledger: Ledger) -> None:
    for shard, fingerprint in ((0, FP), (2, FP), (1, OTHER)):
        _certify(ledger, shard, fingerprint=fingerprint)
    assert ledger.recorded([FP, "d" * 16]) == {FP: {NAMES[0], NAMES[2]}}
    assert ledger.recorded([]) == {}
    assert ledger.recorded([FP, OTHER]) == ledger.recorded()
