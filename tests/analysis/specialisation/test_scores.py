"""Scores of classes and groups against a fit image by image; rates of false discoveries; what is best; degenerates."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, false_discovery_control

from overlap.analysis.specialisation import additive
from overlap.analysis.specialisation import scores as module
from overlap.analysis.specialisation.additive import chances, scores
from overlap.analysis.specialisation.groups import ClassGroups
from overlap.analysis.specialisation.scores import (
    CLASS_SCHEMA,
    GROUP_SCHEMA,
    class_scores,
    discovery_rates,
    group_scores,
)
from tests.analysis.specialisation.confidences import zoo
from tests.reference import specialisation as reference

GROUPS = ClassGroups(("even", "odd", "unused"), np.array([0, 1, 0, 1, 0, -1], np.int32))


def names(models: int) -> list[str]:
    return [f"m{model:02}" for model in range(models)]


def rasch(models: int, images: int, classes: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A zoo in which ability and difficulty account for everything."""
    labels = random.integers(0, classes, images).astype(np.int32)
    ease = random.normal(1, 1.5, images) + random.normal(0, 1, classes)[labels]
    odds = random.normal(0, 0.5, (models, 1)) + ease
    return random.random((models, images)) < 1 / (1 + np.exp(-odds)), labels


def test_chances_are_the_fit_of_every_image_and_meet_both_margins() -> None:
    correct, _ = rasch(5, 60, 3, np.random.default_rng(1))
    right, score = correct.sum(axis=1), scores(correct)
    found = chances(right, np.bincount(score, minlength=6))
    np.testing.assert_allclose(found[:, score], reference.additive(correct.tolist()), atol=1e-6)
    np.testing.assert_allclose(found[:, score].sum(axis=1), right, atol=1e-6)
    np.testing.assert_allclose(found[:, np.unique(score)].sum(axis=0), np.unique(score), atol=1e-6)


def test_chances_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    correct = random.standard_normal(300) + random.normal(0.5, 0.5, (9, 1)) + random.standard_normal((9, 300)) > 0
    right, images = correct.sum(axis=1), np.bincount(scores(correct), minlength=10)
    whole = chances(right, images)
    monkeypatch.setattr(additive, "CELLS", 20)
    np.testing.assert_allclose(chances(right, images), whole, atol=1e-9)


def test_two_models_are_compared_by_the_images_that_one_alone_gets_right() -> None:
    correct = np.zeros((2, 100), bool)
    correct[:, :40], correct[0, 40:70], correct[1, 70:80] = True, True, True
    found = chances(correct.sum(axis=1), np.bincount(scores(correct), minlength=3))
    np.testing.assert_allclose(found[:, 1], [0.75, 0.25], atol=1e-9)


def test_a_row_is_the_plain_fit_and_the_exact_distribution() -> None:
    correct, labels = rasch(6, 150, 6, np.random.default_rng(2))
    correct[0, labels == 1] = True
    table = class_scores(names(6), correct, labels, ["a", "b", "c", "d", "e", "f"], GROUPS)
    assert dict(table.schema) == CLASS_SCHEMA
    fit = reference.additive(correct.tolist())
    variance = [[p * (1 - p) for p in row] for row in fit]
    assert table.select("model", "class").rows() == [(model, c) for model in names(6) for c in range(6)]
    for row in table.iter_rows(named=True):
        model, images = int(row["model"][1:]), np.flatnonzero(labels == row["class"]).tolist()
        assert (row["name"], row["n"]) == ("abcdef"[row["class"]], len(images))
        assert row["group"] == ("even", "odd", "even", "odd", "even", None)[row["class"]]
        counted = [sum(bool(correct[m, x]) for x in images) for m in range(6)]
        assert (row["right"], row["accuracy"]) == (counted[model], pytest.approx(counted[model] / len(images)))
        assert row["best_of_zoo"] == (counted[model] == max(counted) > min(counted))
        expected = sum(fit[model][x] for x in images)
        assert row["expected"] == pytest.approx(expected / len(images), abs=1e-6)
        own = sum(variance[model][x] for x in images)
        left = own * (1 - own / sum(variance[model]))
        assert row["score"] == pytest.approx((counted[model] - expected) / left**0.5, rel=1e-4)
        mass = reference.poisson_binomial([fit[model][x] for x in images])
        tails = sum(mass[: counted[model] + 1]), sum(mass[counted[model] :])
        assert row["p_value"] == pytest.approx(min(1, 2 * min(tails)), rel=1e-4)
    assert table["q_value"].to_list() == pytest.approx(reference.discovery_rates(table["p_value"].to_list()))
    first = table.filter((pl.col("model") == "m00") & (pl.col("class") == 1))
    assert first["best_of_zoo"].item()
    assert first["score"].item() > 2


