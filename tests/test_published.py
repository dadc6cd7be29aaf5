"""Results in the store: whole reductions or none, damage found by name, and the store opened for reading."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import overlap
from overlap import published
from overlap.errors import DamagedObject, ObjectMissing, StudyError
from overlap.imports import store_predictions
from overlap.published import (
    REDUCTION,
    Snapshot,
    data_sets,
    read_inputs_digest,
    read_results,
    read_snapshot,
    reduced_data_sets,
    write_results,
    write_snapshot,
)
from overlap.report.results import Results
from overlap.store import Location, Objects, layout, long_tables, open_objects
from overlap.store.ledger import Ledger
from overlap.store.long_tables import Writer
from overlap.store.tables import Labels, encode_labels, from_logits


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


def results(data: str = "val", inputs: str = "1", accuracy: float = 0.5, **changes: Any) -> Results:
    fields: dict[str, Any] = {
        "study": "s",
        "data": data,
        "dataset_digest": "d" * 64,
        "inputs_digest": inputs * 64,
        "models": pl.DataFrame({"model": ["a"], "fingerprint": ["f"], "n": [4], "accuracy": [accuracy]}),
        "pairs": pl.DataFrame(
            schema={
                "model_a": pl.String,
                "model_b": pl.String,
                "category": pl.String,
                "n": pl.Int64,
                "error_inconsistency": pl.Float64,
                "kappa": pl.Float64,
            }
        ),
        "measures": {"a": {"seconds": 0.25}},
        "absent": {"b": "failed"},
        "notes": ["a note"],
        "provenance": {"overlap": "0"},
    }
    return Results(**(fields | changes))


def same(a: Results, b: Results) -> None:
    assert replace(a, models=b.models, pairs=b.pairs, pair_ensembles=b.pair_ensembles, ensembles=b.ensembles,
                   categories=b.categories, more=b.more) == b  # fmt: skip
    assert a.tables().keys() == b.tables().keys()
    for name, table in a.tables().items():
        assert_frame_equal(table, b.tables()[name])


def test_results_come_back_as_they_were(objects: Objects) -> None:
    assert read_results("val", objects) is None
    assert read_inputs_digest("val", objects) is None
    write_results(results(), objects)
    found = read_results("val", objects)
    assert found is not None
    same(found, results())
    assert read_inputs_digest("val", objects) == "1" * 64
    assert pl.read_parquet(objects.get("results/val/models.parquet"))["accuracy"].to_list() == [0.5]


def test_further_tables_and_thumbnails_come_back(objects: Objects) -> None:
    axes = pl.DataFrame({"differs": ["none"], "pairs": [3], "error_inconsistency": [0.25], "kappa": [None]})
    written = results(more={"axes": axes, "theta": pl.DataFrame()}, thumbnails={"k": b"\xff\xd8", "j": b""})
    write_results(written, objects)
    found = read_results("val", objects)
    assert found is not None
    assert found.table("theta").width == 0, "without columns: not computed, not stored"
    assert list(found.tables()) == ["models", "pairs", "axes"]
    same(replace(found, more={}), replace(written, more={}))
    assert_frame_equal(found.table("axes"), axes)
    assert found.thumbnails == {"j": b"", "k": b"\xff\xd8"}
    opened = overlap.open(objects.uri)
    assert_frame_equal(opened.table("axes"), axes)
    assert opened.table("driving").is_empty()
    with pytest.raises(StudyError, match="no table 'axis'; 'val' holds models, pairs, axes"):
        opened.table("axis")
    objects.put(f"results/val/{'1' * 16}/thumbnails.parquet", b"x")
    with pytest.raises(DamagedObject, match=r"thumbnails.parquet is gone or altered"):
        read_results("val", objects)


def test_pairs_too_long_to_hold_stay_in_a_file(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = results().pairs
    rows = pl.DataFrame([("a", f"m{place}", "reinit", 4, place / 9, None if place else 0.5) for place in range(9)],
                        empty.schema, orient="row")  # fmt: skip
    with Writer(dict(empty.schema)) as writer:
        writer.add(rows)
    write_results(results(pairs=rows, files={"pairs": writer.table}), objects)
    key = layout.results("val", "pairs.parquet", inputs="1" * 64)
    assert objects.get(key) == objects.get(layout.results("val", "pairs.parquet")) == writer.table.path.read_bytes()
    held = read_results("val", objects)
    assert held is not None
    assert held.pairs.equals(rows)
    assert not held.files
    monkeypatch.setattr(published, "LARGE", 1)
    again = read_results("val", objects)
    assert again is not None
    assert again.pairs.equals(rows)  # an object that is not small, of few rows
    assert not again.files
    monkeypatch.setattr(long_tables, "HELD", 8)
    found = read_results("val", objects)
    assert found is not None
    assert (found.rows("pairs"), found.pairs.height, found.pairs.schema) == (9, 0, rows.schema)
    assert found.scan("pairs").collect().equals(rows)
    assert "pairs" in found.tables()
    assert "pairs" not in found.shown()
    store = overlap.open(str(objects.uri), "val")
    assert store.pairs().equals(rows)
    assert store.scan("pairs").filter(pl.col("kappa").is_not_null()).collect().height == 1
    objects.put(key, objects.get(key)[:-1])
    with pytest.raises(DamagedObject, match=r"pairs\.parquet"):
        read_results("val", objects)
    objects.delete([key])
    with pytest.raises(DamagedObject, match=r"pairs\.parquet"):
        read_results("val", objects)


def test_tables_nobody_knows_are_not_read_and_not_taken(objects: Objects) -> None:
    write_results(results(), objects)
    head = json.loads(objects.get(f"results/val/{REDUCTION}"))
    body = objects.get("results/val/models.parquet")
    objects.put(f"results/val/{'1' * 16}/later.parquet", body)
    head["tables"]["later.parquet"] = head["tables"]["models.parquet"]
    objects.put(f"results/val/{REDUCTION}", json.dumps(head).encode())
    found = read_results("val", objects)
    assert found is not None
    assert list(found.tables()) == ["models", "pairs"], "a store written by a later version still reads"
    with pytest.raises(ValueError, match="no table is called 'later'"):
        replace(found, more={"later": pl.DataFrame()})
    with pytest.raises(ValueError, match=r"'axes' lacks the columns \['differs', 'error_inconsistency', 'kappa'\]"):
        replace(found, more={"axes": pl.DataFrame({"pairs": [1]})})
    with pytest.raises(ValueError, match=r"\['pairs'\] are attributes"):
        replace(found, more={"pairs": found.pairs})


def test_earlier_results_stay_beside_the_newest(objects: Objects) -> None:
    write_results(results(), objects)
    write_results(results(inputs="2", accuracy=0.75), objects)
    assert pl.read_parquet(objects.get("results/val/models.parquet"))["accuracy"].to_list() == [0.75]
    assert pl.read_parquet(objects.get(f"results/val/{'1' * 16}/models.parquet"))["accuracy"].to_list() == [0.5]


class Stops(Exception):
    """The writer is killed here."""


def test_a_reader_sees_one_whole_reduction_wherever_the_writer_stops(objects: Objects) -> None:
    old, new = results(news={"id": "old"}), results(inputs="2", accuracy=0.75, news={"id": "new"})
    write_results(old, objects)

    class Dying:
        def __init__(self, writes: int) -> None:
            self.left = writes

        def put(self, key: str, data: bytes) -> None:
            if not self.left:
                raise Stops
            self.left -= 1
            objects.put(key, data)

    for writes in range(20):
        try:
            write_results(new, Dying(writes))  # type: ignore[arg-type]
        except Stops:
            found = read_results("val", objects)
            assert found is not None
            same(found, old)
            assert read_inputs_digest("val", objects) == old.inputs_digest
        else:
            break
    assert writes == 7, "two tables and what is new twice, and what names them last"
    found = read_results("val", objects)
    assert found is not None
    same(found, new)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"inputs_digest": "1"}', None])
@pytest.mark.parametrize("key", [f"results/val/{REDUCTION}", f"results/val/{'1' * 16}/models.parquet"])
def test_damage_is_found_and_named(key: str, damage: bytes | None, objects: Objects) -> None:
    write_results(results(), objects)
    if damage is None:
        objects.delete([key])
    else:
        objects.put(key, damage)
    if key.endswith(".json"):
        inputs = read_inputs_digest("val", objects)
        assert inputs != "1" * 64, "so that it is reduced again"
        if damage is None:
            assert read_results("val", objects) is None
            return
    with pytest.raises(DamagedObject, match=rf"^{key} is gone or altered; `overlap run` writes it again$"):
        read_results("val", objects)


SNAPSHOT = Snapshot(
    study="s",
    data="val",
    dataset="d" * 64,
    classes=3,
    shards={"b" * 16: 2, "a" * 16: 2},
    files={"b" * 16: "b.tar", "a" * 16: "a.tar"},
    models={"m": "f" * 16},
    rejected={"x": "no such file"},
    left_out=["c.tar"],
)


def test_snapshots_keep_the_order_of_shards(objects: Objects) -> None:
    assert read_snapshot("val", objects) is None
    write_snapshot(SNAPSHOT, objects)
    found = read_snapshot("val", objects)
    assert found == SNAPSHOT
    assert list(found.shards) == ["b" * 16, "a" * 16]
    assert found.images == 4
    write_snapshot(replace(SNAPSHOT, data="test"), objects)
    assert data_sets(objects) == ["test", "val"]
    for damage in (b"{", b"[]", b"{}", b'{"study":"s","shards":[]}'):
        objects.put(layout.snapshot("val"), damage)
        with pytest.raises(DamagedObject, match=r"^studies/val.json is gone or altered; `overlap run`"):
            read_snapshot("val", objects)


def test_data_sets_with_results(objects: Objects) -> None:
    for name in ("val", "val@real", "val.first10", "other"):
        write_results(results(name), objects)
    objects.put("results/half/models.parquet", b"")
    assert reduced_data_sets(objects) == ["other", "val", "val.first10", "val@real"]
    found = read_results("val@real", objects)
    assert found is not None
    assert found.data == "val@real"


LOGITS = np.array([[1.0, 2.0, 3.0], [4.0, 0.5, 2.0], [0.0, 1.0, 0.0], [9.0, 8.0, 7.0]], np.float32)


@pytest.fixture
def study(objects: Objects) -> str:
    """A store with one checkpoint on two shards, by its folder's name."""
    names = list(SNAPSHOT.shards)
    ledger = Ledger(objects, "val")
    for place, name in enumerate(names):
        predictions = from_logits([f"{name[0]}0", f"{name[0]}1"], LOGITS[2 * place : 2 * place + 2])
        ledger.certify("f" * 16, name, predictions, seconds=1.0, provenance={})
    write_snapshot(SNAPSHOT, objects)
    objects.put(layout.labels("val"), encode_labels(Labels(["b0", "b1", "a0", "a1"], np.arange(4, dtype=np.int32))))
    write_results(results(), objects)
    return objects.uri


