"""Means by category and crossed axes: values, noise of the images, coverage, selections, and reasons."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration
from overlap.analysis.categories import category_table
from overlap.analysis.divergence import rasch
from overlap.analysis.divergence.axes import AXES, RELATED, axes_table
from overlap.analysis.divergence.means import means_table
from overlap.analysis.divergence.measures import HARD, compared
from overlap.analysis.divergence.scores import scores
from overlap.analysis.divergence.soft import soft_sums
from overlap.analysis.divergence.table import SCHEMA, divergence_table
from overlap.analysis.pairs import pair_indices, pairs_table
from overlap.analysis.splits import folds
from tests.analysis.divergence.studies import axes, categories, counted, named, predictions, study, table
from tests.analysis.zoo import logits
from tests.analysis.zoo import predictions as predicted

CODES = axes(3, 3, 3, 2, 3)


def ensembles(models: int) -> pl.DataFrame:
    first, second = pair_indices(models)
    names = np.array(named(models))
    pairs = len(first)
    return pl.DataFrame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "only_a": np.arange(pairs),
            "only_b": np.arange(pairs)[::-1],
            "gain_best": np.linspace(-0.01, 0.03, pairs),
            "gain_low": np.linspace(-0.02, 0.02, pairs),
            "gain_high": np.linspace(0, 0.04, pairs),
            "conversion_rate": np.linspace(0.4, 0.7, pairs),
        }
    ).filter(pl.col("model_b") != names[-1])


def test_means_and_intervals_of_kappa_are_those_of_the_table_of_categories() -> None:
    prediction, names = predictions(14, 900), categories(CODES)
    counts, _ = counted(prediction)
    expected = category_table(named(14), prediction == 0, pairs_table(named(14), counts, names))
    found = means_table(study(prediction, names))
    for row in expected.iter_rows(named=True):
        for statistic in ("error_inconsistency", "kappa"):
            for selection, suffix in (("all", ""), ("matched", "_matched")):
                mine = found.filter(
                    (pl.col("measure") == statistic)
                    & (pl.col("category") == row["category"])
                    & (pl.col("selection") == selection)
                ).row(0, named=True)
                for end, name in (("", "mean"), ("_low", "low"), ("_high", "high")):
                    column = row[statistic + suffix + end]
                    assert mine[name] == (None if column is None else pytest.approx(column, abs=1e-9))


def test_noise_of_the_images_is_that_of_a_bootstrap() -> None:
    prediction, names = predictions(5, 1500), categories(axes(2, 1, 1, 0, 1))
    of_zoo = study(prediction, names, fitted=False)
    measures = [measure for measure in of_zoo.measures if measure.influence is not None]
    assert [measure.name for measure in measures] == [*HARD, "error_inconsistency_between", "kappa_between"]
    weight = np.linspace(-0.5, 1, 10)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        resampled = study(prediction[:, random.integers(0, 1500, 1500)], names, fitted=False)
        drawn.append([float(weight @ m.values) for m in resampled.measures if m.influence is not None])
    errors = [np.sqrt(of_zoo.noise(measure, weight)) for measure in measures]
    np.testing.assert_allclose(errors, np.std(drawn, axis=0), rtol=0.15)


def test_noise_of_single_pairs_is_not_underestimated() -> None:
    prediction, names = predictions(6, 800), categories(axes(2, 2, 1, 0, 1))
    of_zoo = study(prediction, names, ensembles(6))
    measure = next(measure for measure in of_zoo.measures if measure.name == "kappa_by_difficulty")
    assert measure.error is not None
    weight = np.full(15, 1 / 15)
    assert of_zoo.noise(measure, weight) == pytest.approx(measure.error.mean() ** 2)
    rate = next(measure for measure in of_zoo.measures if measure.name == "conversion_rate")
    assert np.isnan(rate.values).sum() == 5
    assert (rate.error[~np.isnan(rate.values)] > 0).all()  # type: ignore[index]


def test_soft_measures_are_of_the_models_with_logits() -> None:
    zoo, labels = logits(6, 240, 5)
    keys = [f"image {number}" for number in range(240)]
    fitted = [Calibration(1.0, np.ones(5), None, None, None)] * 4
    block = Block([zoo[place] for place in (0, 2, 3, 5)], fitted, labels, folds(keys), np.zeros(240, bool), keys)
    soft = soft_sums(block, np.arange(240) % 2 == 0)
    prediction, names = predicted(zoo), categories(axes(2, 1, 1, 1, 1))
    answers = np.where(prediction == labels, 0, 1)
    counts, by_score = counted(answers)
    fit = rasch.fit(by_score.right.sum(axis=1), by_score.images)
    given = {"soft": soft, "soft_models": (0, 2, 3, 5)}
    whole = divergence_table(named(6), counts, by_score, fit, categories=names, **given)
    assert whole["soft_n"].null_count() == whole["capa"].null_count() == 15 - 6
    assert set(whole["soft_n"].drop_nulls()) == {120}
    parts = [
        divergence_table(named(6), counts, by_score, fit, categories=names, rows=slice(start, start + 4), **given)
        for start in range(0, 15, 4)
    ]
    assert pl.concat(parts).equals(whole)
    assert (
        whole.filter(pl.col("capa").is_not_null())
        .select((pl.col("capa_low") <= pl.col("capa")) & (pl.col("capa") <= pl.col("capa_high")))
        .to_series()
        .all()
    )
    of_zoo = compared(named(6), answers, np.zeros(240, int), names, counts, by_score, whole, **given)
    capa = next(measure for measure in of_zoo.measures if measure.name == "capa")
    weight = np.where(np.isnan(capa.values), 0, 1 / 6)
    jackknifed = of_zoo.noise(capa, weight)
    assert 0 < np.sqrt(jackknifed) < np.nanmean(capa.error) * 1.2  # type: ignore[arg-type]


def test_columns_and_degenerate_pairs() -> None:
    prediction = predictions(5, 100)
    prediction[3] = prediction[2]
    prediction[4] = 0
    whole = table(prediction, categories(axes(2, 1, 1, 0, 1)))
    assert whole.schema == pl.Schema(SCHEMA)
    same = whole.filter((pl.col("model_a") == "m02") & (pl.col("model_b") == "m03")).row(0, named=True)
    assert (same["yule_q"], same["correlation"], same["kappa_between"]) == (1, pytest.approx(1), 1)
    assert same["kappa_by_difficulty"] == 1
    always = whole.filter(pl.col("model_b") == "m04")
    assert always["yule_q"].null_count() == always["log_odds_ratio"].null_count() == 4
    assert always["double_fault"].to_list() == [0, 0, 0, 0]
    assert not any(whole[name].is_nan().any() for name, kind in SCHEMA.items() if kind == pl.Float64())


@pytest.mark.parametrize(("models", "images"), [(0, 0), (0, 7), (1, 7), (2, 0), (2, 7), (5, 0), (5, 1)])
def test_nothing_to_compare_is_no_crash(models: int, images: int) -> None:
    prediction = predictions(models, images)
    names = categories(axes(2, 2, 1, 0, 0)[:, :models])
    assert table(prediction, names).height == models * (models - 1) // 2
    found = means_table(study(prediction, names), (0.7, 0.8))
    assert found.filter(pl.col("mean").is_null() & pl.col("reason").is_null()).is_empty()
    assert not any(found[name].is_nan().any() for name in ("mean", "low", "high"))
    crossed = axes_table(
        study(prediction, names), axes(2, 2, 1, 0, 0)[:, :models], np.zeros(models * (models - 1) // 2, bool)
    )
    assert crossed["pairs"].sum() == models * (models - 1) // 2


def test_bands_and_parts() -> None:
    of_zoo = study(predictions(14, 300, spread=0.5), categories(CODES), ensembles(14))
    low, high = (float(value) for value in np.quantile(of_zoo.accuracy, (0.2, 0.7)))
    whole = means_table(of_zoo, (low, high))
    assert whole["selection"].unique(maintain_order=True).to_list() == ["all", "band", "matched"]
    names = [measure.name for measure in of_zoo.measures]
    assert pl.concat([means_table(of_zoo, (low, high), [name]) for name in names]).equals(whole)
    inside = (of_zoo.accuracy >= low) & (of_zoo.accuracy <= high)
    first, second = pair_indices(14)
    members = (of_zoo.categories == "dataset") & inside[first] & inside[second]
    row = whole.filter(
        (pl.col("measure") == "yule_q") & (pl.col("category") == "dataset") & (pl.col("selection") == "band")
    ).row(0, named=True)
    assert row["pairs"] == members.sum() > 1
    yule = next(measure for measure in of_zoo.measures if measure.name == "yule_q")
    assert row["mean"] == pytest.approx(yule.values[members].mean())
    assert row["low"] < row["mean"] < row["high"]
    assert "band" not in set(means_table(of_zoo)["selection"])
    empty = means_table(of_zoo, (0.0, 0.1)).filter(pl.col("selection") == "band")
    assert set(empty["reason"]) == {"no pair in the selection"}


def test_intervals_cover() -> None:
    """Zoos drawn anew: the mean over pairs of the population's models and images lies in about 95% of the intervals."""
    names = categories(axes(8, 0, 0, 0, 0))
    large = [study(predictions(30, 5000, seed), categories(axes(30, 0, 0, 0, 0))) for seed in range(900, 902)]
    tested = ("yule_q", "correlation", "log_odds_ratio", "kappa_by_difficulty")
    truth = {
        name: np.mean([measure.values.mean() for zoo in large for measure in zoo.measures if measure.name == name])
        for name in tested
    }
    covered = dict.fromkeys(tested, 0)
    for seed in range(60):
        found = means_table(study(predictions(8, 600, seed), names), names=tested).filter(pl.col("selection") == "all")
        for row in found.iter_rows(named=True):
            covered[row["measure"]] += row["low"] <= truth[row["measure"]] <= row["high"]
    assert min(covered.values()) / 60 >= 0.85


