"""Driving and divisive images against sorting everything; ties by key; models without logits; which pairs have any."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.pairs import pairs_table
from overlap.analysis.specialisation.driving import (
    DIVISIVE_SCHEMA,
    PER_PAIR,
    SCHEMA,
    divisive_images,
    driven_pairs,
    driving_images,
)
from tests.analysis.specialisation.confidences import zoo
from tests.analysis.zoo import pair_counts
from tests.reference import specialisation as reference


def names(models: int) -> list[str]:
    return [f"m{model:02}" for model in range(models)]


def keys_of(images: int) -> list[str]:
    """In another order than that of the images."""
    return [f"k{number:04}" for number in np.random.default_rng(1).permutation(images)]


def table_of(correct: np.ndarray) -> pl.DataFrame:
    labels = np.zeros(correct.shape[1], np.int32)
    return pairs_table(names(len(correct)), pair_counts(np.where(correct, 0, 1), labels))


def test_driving_images_are_the_first_of_all_that_are_divided() -> None:
    confidence, correct, labels = zoo(5, 120, 4)
    confidence = np.round(confidence, 1).astype(np.float32)  # many are equal
    prediction = np.where(correct, labels, (labels + 1) % 4)
    keys = keys_of(120)
    table = driving_images(names(5), keys, labels, prediction, correct, confidence, table_of(correct))
    assert dict(table.schema) == SCHEMA
    for a, b in combinations(range(5), 2):
        rows = table.filter((pl.col("model_a") == f"m{a:02}") & (pl.col("model_b") == f"m{b:02}"))
        score = [float(x) + float(y) for x, y in zip(confidence[a], confidence[b], strict=True)]
        assert rows["key"].to_list() == reference.driving(keys, correct[a], correct[b], score, PER_PAIR)
        assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
        for row in rows.iter_rows(named=True):
            x = keys.index(row["key"])
            assert (row["right"] == "a") == correct[a, x] != correct[b, x]
            assert (row["label"], row["prediction_a"], row["prediction_b"]) == (
                labels[x],
                prediction[a, x],
                prediction[b, x],
            )
            assert (row["confidence_a"], row["confidence_b"]) == (confidence[a, x], confidence[b, x])


def test_without_logits_the_images_that_divide_the_zoo_come_first() -> None:
    confidence, correct, labels = zoo(6, 80, 4)
    confidence[2] = np.nan
    keys = keys_of(80)
    table = driving_images(names(6), keys, labels, correct, correct, confidence, table_of(correct))
    right = correct.sum(axis=0)
    for other in (0, 5):
        a, b = sorted((2, other))
        rows = table.filter((pl.col("model_a") == f"m{a:02}") & (pl.col("model_b") == f"m{b:02}"))
        divided = (right * (6 - right)).tolist()
        assert rows["key"].to_list() == reference.driving(keys, correct[a], correct[b], divided, PER_PAIR)
        assert rows["confidence_a" if a == 2 else "confidence_b"].null_count() == len(rows) == PER_PAIR
        assert rows["confidence_b" if a == 2 else "confidence_a"].null_count() == 0


def test_the_order_of_the_images_is_nothing() -> None:
    confidence, correct, labels = zoo(4, 90, 4)
    confidence, keys = np.round(confidence, 1), keys_of(90)
    order = np.random.default_rng(3).permutation(90)
    other = [
        driving_images(names(4), held, labels[by], correct[:, by], correct[:, by], confidence[:, by], table_of(correct))
        for held, by in ((keys, np.arange(90)), ([keys[x] for x in order], order))
    ]
    assert other[0].equals(other[1])
    assert divisive_images(keys, labels, correct).equals(
        divisive_images([keys[x] for x in order], labels[order], correct[:, order])
    )


def test_of_too_many_pairs_those_of_the_lowest_kappa_have_images() -> None:
    _, correct, _ = zoo(7, 200, 4)
    correct[5:] = True  # a pair without kappa comes last
    pairs = table_of(correct)
    assert driven_pairs(pairs)[0].equals(pairs)
    assert driven_pairs(pairs)[1] is None
    chosen, note = driven_pairs(pairs, 6)
    assert note == "images that drive a pair are of the 6 pairs of 21 with the lowest kappa"
    lowest = pairs.with_row_index().sort("kappa", nulls_last=True, maintain_order=True).head(6)
    assert chosen.equals(lowest.sort("index").drop("index"))
    assert driven_pairs(pairs, 20)[0]["kappa"].null_count() == 0


def test_divisive_images_are_those_on_which_most_pairs_are_inconsistent() -> None:
    _, correct, labels = zoo(6, 70, 4)
    keys = keys_of(70)
    table = divisive_images(keys, labels, correct, 12)
    assert dict(table.schema) == DIVISIVE_SCHEMA
    divided = [sum(correct[a, x] != correct[b, x] for a, b in combinations(range(6), 2)) for x in range(70)]
    first = sorted(range(70), key=lambda x: (-divided[x], keys[x]))[:12]
    assert table["key"].to_list() == [keys[x] for x in first]
    assert table["pairs"].to_list() == [divided[x] for x in first]
    assert table["share"].to_list() == pytest.approx([divided[x] / 15 for x in first])
    assert table["right"].to_list() == [correct[:, x].sum() for x in first]
    assert table["label"].to_list() == labels[first].tolist()


def test_identical_models_and_empty_zoos_have_no_images() -> None:
    confidence, correct, labels = zoo(1, 30, 4)
    same, sure = np.repeat(correct, 3, 0), np.repeat(confidence, 3, 0)
    assert driving_images(names(3), keys_of(30), labels, same, same, sure, table_of(same)).is_empty()
    assert divisive_images(keys_of(30), labels, same).is_empty()
    assert divisive_images(keys_of(30), labels, correct).is_empty()
    nothing = np.ones((2, 0))
    pairs = table_of(nothing)
    assert driving_images(names(2), [], np.zeros(0, int), nothing, nothing, nothing, pairs).is_empty()
    assert driving_images(names(3), keys_of(30), labels, same, same, sure, pairs.clear()).is_empty()


def test_arrays_that_do_not_fit_are_refused() -> None:
    confidence, correct, labels = zoo(2, 9, 3)
    with pytest.raises(ValueError, match=r"for 2 models and 8 images"):
        driving_images(names(2), keys_of(8), labels[:8], correct, correct, confidence, table_of(correct))
    with pytest.raises(ValueError, match=r"arrays of shapes"):
        driving_images(names(2), keys_of(9), labels, correct[:, :8], correct, confidence, table_of(correct))


@given(st.lists(st.none() | st.sampled_from([-0.5, 0.0, 0.25, 0.25000001, 1.0]), max_size=30), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_a_table_that_is_only_scanned_gives_the_same_pairs(kappas: list[float | None], most: int) -> None:
    pairs = pl.DataFrame({"model_a": [f"a{place}" for place in range(len(kappas))], "kappa": kappas},
                         {"model_a": pl.String, "kappa": pl.Float64})  # fmt: skip
    order = sorted(range(len(kappas)), key=lambda row: (kappas[row] is None, kappas[row] or 0.0, row))
    expected = sorted(order[:most])
    for table in (pairs, pairs.lazy()):
        chosen, note = driven_pairs(table, most)
        assert chosen.rows() == [pairs.row(row) for row in expected]
        assert (note is None) == (len(kappas) <= most)