def test_the_normal_p_value_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    correct, labels = rasch(8, 4000, 8, np.random.default_rng(3))
    normal = class_scores(names(8), correct, labels)
    monkeypatch.setattr(module, "NORMAL", 1e9)
    exact = class_scores(names(8), correct, labels)
    assert (normal["p_value"] != exact["p_value"]).sum() > 30
    np.testing.assert_allclose(normal["p_value"], exact["p_value"], atol=0.12)


def test_p_values_hold_their_level_and_q_values_find_what_is_there_alone() -> None:
    random = np.random.default_rng(4)
    tables = [class_scores(names(20), *rasch(20, 1500, 30, random)) for _ in range(6)]
    p = np.concatenate([table["p_value"].drop_nulls() for table in tables])
    assert 0.01 < (p < 0.05).mean() < 0.055, "3,600 cells, exact and so a little careful"
    assert sum((table["q_value"] < 0.05).sum() for table in tables) <= 3
    correct, labels = rasch(20, 3000, 30, random)
    correct[3, labels == 7] = True
    correct[5, labels == 9] = False
    found = class_scores(names(20), correct, labels).filter(pl.col("q_value") < 0.01)
    assert {("m03", 7), ("m05", 9)} <= set(found.select("model", "class").rows())
    assert len(found) <= 4


def test_groups_are_sums_of_classes_with_an_interval() -> None:
    correct, labels = rasch(7, 900, 6, np.random.default_rng(6))
    correct[2, labels % 2 == 0] = True
    table = group_scores(names(7), correct, labels, GROUPS)
    classes = class_scores(names(7), correct, labels, (), GROUPS)
    assert dict(table.schema) == GROUP_SCHEMA
    assert table.select("model", "group").rows() == [(model, group) for model in names(7) for group in ("even", "odd")]
    for row in table.iter_rows(named=True):
        own = classes.filter((pl.col("model") == row["model"]) & (pl.col("group") == row["group"]))
        assert (row["n"], row["right"]) == (own["n"].sum(), own["right"].sum())
        assert row["expected"] * row["n"] == pytest.approx((own["expected"] * own["n"]).sum())
        assert row["difference"] == pytest.approx(row["accuracy"] - row["expected"])
        assert row["low"] < row["difference"] < row["high"]
        assert (row["low"] > 0 or row["high"] < 0) == (row["p_value"] < 0.05)
    best = table.filter((pl.col("model") == "m02") & (pl.col("group") == "even")).row(0, named=True)
    assert best["low"] > 0.05
    assert best["q_value"] < 0.001


def test_intervals_of_groups_hold_their_level() -> None:
    random = np.random.default_rng(7)
    tables = [group_scores(names(12), *rasch(12, 800, 6, random), GROUPS) for _ in range(40)]
    within = pl.concat(tables).select((pl.col("low") <= 0) & (pl.col("high") >= 0)).to_series()
    assert 0.93 < within.mean() < 0.97, "960 cells of 480 that are nearly independent"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(deadline=None)
