from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from overlap.analysis import across
from overlap.analysis.across import COMBINER, PAIRS_SCHEMA, SUMMARY_SCHEMA, compare, interval, rank_correlation
from tests.reference import across as reference

VALUES = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(VALUES, VALUES, st.integers(1, 4).map(float)), min_size=2, max_size=12))
def test_rank_correlation_is_the_slow_one(rows: list[tuple[float, float, float]]) -> None:
    x, y, weight = (np.array(column) for column in zip(*rows, strict=True))
    found, slow = rank_correlation(x, y, weight), reference.rank_correlation(x, y, weight)
    assert np.isnan(found) if slow is None else found == pytest.approx(slow, abs=1e-12)
    repeated = np.repeat(np.arange(len(x)), weight.astype(int))
    again = rank_correlation(x[repeated], y[repeated])
    assert np.isnan(again) if slow is None else found == pytest.approx(again, abs=1e-12)


def test_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 30, 200).astype(float)
    y = x + random.integers(0, 30, 200)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    assert rank_correlation(x, np.exp(x)) == 1.0
    assert rank_correlation(x, -x) == -1.0


def tables(names: list[str], seed: int, hole: int | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    random = np.random.default_rng(seed)
    pairs = [*combinations(sorted(names), 2)]
    kappa = [None if row == hole else float(value) for row, value in enumerate(random.random(len(pairs)).round(1))]
    columns = {"model_a": [a for a, _ in pairs], "model_b": [b for _, b in pairs]}
    of_pairs = pl.DataFrame(
        {**columns, "category": [None] * len(pairs), "kappa": kappa, "error_inconsistency": random.random(len(pairs))}
    )
    gains = random.random(len(pairs))
    both = [
        pl.DataFrame({**columns, "combiner": [combiner] * len(pairs), "gain_best": gains * factor})
        for combiner, factor in ((COMBINER, 1.0), ("mean_log_probability", -1.0))
    ]
    return of_pairs, pl.concat(both).reverse()


def as_pairs(table: pl.DataFrame, column: str) -> dict[tuple[str, str], float | None]:
    return {(row["model_a"], row["model_b"]): row[column] for row in table.to_dicts()}


def test_pairs_side_by_side_are_the_slow_ones() -> None:
    given_tables = {
        "val": tables(["a", "b", "c", "d", "e", "f"], 1, hole=2),
        "v2": tables(["b", "c", "d", "e", "f", "g"], 2),
        "sketch": tables(["a", "b", "c", "d", "e"], 3),
    }
    pairs, summary = compare(given_tables)
    assert dict(pairs.schema) == PAIRS_SCHEMA
    assert dict(summary.schema) == SUMMARY_SCHEMA
    assert summary.select("data_x", "data_y").unique(maintain_order=True).rows() == [
        ("val", "v2"),
        ("val", "sketch"),
        ("v2", "sketch"),
    ]
    for row in summary.to_dicts():
        x, y, name = row["data_x"], row["data_y"], row["statistic"]
        told = [
            as_pairs(
                given_tables[data][1].filter(pl.col("combiner") == COMBINER)
                if name == "gain_best"
                else given_tables[data][0],
                name,
            )
            for data in (x, y)
        ]
        expected = reference.beside(*told)
        here = pairs.filter((pl.col("data_x") == x) & (pl.col("data_y") == y))
        assert here.height == len({*told[0]} & {*told[1]})
        known = here.drop_nulls([f"{name}_x", f"{name}_y"])
        assert known.select("model_a", "model_b", f"{name}_x", f"{name}_y").rows() == [
            (*pair, on_x, on_y) for pair, on_x, on_y in expected
        ]
        on_x, on_y = [v for _, v, _ in expected], [v for _, _, v in expected]
        slow = reference.rank_correlation(on_x, on_y, [1.0] * len(expected))
        assert row["pairs"] == len(expected)
        assert row["models"] == len({model for pair, _, _ in expected for model in pair})
        assert row["rank_correlation"] == pytest.approx(slow, abs=1e-12)
        if row["models"] >= across.MODELS:
            assert row["low"] <= row["rank_correlation"] <= row["high"]
            assert row["reason"] is None
        else:
            assert (row["low"], row["high"]) == (None, None)
            assert "4 models" in row["reason"]
    assert {4, 5} <= {*summary["models"]}


def test_what_cannot_be_compared_says_why() -> None:
    imports = tables(["a", "b", "c", "d", "e"], 1)[0], pl.DataFrame()
    pairs, summary = compare({"one": imports, "two": imports})
    rows = {row["statistic"]: row for row in summary.to_dicts()}
    assert rows["kappa"]["rank_correlation"] == 1.0
    assert rows["gain_best"]["rank_correlation"] is None
    assert rows["gain_best"]["reason"] == "0 pairs have no order to compare"
    assert pairs["gain_best_x"].null_count() == 10
    flat = imports[0].with_columns(kappa=pl.lit(0.5)), pl.DataFrame()
    _, summary = compare({"one": flat, "two": imports})
    assert summary["reason"][0] == "all pairs are equal on one of the two"
    pairs, summary = compare({"one": imports, "two": tables(["x", "y", "z"], 2)})
    assert (pairs.height, summary.height) == (0, 0)
    assert dict(pairs.schema) == PAIRS_SCHEMA
    pairs, summary = compare({"one": imports})
    assert (pairs.height, summary.height) == (0, 0)


def simulated(random: np.random.Generator, models: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs whose values are sums over their models, as far as models go, and noise of their own."""
    first, second = np.triu_indices(models, 1)
    a, b = random.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], models).T
    x, y = (v[first] + v[second] + 0.5 * random.standard_normal(len(first)) for v in (a, b))
    return x, y, first, second


def test_intervals_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(across, "DRAWS", 200)
    random = np.random.default_rng(5)
    truth = np.mean([rank_correlation(*simulated(random, 400)[:2]) for _ in range(20)])
    held = 0
    for _ in range(200):
        x, y, first, second = simulated(random, 25)
        low, high = interval(x, y, first, second, 25)
        held += low <= truth <= high
    assert 0.86 <= held / 200 <= 0.99


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_intervals_are_within_bounds_and_do_not_move(seed: int) -> None:
    x, y, first, second = simulated(np.random.default_rng(seed), 8)
    low, high = interval(x, y, first, second, 8)
    assert -1 <= low <= high <= 1
    assert interval(x, y, first, second, 8) == (low, high)
