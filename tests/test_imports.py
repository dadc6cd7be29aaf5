"""Predictions made elsewhere, from csv or parquet into the store and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from overlap.errors import DamagedObject, StudyError
from overlap.imports import import_file, imported_data_sets, load_imports, read_predictions, store_predictions
from overlap.store import Location, Objects, layout, open_objects
from overlap.store.tables import Labels, encode_labels
from overlap.study import load_study

ROWS = [
    ("a", "k1", "3", "3"),
    ("a", "k0", "1", "2"),
    ("b", "k0", "1", "1"),
    ("b", "k1", "3", "3"),
]


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


def csv(path: Path, rows: list[tuple[str, ...]], header: str = "model,key,label,prediction") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def refused(path: Path) -> str:
    with pytest.raises(StudyError) as caught:
        read_predictions(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_numbers_stay_the_text_they_are(tmp_path: Path) -> None:
    table = read_predictions(csv(tmp_path / "p.csv", [("a", "007", "01", "1"), ("a", "8", "1.0", "1")]))
    assert table.rows() == [("a", "007", "01", "1"), ("a", "8", "1.0", "1")]
    assert set(table.dtypes) == {pl.String}


def test_parquet_of_any_type_of_columns_is_text(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "extra": [0.5, 0.25],
            "prediction": pl.Series([1, 2], dtype=pl.Int16),
            "label": pl.Series(["x", "y"], dtype=pl.Categorical),
            "key": [10, 11],
            "model": ["a", "a"],
        }
    )
    frame.write_parquet(tmp_path / "P.PARQUET")
    assert read_predictions(tmp_path / "P.PARQUET").rows() == [("a", "10", "x", "1"), ("a", "11", "y", "2")]


def test_csv_with_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b'\xef\xbb\xbfmodel,key,label,prediction\r\na,"k,0","big ""cat""",dog\r\n')
    assert read_predictions(tmp_path / "p.csv").rows() == [("a", "k,0", 'big "cat"', "dog")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,key,label\na,k,1\n", "no column 'prediction'; columns must be model, key, label, prediction"),
        ("model,key,label,prediction\n", "holds no rows; export it again"),
        ("", "cannot be read as csv or parquet of text (NoDataError"),
        ("model,key,label,prediction\na,k,1,\na,l,1,\n", "2 empty cells in column 'prediction'; fill or drop the rows"),
        ("model,key,label,prediction\na,k,1,2\na,k,1,3\nb,k,1,1\n", "model 'a' has key 'k' more than once (2 rows)"),
        ("model,key,label,prediction\na,k,1,2\nb,k,2,2\n", "key 'k' has several labels (1 such keys); mend them"),
        ("model,key,label,prediction\na/b,k,1,2\n", "model 'a/b': use at most 200 letters, digits and . _ + @ -"),
        (f"model,key,label,prediction\n{'a' * 201},k,1,2\n", "use at most 200 letters"),
    ],
)
def test_files_that_cannot_be_used(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    assert said in refused(tmp_path / "p.csv")


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "no such file; check the path" in refused(tmp_path / "gone.csv")
    assert "no such file; check the path" in refused(tmp_path / "gone.parquet")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    assert "cannot be read" in refused(tmp_path / "p.parquet")
    (tmp_path / "p.txt").write_text("")
    assert "neither .csv nor .parquet; convert it" in refused(tmp_path / "p.txt")
    (tmp_path / "f.csv").mkdir()
    assert "cannot be read" in refused(tmp_path / "f.csv")
    pl.DataFrame({"model": ["a"], "key": ["k"], "label": [1], "prediction": [{"top": 1}]}).write_parquet(
        tmp_path / "s.parquet"
    )
    assert "column 'prediction' holds Struct" in refused(tmp_path / "s.parquet")
    pl.DataFrame({"model": ["a"], "key": [b"\xff"], "label": [1], "prediction": [1]}).write_parquet(
        tmp_path / "b.parquet"
    )
    assert "cannot be read as csv or parquet of text" in refused(tmp_path / "b.parquet")


def test_stored_by_model_and_read_back(tmp_path: Path, objects: Objects) -> None:
    outcome = store_predictions(csv(tmp_path / "p.csv", ROWS), "val", objects)
    assert (outcome.stored, outcome.unchanged, outcome.refused) == (("a", "b"), (), {})
    a, b = load_imports("val", objects)
    assert (a.model, b.model) == ("a", "b")
    assert a.table.rows() == [("k0", "1", "2"), ("k1", "3", "3")]
    assert b.table.rows() == [("k0", "1", "1"), ("k1", "3", "3")]
    assert a.fingerprint != b.fingerprint
    assert imported_data_sets(objects) == ["val"]
    assert load_imports("other", objects) == []


def test_the_same_again_changes_nothing(tmp_path: Path, objects: Objects) -> None:
    store_predictions(csv(tmp_path / "p.csv", ROWS), "val", objects)
    before = [(info.key, info.etag, info.modified) for info in objects.list("")]
    outcome = store_predictions(tmp_path / "p.csv", "val", objects)
    assert (outcome.stored, outcome.unchanged) == ((), ("a", "b"))
    pl.DataFrame(ROWS[::-1], schema=["model", "key", "label", "prediction"], orient="row").write_parquet(
        tmp_path / "p.parquet"
    )
    outcome = store_predictions(tmp_path / "p.parquet", "val", objects)
    assert set(outcome.unchanged) == {"a", "b"}, "neither the order of rows nor the kind of file is content"
    assert [(info.key, info.etag, info.modified) for info in objects.list("")] == before


def test_a_changed_file_replaces_what_changed(tmp_path: Path, objects: Objects) -> None:
    store_predictions(csv(tmp_path / "p.csv", ROWS), "val", objects)
    first = {one.model: one.fingerprint for one in load_imports("val", objects)}
    outcome = store_predictions(csv(tmp_path / "p.csv", [*ROWS[:3], ("b", "k1", "3", "9")]), "val", objects)
    assert (outcome.stored, outcome.unchanged) == (("b",), ("a",))
    a, b = load_imports("val", objects)
    assert a.fingerprint == first["a"]
    assert b.fingerprint != first["b"]
    assert b.table["prediction"].to_list() == ["1", "9"]


def test_a_model_that_lacks_keys_is_refused_with_the_count(tmp_path: Path, objects: Objects) -> None:
    rows = [*ROWS, ("a", "k2", "0", "0"), ("c", "k0", "1", "1")]
    outcome = store_predictions(csv(tmp_path / "p.csv", rows), "val", objects)
    assert outcome.stored == ("a",)
    assert outcome.refused == {
        "b": "lacks 1 of 3 keys (first: 'k2'); predict them too",
        "c": "lacks 2 of 3 keys (first: 'k1'); predict them too",
    }
    assert [one.model for one in load_imports("val", objects)] == ["a"]
    later = store_predictions(csv(tmp_path / "q.csv", ROWS[2:]), "val", objects)
    assert later.refused == {"b": "lacks 1 of 3 keys (first: 'k2'); predict them too"}, "as measured by what is held"


def test_known_keys_decide(tmp_path: Path, objects: Objects) -> None:
    csv(tmp_path / "p.csv", ROWS)
    outcome = store_predictions(tmp_path / "p.csv", "val", objects, known_keys=["k0"])
    assert outcome.refused["a"] == "has 1 keys that are not in the data set (first: 'k1'); drop them"
    assert outcome.stored == ()
    assert store_predictions(tmp_path / "p.csv", "val", objects, known_keys=["k1", "k0"]).stored == ("a", "b")


def test_damage_is_found_named_and_mended_by_importing_again(tmp_path: Path, objects: Objects) -> None:
    csv(tmp_path / "p.csv", ROWS)
    store_predictions(tmp_path / "p.csv", "val", objects)
    pointer = layout.imported("val", "a")
    (table,) = [info.key for info in objects.list("imports/val/a-")]
    for key, damage in ((table, objects.get(table)[:-9]), (pointer, b"{"), (pointer, b'{"model":"a"}'), (table, None)):
        if damage is None:
            objects.delete([key])
        else:
            objects.put(key, damage)
        with pytest.raises(DamagedObject, match=rf"^{key} is gone or altered; import its model's predictions again$"):
            load_imports("val", objects)
        outcome = store_predictions(tmp_path / "p.csv", "val", objects)
        assert (outcome.stored, outcome.unchanged) == (("a",), ("b",))
        assert len(load_imports("val", objects)) == 2


def test_into_a_study(tmp_path: Path) -> None:
    csv(tmp_path / "p.csv", ROWS)
    (tmp_path / "study.toml").write_text('name = "s"\n')
    alone = load_study(tmp_path / "study.toml")
    assert import_file(alone, tmp_path / "p.csv").stored == ("a", "b")
    objects = open_objects(Location(alone.store.uri))
    assert imported_data_sets(objects) == ["imported"]
    assert import_file(alone, tmp_path / "p.csv", "other").stored == ("a", "b")

    section = '[data.{}]\nshards = "x.tar"\nclasses = 9\n'
    (tmp_path / "study.toml").write_text('name = "s"\n' + section.format("val"))
    study = load_study(tmp_path / "study.toml")
    objects.put(layout.labels("val"), encode_labels(Labels(["k0", "k1", "k2"], np.zeros(3, np.int32))))
    assert import_file(study, tmp_path / "p.csv").refused == dict.fromkeys(
        "ab", "lacks 1 of 3 keys (first: 'k2'); predict them too"
    )
    with pytest.raises(StudyError, match=r"study.toml: has no data set 'vla'; it has val"):
        import_file(study, tmp_path / "p.csv", "vla")
    (tmp_path / "study.toml").write_text('name = "s"\n' + section.format("val") + section.format("test"))
    with pytest.raises(StudyError, match=r"study.toml: has data sets val, test; say which with --data"):
        import_file(load_study(tmp_path / "study.toml"), tmp_path / "p.csv")