def test_discovery_rates_are_scipys_and_the_plain_ones(p: list[float]) -> None:
    found = discovery_rates(np.array(p))
    np.testing.assert_allclose(found, false_discovery_control(p), rtol=1e-12)
    np.testing.assert_allclose(found, reference.discovery_rates(p), rtol=1e-12)
    holed = discovery_rates(np.array([np.nan, *p, np.nan]))
    np.testing.assert_array_equal(holed[1:-1], found)
    assert np.isnan(holed[[0, -1]]).all()


def test_two_models_have_the_sign_test_where_they_are_even() -> None:
    correct = np.zeros((2, 60), bool)
    labels = np.repeat([0, 1], 30).astype(np.int32)
    correct[0, :12], correct[1, 12:15], correct[0, 30:33], correct[1, 33:45] = True, True, True, True
    table = class_scores(names(2), correct, labels)
    assert table["expected"].to_list() == pytest.approx([0.25] * 4)
    assert table["p_value"].to_list() == pytest.approx([binomtest(12, 15).pvalue] * 4)
    assert table["best_of_zoo"].to_list() == [True, False, False, True]


def test_where_nothing_can_differ_there_is_no_score_and_nobody_is_best() -> None:
    _, correct, labels = zoo(1, 40, 3)
    for rows in (np.repeat(correct, 4, 0), np.ones((4, 40)), np.zeros((4, 40)), correct):
        table = class_scores(names(len(rows)), rows, labels)
        assert table.select("score", "p_value", "q_value").null_count().row(0) == (len(table),) * 3
        assert not table["best_of_zoo"].any()
        assert table["expected"].to_list() == pytest.approx(table["accuracy"].to_list())
        grouped = group_scores(names(len(rows)), rows, labels, GROUPS)
        assert grouped.select("low", "high", "p_value").null_count().row(0) == (len(grouped),) * 3
        assert (grouped["difference"].abs() < 1e-9).all()


def test_a_model_that_is_always_right_is_expected_to_be() -> None:
    correct, labels = rasch(4, 200, 3, np.random.default_rng(8))
    correct[1] = True
    own = class_scores(names(4), correct, labels).filter(pl.col("model") == "m01")
    assert own["expected"].to_list() == pytest.approx([1.0] * 3)
    assert own["score"].null_count() == 3
    assert own["best_of_zoo"].all()


def test_the_first_accepted_class_stands_for_an_image_and_the_order_of_images_is_nothing() -> None:
    correct, labels = rasch(4, 200, 6, np.random.default_rng(9))
    several = np.stack([labels, np.full(200, -1)], axis=1).astype(np.int32)
    table = class_scores(names(4), correct, labels)
    assert class_scores(names(4), correct, several).equals(table)
    order = np.random.default_rng(0).permutation(200)
    assert class_scores(names(4), correct[:, order], labels[order]).equals(table)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0)])
def test_without_models_or_images_the_tables_are_empty(shape: tuple[int, int]) -> None:
    correct, labels = np.ones(shape, bool), np.zeros(shape[1], np.int32)
    assert class_scores(names(shape[0]), correct, labels).is_empty()
    assert group_scores(names(shape[0]), correct, labels, GROUPS).is_empty()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 labels for correctness of shape \(2, 4\)"):
        class_scores(names(2), np.ones((2, 4)), np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="do not fit"):
        chances(np.array([1, 2]), np.array([0, 1, 0]))


@given(st.integers(0, 6), st.integers(0, 12), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_whatever_the_zoo_chances_are_shares_that_meet_the_models_margin(models: int, images: int, seed: int) -> None:
    correct = np.random.default_rng(seed).random((models, images)) < 0.6
    score, right = scores(correct), correct.sum(axis=1)
    found = chances(right, np.bincount(score, minlength=models + 1))
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found[:, score].sum(axis=1), right, atol=0.02)
    np.testing.assert_allclose(found[:, score].sum(axis=0), score, atol=1e-3)


def test_models_whose_right_answers_are_nested_are_certain() -> None:
    correct = np.arange(50) < np.array([[50], [40], [25], [10], [0]])
    score = scores(correct)
    found = chances(correct.sum(axis=1), np.bincount(score, minlength=6))
    np.testing.assert_array_equal(found[:, score], correct)