def test_axes_are_crossed_and_what_is_missing_is_counted() -> None:
    codes = CODES.copy()
    codes[1, 13] = codes[3, 12] = -1
    related = np.zeros(91, bool)
    related[0] = True
    of_zoo = study(predictions(14, 400), categories(CODES), ensembles(14))
    found = axes_table(of_zoo, codes, related)
    assert found["pairs"].sum() == 91
    rows = {row["differs"]: row for row in found.iter_rows(named=True)}
    assert next(iter(rows)) == "none"
    assert (rows["none"]["pairs"], rows["none"]["models"]) == (2, 3)
    assert rows[RELATED]["pairs"] == 1
    assert rows["missing: framework"]["pairs"] == rows["missing: hyper_parameters"]["pairs"] == 12
    assert rows["missing: framework + hyper_parameters"]["pairs"] == 1
    assert rows["missing: framework"]["error_inconsistency"] is None
    assert rows["missing: framework"]["reason"] == "not compared"
    both = rows["framework + architecture + hyper_parameters"]
    assert [both[axis] for axis in AXES] == [False, True, True, True]
    first, second = pair_indices(14)
    members = [
        pair
        for pair, (a, b) in enumerate(zip(first, second, strict=True))
        if (codes[:, [a, b]] >= 0).all() and (codes[:, a] != codes[:, b]).tolist() == [False, True, True, True]
    ]
    inconsistency = of_zoo.measures[0].values[members]
    assert both["pairs"] == len(members)
    assert both["error_inconsistency"] == pytest.approx(inconsistency.mean())
    assert both["error_inconsistency_low"] < both["error_inconsistency"] < both["error_inconsistency_high"]
    assert both["gain_best"] is not None
    without = axes_table(study(predictions(14, 400), categories(CODES)), codes, related)
    assert "gain_best: no pair ensembles" in without["reason"][0]
    with pytest.raises(ValueError, match="codes"):
        axes_table(of_zoo, codes[:3], related)


def test_scores_of_no_models() -> None:
    assert scores(np.zeros((0, 3), bool)).n == 3
    assert scores(np.zeros((0, 3), bool)).between == 0
