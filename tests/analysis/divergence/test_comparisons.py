"""Tests of categories: against plain Python, the rate of false positives and the power, and what cannot be tested."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from overlap.analysis import bootstrap
from overlap.analysis.divergence import mantel
from overlap.analysis.divergence.comparisons import comparisons_table, holm
from overlap.analysis.divergence.differences import difference_tests
from overlap.analysis.divergence.matrices import ORDERED, Matrices, matrices
from overlap.analysis.divergence.measures import Compared, Measure
from overlap.analysis.divergence.order import order_tests
from overlap.analysis.divergence.sampled import UNTESTED
from overlap.analysis.pairs import CATEGORIES, pair_indices
from overlap.analysis.some_pairs import SomePairs
from tests.analysis.divergence.studies import axes, categories, named, predictions, study
from tests.reference import permutation as reference
from tests.reference.across import rank_correlation

DIFFERENCES = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]


def given(values: np.ndarray, names: np.ndarray) -> Compared:
    """A zoo with measures (M, M, D) of no noise over images."""
    models = len(values)
    first, second = pair_indices(models)
    measures = tuple(
        Measure(f"measure {place}", values[first, second, place], (-np.inf, np.inf)) for place in range(values.shape[2])
    )
    return Compared(
        tuple(named(models)), names[first, second], np.full(models, 0.7), np.zeros((models, 0), bool), 0, measures
    )


def zoos(repeats: int, models: int, effects: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """(M, M, repeats): measures made of the effects of both models, noise of the pair, and effects of its level."""
    random = np.random.default_rng(seed)
    of_model = random.standard_normal((models, repeats))
    noise = random.normal(0, 0.4, (models, models, repeats))
    values = of_model[:, None] + of_model[None, :] + noise + noise.transpose(1, 0, 2)
    return values if effects is None else values + effects[:, :, None]


def zoo(codes: np.ndarray, values: np.ndarray) -> Matrices:
    compared = given(values, categories(codes))
    return matrices(compared, compared.measures, np.ones(len(compared.categories), bool))


def rejected(tests: list) -> float:  # type: ignore[type-arg]
    return float(np.mean([test.p_value <= 0.05 for test in tests]))


@pytest.mark.parametrize("dense", [10**6, 0], ids=["square", "sparse"])
def test_estimates_of_a_selection_are_those_of_all_pairs_where_it_is_all(
    dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "DENSE", dense)
    monkeypatch.setattr(bootstrap, "SPARSE", 0)
    codes = axes(3, 2, 2, 2, 5)
    held, names = given(zoos(2, 14, seed=3), categories(codes)), ["measure 0", "measure 1"]
    every = replace(held, pairs=SomePairs(14, *pair_indices(14)))
    expected, found = comparisons_table(held, permutations=9, names=names), comparisons_table(every, names=names)
    told = ["measure", "selection", "test", "category_a", "category_b", "estimate", "low", "high"]
    assert found.height == expected.height > 20
    assert found["p_value"].null_count() == found["permutations"].null_count() == found.height
    assert (found["reason"] == UNTESTED).all()
    for column in told[:5]:
        assert found[column].equals(expected[column])
    for column in told[5:]:
        assert found[column].to_list() == pytest.approx(expected[column].to_list(), abs=1e-9)


def test_sums_by_level_are_those_of_plain_python() -> None:
    random = np.random.default_rng(0)
    values = random.random((6, 6, 9))
    values[:, :, 3] = values[:, :, 0]
    values += values.transpose(1, 0, 2)
    levels = random.integers(-1, 3, (6, 6))
    levels = np.maximum(levels, levels.T)
    orders = mantel.orders(np.array([0, 0, 1, 1, 1, 2]), 5)
    assert (orders[0] == np.arange(6)).all()
    assert (np.sort(orders[:, 2:5]) == [2, 3, 4]).all()
    assert (orders[:, 5] == 5).all()
    totals = mantel.sums_by_level(values, levels, 3, orders)
    for draw, order in enumerate(orders):
        for place in range(9):
            expected = reference.sums(values[:, :, place].tolist(), levels.tolist(), order.tolist(), 3)
            assert totals[draw, :, place].tolist() == pytest.approx(expected)


def test_permuting_models_keeps_the_level_where_permuting_pairs_does_not() -> None:
    """A zoo like the paper's without any effect of the category, its models having effects of their own."""
    codes = axes(4, 20, 10, 2, 6)
    values = zoos(160, codes.shape[1])
    of_zoo = zoo(codes, values)
    assert rejected(order_tests(of_zoo, 199)) <= 0.08
    for a, b in DIFFERENCES:
        assert rejected(difference_tests(of_zoo, a, b, 199)) <= 0.085

    # the same statistic, its pairs permuted one by one: an order is found in most zoos
    first, second = pair_indices(codes.shape[1])
    levels = of_zoo.level - of_zoo.level.mean()
    shuffled = np.random.default_rng(0).permuted(np.tile(levels, (199, 1)), axis=1)
    found = np.concatenate([levels[None], shuffled]) @ values[first, second]
    tail = np.minimum((found >= found[0]).sum(axis=0), (found <= found[0]).sum(axis=0))
    assert np.mean(2 * tail / 200 <= 0.05) > 0.5


