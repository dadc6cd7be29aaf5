"""Fits of gain and conversion over pairs: values, the identity slope, size of the test, and what has no fit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, linregress

from overlap.analysis import gain_fits
from overlap.analysis.gain_fits import fit, gain_fits_table, permuted
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.pairs import pair_indices, pairs_table
from tests.analysis.test_pair_ensembles import Study
from tests.analysis.together import ensemble_counts
from tests.analysis.zoo import pair_counts


def tables(study: Study, categories: np.ndarray | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    made = [study.table(combiner) for combiner in ("mean_probability", "two_temperatures")]
    return pairs_table(study.names, study.counts, categories), pl.concat(made)


def drawn(rates: np.ndarray, inconsistency: np.ndarray, n: int = 1000) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of M models whose pairs have these conversion rates and inconsistencies, with r00 = 0."""
    models = len(rates)
    first, second = pair_indices(models)
    names = np.array([f"m{model:02}" for model in range(models)], object)
    only = np.round(inconsistency[first, second] * n / 2).astype(int)
    base = {"model_a": names[first].tolist(), "model_b": names[second].tolist()}
    gains = 2 * only / n * (rates[first, second] - 0.5)
    ensembles = pl.DataFrame(
        base | {"combiner": "c", "n": n, "only_a": only, "only_b": only, "gain_mean": gains}
    ).with_columns(pl.Series("conversion_rate", rates[first, second]))
    return pl.DataFrame(base).with_columns(category=pl.lit(None, pl.String)), ensembles


def test_figures_are_those_of_scipy() -> None:
    study = Study(8, 300, 6)
    categories = np.full((8, 8), None, object)
    categories[:4, :] = "reinit"
    categories[4, 5] = "duplicate"
    pairs, ensembles = tables(study, categories)
    found = gain_fits_table(pairs, ensembles)
    assert found.columns == list(gain_fits.SCHEMA)
    assert found["group"].to_list() == ["all", "reinit", "duplicate"] * 2
    for row in found.iter_rows(named=True):
        table = ensembles.filter(pl.col("combiner") == row["combiner"]).join(
            pairs.select("model_a", "model_b", "category"), on=["model_a", "model_b"]
        )
        table = table.filter(
            pl.col("category").fill_null("") != "duplicate"
            if row["group"] == "all"
            else pl.col("category") == row["group"]
        )
        assert row["pairs"] == len(table) == {"all": 27, "reinit": 22, "duplicate": 1}[row["group"]]
        assert row["models"] == {"all": 8, "reinit": 8, "duplicate": 2}[row["group"]]
        assert row["conversion_mean"] == pytest.approx(table["conversion_rate"].mean())
        assert row["identity_slope"] == pytest.approx(row["conversion_mean"] - 0.5)
        if len(table) < 3:
            assert row["slope"] is None
            assert row["reason"] == "slope: fewer than three pairs; conversion_slope: fewer than three pairs"
            continue
        inconsistency = (table["only_a"] + table["only_b"]) / table["n"]
        line = linregress(inconsistency, table["gain_mean"])
        assert (row["slope"], row["intercept"]) == pytest.approx((line.slope, line.intercept))
        assert row["r_squared"] == pytest.approx(line.rvalue**2)
        assert row["slope_low"] < row["slope"] < row["slope_high"]
        line = linregress(inconsistency, table["conversion_rate"])
        assert row["conversion_slope"] == pytest.approx(line.slope)
        assert row["conversion_slope_low"] < row["conversion_slope"] < row["conversion_slope_high"]
        assert 0 < row["conversion_p"] <= 1
        assert row["reason"] is None


def test_one_conversion_rate_makes_a_line_of_the_identity_slope() -> None:
    """Gain is then linear in inconsistency by identity, and nothing says that conversion rises."""
    random = np.random.default_rng(0)
    found = gain_fits_table(*drawn(np.full((9, 9), 0.75), random.uniform(0.1, 0.4, (9, 9)))).row(0, named=True)
    assert found["slope"] == pytest.approx(found["identity_slope"]) == 0.25
    assert found["r_squared"] == pytest.approx(1)
    assert found["conversion_slope"] == pytest.approx(0, abs=1e-12)
    assert found["conversion_p"] is None
    assert "the fitted values are the same for all pairs" in found["reason"]
    assert "no permutation of models changes it" in found["reason"]


def test_a_rising_conversion_rate_is_found() -> None:
    random = np.random.default_rng(1)
    apart = np.abs(np.subtract.outer(*[random.uniform(0, 1, 14)] * 2))
    rates = 0.6 + 0.2 * apart + random.normal(0, 0.02, apart.shape)
    found = gain_fits_table(*drawn(rates, 0.1 + 0.3 * apart)).row(0, named=True)
    assert found["conversion_slope"] == pytest.approx(2 / 3, abs=0.1)
    assert found["conversion_slope_low"] > 0
    assert found["conversion_p"] < 0.01
    assert found["slope"] > found["identity_slope"]


