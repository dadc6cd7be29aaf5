"""The table of pairs: its columns, every cell against plain Python, ranges of rows, and what is null."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlap.analysis.notes import pair_notes
from overlap.analysis.pairs import pair_count, pair_indices, pairs_table
from tests.analysis.zoo import logits, pair_counts, predictions
from tests.reference import consistency as reference

COLUMNS = [
    *("model_a", "model_b", "category", "n", "accuracy_a", "accuracy_b", "both_right", "only_a", "only_b"),
    *("both_wrong", "error_inconsistency", "kappa", "kappa_low", "kappa_high", "kappa_min", "kappa_max"),
    *("null_low", "null_high", "disagreement"),
]


def table(prediction: np.ndarray, labels: np.ndarray, **options: object) -> pl.DataFrame:
    names = [f"m{number}" for number in range(len(prediction))]
    return pairs_table(names, pair_counts(prediction, labels), **options)


def test_every_row_is_that_of_plain_python() -> None:
    zoo, labels = logits(5, 300, 4)
    prediction = predictions(zoo)
    right = (prediction == labels).tolist()
    rows = table(prediction, labels)
    assert rows.columns == COLUMNS
    assert len(rows) == 10
    for row in rows.iter_rows(named=True):
        a, b = int(row["model_a"][1]), int(row["model_b"][1])
        assert a < b
        cells = reference.cells(right[a], right[b])
        assert (row["both_right"], row["only_a"], row["only_b"], row["both_wrong"]) == cells
        assert row["n"] == 300
        assert row["accuracy_a"] == sum(right[a]) / 300
        assert row["accuracy_b"] == sum(right[b]) / 300
        assert row["error_inconsistency"] == float(reference.inconsistency(cells))
        assert row["kappa"] == pytest.approx(float(reference.kappa(cells)))
        assert row["disagreement"] == reference.disagreements(prediction[a].tolist(), prediction[b].tolist()) / 300
        assert row["disagreement"] >= row["error_inconsistency"]
        bounds = reference.attainable_kappa(sum(right[a]), sum(right[b]), 300)
        assert (row["kappa_min"], row["kappa_max"]) == pytest.approx([float(bound) for bound in bounds])
        assert row["kappa_low"] <= row["kappa"] <= row["kappa_high"]
        assert row["null_low"] <= 0 <= row["null_high"]


@given(st.integers(0, 40), st.integers(0, 800), st.integers(0, 800))
def test_pairs_are_those_above_the_diagonal_row_by_row(models: int, start: int, stop: int) -> None:
    every = [(a, b) for a in range(models) for b in range(a + 1, models)]
    assert pair_count(models) == len(every)
    for rows in (slice(None), slice(start, stop)):
        first, second = pair_indices(models, rows)
        assert [*zip(first.tolist(), second.tolist(), strict=True)] == every[rows]
        assert first.dtype == second.dtype == np.int64


def test_the_last_pairs_of_a_large_zoo_take_no_memory_of_the_others() -> None:
    models = 200_000  # 20 billion pairs, more than 32 bits tell apart
    first, second = pair_indices(models, slice(pair_count(models) - 3, None))
    assert first.tolist() == [models - 3, models - 3, models - 2]
    assert second.tolist() == [models - 2, models - 1, models - 1]


def test_ranges_of_rows_make_the_whole_table() -> None:
    zoo, labels = logits(7, 200, 3)
    names = np.full((7, 7), "reinit", object)
    names[2, 3] = None
    whole = table(predictions(zoo), labels, categories=names)
    parts = [table(predictions(zoo), labels, categories=names, rows=slice(at, at + 4)) for at in range(0, 21, 4)]
    assert whole.equals(pl.concat(parts))
    assert whole.filter(pl.col("category").is_null()).select("model_a", "model_b").row(0) == ("m2", "m3")
    assert pair_notes(whole) == ["1 pair has no category: a training column is not declared"]


def test_what_is_undefined_is_null_and_counted() -> None:
    labels = np.array([0, 1, 0, 1])
    always_right, always_wrong, constant = labels, 1 - labels, np.zeros(4, int)
    rows = table(np.stack([always_right, always_right, always_wrong, constant, constant]), labels)
    kappa = {(row["model_a"], row["model_b"]): row["kappa"] for row in rows.iter_rows(named=True)}
    assert kappa[("m0", "m1")] is None
    assert kappa[("m0", "m2")] == 0
    assert kappa[("m3", "m4")] == 1
    undefined = rows.row(0, named=True)
    for column in ("kappa_low", "kappa_high", "kappa_min", "kappa_max", "null_low", "null_high"):
        assert undefined[column] is None
    assert undefined["error_inconsistency"] == 0
    assert "1 pair has no kappa: both models are always right, or both always wrong" in pair_notes(rows)
    assert rows.select(pl.col(pl.Float64).is_nan().any()).row(0) == (False,) * 11


@pytest.mark.parametrize("models", [0, 1])
def test_fewer_than_two_models_make_an_empty_table(models: int) -> None:
    rows = table(np.zeros((models, 3), int), np.zeros(3, int))
    assert rows.columns == COLUMNS
    assert len(rows) == 0
    assert pair_notes(rows) == []


def test_no_images_make_null_figures() -> None:
    rows = table(np.zeros((3, 0), int), np.zeros(0, int))
    assert rows["n"].to_list() == [0, 0, 0]
    assert rows.select(pl.col(pl.Float64).null_count()).row(0) == (3,) * 11
    assert "3 pairs have no figures: there is no image" in pair_notes(rows)


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["a"]])
def test_an_axis_that_is_not_sorted_and_complete_is_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"ascending|names for an axis"):
        pairs_table(names, pair_counts(np.zeros((2, 3), int), np.zeros(3, int)))