def test_other_categories_neither_make_nor_hide_a_difference() -> None:
    """Architectures are far above hyper-parameters, datasets above all: the other neighbours still do not differ."""
    codes = axes(4, 12, 8, 4, 6)
    number = np.vectorize(CATEGORIES.index)(categories(codes))
    of_zoo = zoo(codes, zoos(120, codes.shape[1], np.array([-3.0, -3.0, 0.0, 0.0, 3.0])[number]))
    for a, b in ((0, 1), (2, 3)):
        assert rejected(difference_tests(of_zoo, a, b, 199)) <= 0.09
    for a, b in ((1, 2), (3, 4), (0, 4)):
        assert rejected(difference_tests(of_zoo, a, b, 199)) > 0.8
    assert rejected(order_tests(of_zoo, 199)) > 0.95


def test_estimates_are_those_of_plain_python_and_lie_in_their_intervals() -> None:
    codes = axes(3, 4, 4, 3, 4)
    values = zoos(2, codes.shape[1])
    names = categories(codes)
    table = comparisons_table(given(values, names), names=("measure 0", "measure 1"), permutations=99)
    assert table.height == 2 * 2 * 11
    level = np.vectorize(CATEGORIES.index)(names)
    first, second = pair_indices(codes.shape[1])
    for place in range(2):
        rows = table.filter((pl.col("measure") == f"measure {place}") & (pl.col("selection") == "all"))
        order = rows.row(0, named=True)
        expected = rank_correlation(values[first, second, place], level[first, second], [1.0] * len(first))
        assert order["estimate"] == pytest.approx(expected)
        for row in rows.iter_rows(named=True):
            assert row["low"] <= row["estimate"] <= row["high"]
            assert 0.01 <= row["p_value"] <= 1
            if row["test"] == "difference":
                a, b = ORDERED.index(row["category_a"]), ORDERED.index(row["category_b"])
                expected = reference.difference(values[:, :, place].tolist(), level.tolist(), a, b)
                assert row["estimate"] == pytest.approx(expected)
                assert row["p_adjusted"] >= row["p_value"]
            else:
                assert row["p_adjusted"] is None


def test_tables_of_some_measures_are_parts_of_the_whole() -> None:
    compared = study(predictions(14, 300), categories(axes(3, 3, 3, 2, 3)))
    whole = comparisons_table(compared, permutations=49)
    names = [measure.name for measure in compared.measures]
    parts = [comparisons_table(compared, names=names[start : start + 4], permutations=49) for start in (0, 4, 8)]
    assert pl.concat(parts).equals(whole)
    assert set(whole["measure"]) == {*names}
    assert whole.filter(pl.col("estimate").is_null() & pl.col("reason").is_null()).is_empty()
    assert whole.filter(pl.col("p_value").is_null() & pl.col("reason").is_null()).is_empty()


def test_duplicates_and_undefined_values_take_no_part() -> None:
    codes = axes(3, 3, 3, 2, 3)
    values, names = zoos(1, codes.shape[1]), categories(codes)
    names[0, 1] = names[1, 0] = "duplicate"
    names[2, 3] = names[3, 2] = None
    plain = comparisons_table(given(values, names), names=("measure 0",), permutations=49)
    values[0, 1] = values[1, 0] = 1000
    assert comparisons_table(given(values, names), names=("measure 0",), permutations=49).equals(plain)
    values[4, 5] = values[5, 4] = np.nan
    table = comparisons_table(given(values, names), names=("measure 0",), permutations=49)
    assert table["estimate"].is_not_null().all()


def test_selections_are_by_accuracy() -> None:
    codes = axes(3, 3, 3, 2, 3)
    compared = given(zoos(1, 14), categories(codes))
    spread = replace(compared, accuracy=np.linspace(0.5, 0.9, 14))
    table = comparisons_table(spread, (0.6, 0.8), ("measure 0",), 49)
    assert table["selection"].unique(maintain_order=True).to_list() == ["all", "band", "matched"]
    reasons = comparisons_table(spread, (0.1, 0.2), ("measure 0",), 49).filter(pl.col("selection") == "band")
    assert reasons["estimate"].is_null().all()
    assert reasons["reason"].to_list()[0] == "pairs of fewer than two categories"
    assert set(reasons["reason"].to_list()[1:]) == {"a category without a pair for which it is defined"}


@pytest.mark.parametrize("models", [0, 1, 2, 3])
def test_few_models_have_reasons(models: int) -> None:
    codes = axes(2, 1, 0, 0, 0)[:, :models]
    table = comparisons_table(study(predictions(models, 40), categories(codes)), permutations=9)
    assert table.filter(pl.col("p_value").is_null() & pl.col("reason").is_null()).is_empty()
    assert not any(table[name].is_nan().any() for name in ("estimate", "low", "high", "p_value"))


def test_identical_models_are_one_value() -> None:
    prediction = np.repeat(predictions(1, 60), 8, axis=0)
    table = comparisons_table(study(prediction, categories(axes(2, 2, 2, 1, 1))), permutations=9)
    order = table.filter((pl.col("test") == "order") & (pl.col("measure") == "error_inconsistency"))
    assert set(order["reason"]) == {"all pairs have one value"}
    assert not any(table[name].is_nan().any() for name in ("estimate", "low", "high", "p_value"))


def test_holm() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
