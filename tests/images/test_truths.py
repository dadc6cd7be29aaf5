"""Further truths: every form that labels come in, and every way in which they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlap.analysis import truths
from overlap.errors import StudyError
from overlap.images.truths import read_truth

KEYS = ["b", "a", "d", "c"]
ACCEPTED = {"a": [1], "b": [2, 0], "c": [], "d": [3]}
EXPECTED = [[2, 0], [1, -1], [3, -1], [-1, -1]]


def written(folder: Path, form: str) -> str:
    path = folder / f"real.{form}"
    if form == "json":
        path.write_text(json.dumps([ACCEPTED[key] for key in sorted(KEYS)]))
    elif form == "csv":
        path.write_text("key,label\nd,3\nb,2 0\na,1\nc,\n")
    else:
        pl.DataFrame({"key": [*"bacd"], "label": [ACCEPTED[key] for key in "bacd"]}).write_parquet(path)
    return str(path)


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_forms_agree(tmp_path: Path, form: str) -> None:
    truth = read_truth("real", written(tmp_path, form), KEYS, 4)
    assert truth.labels.tolist() == EXPECTED
    assert truth.known.tolist() == [True, True, True, False]
    assert truth.table(KEYS)["labels"].to_list() == [[2, 0], [1], [3], []]


def test_names_and_repeated_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("key,label\na,great white\na,1\nb,tench\nb,tench\n")
    truth = read_truth("t", str(path), ["a", "b"], 3, ["tench", "goldfish", "great white"])
    assert truth.labels.tolist() == [[2, 1], [0, -1]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", "[[1], [2]]", "2 entries for 4 images"),
        ("t.json", "{", "no JSON"),
        ("t.json", '[[1], [2], ["x"], []]', "label 'x' of 'c' is no class number from 0 to 3"),
        ("t.json", "[[], [], [], []]", "accepts no class of any image"),
        ("t.json", '{"a": [1]}', "no list"),
        ("t.csv", "key,label\na,1\nb,2\nd,3\n", "says nothing of 1 of 4 images \\(first: 'c'\\)"),
        ("t.csv", "key,label\nz,1\n", "key 'z' is no image"),
        ("t.csv", "key,class\na,1\n", "lacks the column label; it has key, class"),
        ("t.csv", "key,label\na,7\nb,2\nc,1\nd,0\n", "label '7' of 'a'"),
        ("t.parquet", "no parquet", "cannot be read"),
        ("t.txt", "1", "neither .json, .csv nor .parquet"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(StudyError, match=said):
        read_truth("t", str(path), KEYS, 4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"truth 't'.*gone\.json"):
        read_truth("t", str(tmp_path / "gone.json"), KEYS, 4)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True), min_size=1, max_size=20), st.data())
def test_right_is_to_be_among_the_accepted(rows: list[list[int]], data: st.DataObject) -> None:
    width = max(map(len, rows))
    labels = np.array([row + [-1] * (width - len(row)) for row in rows], np.int32)
    prediction = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows))), np.int32)
    expected = [guess in row for guess, row in zip(prediction.tolist(), rows, strict=True)]
    assert truths.right(prediction, labels).tolist() == expected
    assert truths.right(np.stack([prediction, prediction]), labels).tolist() == [expected, expected]
    single = labels[:, 0]
    assert truths.right(prediction, single).tolist() == truths.right(prediction, single[:, None]).tolist()
    assert truths.primary(labels).tolist() == single.tolist() == truths.primary(single).tolist()
