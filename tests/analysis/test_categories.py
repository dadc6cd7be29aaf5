"""Means by category: values, the images' part of the noise, coverage, and what has no interval."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.bootstrap import image_variance
from overlap.analysis.categories import MATCHED, category_table
from overlap.analysis.consistency import expected_inconsistency, kappa
from overlap.analysis.notes import category_notes
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.pairs import pair_indices, pairs_table
from overlap.analysis.splits import folds
from tests.analysis.together import ensemble_counts
from tests.analysis.zoo import calibrate, correctness, logits, pair_counts, predictions
from tests.reference import categories as reference


def named(models: int) -> list[str]:
    return [f"m{number:02}" for number in range(models)]


def category_names(models: int, groups: dict[str, list[tuple[int, int]]]) -> np.ndarray:
    names = np.full((models, models), None, object)
    for category, pairs in groups.items():
        for a, b in pairs:
            names[a, b] = category
    return names


def table(correct: np.ndarray, names: np.ndarray) -> pl.DataFrame:
    counts = pair_counts(1 - correct.astype(int), np.zeros(correct.shape[1], int))
    pairs = pairs_table(named(len(correct)), counts, names)
    found = category_table(named(len(correct)), correct, pairs)
    assert found.equals(category_table(named(len(correct)), correct, pairs.lazy()))
    return found


def test_means_are_over_the_pairs_of_the_category() -> None:
    models = 8
    zoo, labels = logits(models, 500, 4)
    prediction = predictions(zoo)
    every = list(zip(*pair_indices(models), strict=True))
    names = category_names(models, {"dataset": every[:9], "reinit": every[9:20], "duplicate": every[20:21]})
    counts = pair_counts(prediction, labels)
    of_images = folds([str(image) for image in range(500)])
    calibrations = [calibrate([z], labels, of_images) for z in zoo]
    ensembles = ensemble_counts(zoo, calibrations, labels, of_images, right=counts.right, categories=names)
    pairs = pairs_table(named(models), counts, names)
    together = pair_ensembles_table(named(models), counts, ensembles, "mean_probability")
    rows = category_table(named(models), prediction == labels, pairs, together, ensembles)
    assert rows["category"].to_list() == ["reinit", "dataset", "duplicate"]
    gains = pairs.join(together, on=["model_a", "model_b"])
    for row in rows.iter_rows(named=True):
        of_category = gains.filter(pl.col("category") == row["category"])
        close = of_category.filter((pl.col("accuracy_a") - pl.col("accuracy_b")).abs() <= MATCHED)
        assert (row["pairs"], row["pairs_matched"]) == (len(of_category), len(close))
        assert row["models"] == len({*of_category["model_a"], *of_category["model_b"]})
        for column in ("error_inconsistency", "kappa", "gain_best"):
            assert row[column] == pytest.approx(of_category[column].mean())
        for column in ("error_inconsistency", "kappa"):
            if len(close):
                assert row[column + "_matched"] == pytest.approx(close[column].mean())
        if row["pairs"] > 1:
            for column in ("error_inconsistency", "kappa", "gain_best"):
                assert row[column + "_low"] < row[column] < row[column + "_high"]
    single = rows.row(2, named=True)
    assert single["kappa"] is not None
    assert single["kappa_low"] is None
    assert "kappa: one pair has no interval over models" in single["reason"]
    assert "gain_best: one pair has no interval over models" in category_notes(rows)[-1]


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_noise_of_the_images_is_that_of_plain_python(seed: int) -> None:
    correct = correctness(4, 150, seed)
    pairs = [(0, 1), (0, 2), (1, 3)]
    first, second = np.array(pairs).T
    share, nothing = np.full(3, 1 / 3), np.zeros(4)
    found = image_variance(correct, first, second, share, nothing)
    assert found == pytest.approx(reference.inconsistency_variance(correct.tolist(), pairs))

    accuracy = correct.mean(axis=1)
    a, b = accuracy[first], accuracy[second]
    inconsistency = (correct[first] != correct[second]).mean(axis=1)
    expected = expected_inconsistency(a, b)
    linear = np.zeros(4)
    np.add.at(linear, first, share * inconsistency / expected**2 * (1 - 2 * b))
    np.add.at(linear, second, share * inconsistency / expected**2 * (1 - 2 * a))
    found = image_variance(correct, first, second, -share / expected, linear)
    assert found == pytest.approx(reference.jackknife_variance(correct.tolist(), pairs), rel=0.1)
    assert np.mean(kappa(inconsistency, a, b)) == pytest.approx(reference.mean_kappa(correct.tolist(), pairs))


@pytest.mark.parametrize(("models", "images"), [(4, 400), (8, 1400), (20, 400)])
def test_intervals_cover(models: int, images: int) -> None:
    """Zoos and images drawn anew from one population: the population's means lie in about 95% of the intervals."""
    random = np.random.default_rng(models)

    def zoo(models: int, images: int) -> np.ndarray:
        ease, kinds = random.normal(0.8, 1, images), random.standard_normal((3, images))
        skill, taste = random.normal(0, 0.25, (models, 1)), random.normal(0, 0.5, (models, 3))
        return np.asarray(ease + skill + taste @ kinds + random.standard_normal((models, images)) > 0)

    def pairs_of(correct: np.ndarray) -> pl.DataFrame:
        """Of the table of pairs, what the means are made of."""
        first, second = pair_indices(len(correct))
        a, b = correct.mean(axis=1)[first], correct.mean(axis=1)[second]
        inconsistency = (correct[first] != correct[second]).mean(axis=1)
        names = np.array(named(len(correct)), object)
        return pl.DataFrame(
            {
                "model_a": names[first],
                "model_b": names[second],
                "category": ["reinit"] * len(first),
                "accuracy_a": a,
                "accuracy_b": b,
                "error_inconsistency": inconsistency,
                "kappa": kappa(inconsistency, a, b),
            }
        )

    truth = (
        pl.concat([pairs_of(zoo(30, 10_000)) for _ in range(8)]).select("error_inconsistency", "kappa").mean().row(0)
    )
    covered, repeats = np.zeros(2), 250
    for _ in range(repeats):
        correct = zoo(models, images)
        row = category_table(named(models), correct, pairs_of(correct)).row(0, named=True)
        for place, column in enumerate(("error_inconsistency", "kappa")):
            covered[place] += row[column + "_low"] <= truth[place] <= row[column + "_high"]
    assert (covered / repeats >= 0.88).all()