def test_a_store_is_opened_by_its_address(study: str) -> None:
    opened = overlap.open(study)
    assert opened.data == "val"
    assert opened.models()["accuracy"].to_list() == [0.5]
    assert opened.pairs().height == 0
    for table in (opened.pair_ensembles(), opened.ensembles(), opened.categories()):
        assert table.is_empty()
    assert opened.labels().rows() == [("b0", 0), ("b1", 1), ("a0", 2), ("a1", 3)]
    logits = opened.logits("m")
    assert logits.dtype == np.float16
    np.testing.assert_array_equal(logits, LOGITS.astype(np.float16))


def test_what_an_opened_store_does_not_hold(study: str, objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"/empty: holds no data sets; name one of them as `data`"):
        overlap.open(str(tmp_path / "empty"))
    with pytest.raises(StudyError, match=r"/store: holds val; name one of them"):
        overlap.open(study, "test")
    with pytest.raises(StudyError, match="no checkpoint 'x' with logits on 'val'"):
        overlap.open(study).logits("x")
    (record,) = [info.key for info in objects.list(f"records/val/{'f' * 16}/{'a' * 16}")]
    objects.delete([record])
    with pytest.raises(StudyError, match=r"checkpoint 'm' is not complete: 1 shards are missing; `overlap run` first"):
        overlap.open(study).logits("m")
    write_snapshot(replace(SNAPSHOT, data="test"), objects)
    with pytest.raises(StudyError, match=r"holds test, val; name one of them as `data`"):
        overlap.open(study)
    with pytest.raises(StudyError, match=r"no results for 'test' yet; `overlap run` first"):
        overlap.open(study, "test").models()


def test_damaged_logits_are_not_given_out(study: str, objects: Objects) -> None:
    key = next(info.key for info in objects.list("predictions/val/"))
    objects.put(key, objects.get(key)[:-3])
    with pytest.raises(DamagedObject, match=r"predictions/val/"):
        overlap.open(study).logits("m")


def test_a_smoke_run_does_not_stand_in_the_way(study: str, objects: Objects) -> None:
    write_snapshot(replace(SNAPSHOT, data="val.first10"), objects)
    write_results(results("val.first10", accuracy=0.25), objects)
    assert overlap.open(study).data == "val"
    assert overlap.open(study, "val.first10").models()["accuracy"].to_list() == [0.25]


def test_a_store_of_imports_alone_can_be_opened(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("model,key,label,prediction\na,k,1,1\n")
    store_predictions(tmp_path / "p.csv", "imported", objects)
    write_results(results("imported"), objects)
    opened = overlap.open(objects.uri)
    assert opened.data == "imported"
    assert opened.models().height == 1
    with pytest.raises(StudyError, match="nothing was run on 'imported' yet"):
        opened.logits("a")
    with pytest.raises(ObjectMissing):
        opened.labels()