def test_false_positives_of_the_permutation_test_are_as_many_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both measures have model effects, so that pairs are far from independent; they are unrelated."""
    monkeypatch.setattr(gain_fits, "PERMUTATIONS", 199)
    random = np.random.default_rng(2)
    models, studies = 12, 400
    first, second = pair_indices(models)
    rejected = regression = 0
    for _ in range(studies):
        x, y = (np.add.outer(effect, effect) for effect in random.normal(0, 1, (2, models)))
        y += random.normal(0, 0.3, y.shape)
        y = np.triu(y, 1) + np.triu(y, 1).T
        p = permuted(x[first, second], y, first, second)
        rejected += p is not None and p <= 0.05
        regression += linregress(x[first, second], y[first, second]).pvalue <= 0.05
    assert binom.ppf(0.001, studies, 0.05) <= rejected <= binom.ppf(0.999, studies, 0.05)
    assert regression > 0.3 * studies, "what a test of independent pairs would say"


@pytest.mark.parametrize("models", [5, 8, 20])
def test_intervals_of_slopes_cover_them(models: int) -> None:
    """Models with random effects on both: the slope of the population is that of many models."""
    random = np.random.default_rng(3)
    first, second = pair_indices(models)
    covered, studies = 0, 400
    for _ in range(studies):
        u, v = random.normal(0, 1, (2, models))
        x = u[first] + u[second] + random.normal(0, 0.5, len(first))
        y = 0.7 * x + v[first] + v[second] + random.normal(0, 0.5, len(first))
        found = fit(x, y, first, second)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.92 <= covered / studies <= 0.99


def test_a_line_that_one_model_holds_has_no_interval() -> None:
    """Three pairs of three models: without one of them a single pair is left."""
    found = fit(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.2, 0.3]), np.array([0, 0, 1]), np.array([1, 2, 2]))
    assert found.slope == pytest.approx(1.5)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "without one of the models there is no line, hence no interval"


def test_what_is_the_same_for_all_pairs_has_no_slope() -> None:
    found = gain_fits_table(*drawn(np.full((4, 4), 0.7), np.full((4, 4), 0.2))).row(0, named=True)
    assert (found["slope"], found["r_squared"], found["conversion_p"]) == (None, None, None)
    assert found["conversion_mean"] == pytest.approx(0.7)
    assert "error inconsistency is the same for all pairs" in found["reason"]


@pytest.mark.parametrize("models", [0, 1, 2])
def test_few_models_have_no_fit(models: int) -> None:
    study = Study(3, 50, 4)
    some = list(range(models))
    counts = pair_counts(study.prediction[some], study.labels)
    zoo, calibrations = [study.logits[i] for i in some], [study.calibrations[i] for i in some]
    ensembles = ensemble_counts(zoo, calibrations, study.labels, study.folds)
    table = pair_ensembles_table(study.names[:models], counts, ensembles, "mean_probability")
    found = gain_fits_table(pairs_table(study.names[:models], counts), table)
    if models < 2:
        assert found.is_empty()
        return
    row = found.row(0, named=True)
    assert (row["pairs"], row["slope"]) == (1, None)
    assert row["conversion_mean"] is not None


def test_identical_models_have_no_conversion_rate() -> None:
    study = Study(3, 60, 4)
    zoo, calibrations = [study.logits[0]] * 3, [study.calibrations[0]] * 3
    counts = pair_counts(study.prediction[[0, 0, 0]], study.labels)
    ensembles = ensemble_counts(zoo, calibrations, study.labels, study.folds)
    pairs = pairs_table(study.names, counts)
    table = pair_ensembles_table(study.names, counts, ensembles, "mean_probability")
    row = gain_fits_table(pairs, table).row(0, named=True)
    assert (row["pairs"], row["slope"], row["conversion_mean"], row["identity_slope"]) == (3, None, None, None)
    assert "no pair of which exactly one model is right" in row["reason"]


def test_pairs_without_images_are_left_out() -> None:
    pairs, ensembles = drawn(np.full((4, 4), 0.7), np.full((4, 4), 0.2))
    empty = ensembles.with_columns(
        n=pl.lit(0), only_a=pl.lit(0), only_b=pl.lit(0), gain_mean=pl.lit(None, pl.Float64),
        conversion_rate=pl.lit(None, pl.Float64),
    )  # fmt: skip
    row = gain_fits_table(pairs, empty).row(0, named=True)
    assert (row["group"], row["pairs"], row["models"], row["slope"]) == ("all", 0, 0, None)


def test_the_order_of_pairs_changes_nothing() -> None:
    study = Study(6, 200, 5)
    pairs, ensembles = tables(study)
    one = gain_fits_table(pairs, ensembles)
    other = gain_fits_table(pairs.reverse(), ensembles.sample(fraction=1, shuffle=True, seed=1)).sort("combiner")
    for column in gain_fits.SCHEMA:
        if one[column].dtype == pl.Float64:
            assert other[column].to_list() == pytest.approx(one.sort("combiner")[column].to_list(), rel=1e-9)