def test_an_interval_depends_on_its_own_category_alone() -> None:
    correct = correctness(9, 300)
    every = list(zip(*pair_indices(9), strict=True))
    whole = table(correct, category_names(9, {"reinit": every[:8], "dataset": every[8:]}))
    alone = table(correct, category_names(9, {"reinit": every[:8]}))
    assert whole.filter(pl.col("category") == "reinit").equals(alone)


def test_a_duplicate_has_no_inconsistency_and_kappa_one() -> None:
    correct = np.repeat(correctness(1, 200), 3, axis=0)
    row = table(correct, category_names(3, {"duplicate": [(0, 1), (0, 2), (1, 2)]})).row(0, named=True)
    assert (row["error_inconsistency"], row["error_inconsistency_low"], row["error_inconsistency_high"]) == (0, 0, 0)
    assert (row["kappa"], row["kappa_low"], row["kappa_high"]) == (1, 1, 1)
    assert row["reason"] == "gain_best: no pair ensembles"


def test_what_is_undefined_has_a_reason() -> None:
    correct = np.ones((3, 50), bool)
    correct[2, :30] = False
    row = table(correct, category_names(3, {"dataset": [(0, 1)], "reinit": [(0, 2), (1, 2)]})).row(1, named=True)
    assert row["kappa"] is None
    assert "kappa: no pair for which it is defined" in row["reason"]
    row = table(correct, category_names(3, {"reinit": [(0, 2), (1, 2)]})).row(0, named=True)
    assert (row["pairs"], row["pairs_matched"], row["kappa"]) == (2, 0, 0)
    assert "kappa_matched: no pair for which it is defined" in row["reason"]


def test_no_images_and_no_categories() -> None:
    row = table(np.zeros((3, 0), bool), category_names(3, {"reinit": [(0, 1), (0, 2)]})).row(0, named=True)
    assert row["error_inconsistency"] is None
    assert row["pairs"] == 2
    assert len(table(np.zeros((3, 5), bool), category_names(3, {}))) == 0
    assert len(table(np.zeros((0, 5), bool), category_names(0, {}))) == 0
