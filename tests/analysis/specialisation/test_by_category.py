"""Means over categories: the jackknife against leaving parts out by hand, coverage of the truth, reasons for nulls."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overlap.analysis.pairs import frame
from overlap.analysis.specialisation.by_category import (
    SCHEMA,
    jackknife_variance,
    specialisation_categories,
)
from overlap.analysis.specialisation.groups import ClassGroups
from overlap.analysis.specialisation.spread import SCHEMA as PAIRS
from overlap.analysis.specialisation.spread import STATISTICS, Specialisation, specialisation
from tests.analysis.specialisation.confidences import categories_of, zoo

GROUPS = ClassGroups(("even", "odd"), np.array([0, 1, 0, 1], np.int32))


def names(models: int) -> list[str]:
    return [f"m{model:02}" for model in range(models)]


def test_means_are_of_the_pairs_that_have_a_value_and_intervals_hold_them() -> None:
    confidence, correct, labels = zoo(9, 300, 4)
    correct[0] = True
    found = specialisation(names(9), confidence, correct, labels, categories_of(9), GROUPS)
    table = specialisation_categories(names(9), found.table, found.without)
    assert dict(table.schema) == SCHEMA
    assert table["category"].to_list() == ["reinit", "hyper_parameters", "architecture"]
    for row in table.iter_rows(named=True):
        pairs = found.table.filter(pl.col("category") == row["category"])
        assert (row["pairs"], row["models"]) == (len(pairs), len({*pairs["model_a"], *pairs["model_b"]}))
        for statistic in STATISTICS:
            assert row[statistic] == pytest.approx(pairs[statistic].mean())
            assert row[f"{statistic}_low"] < row[statistic] < row[f"{statistic}_high"]
        assert row["reason"] is None
    assert specialisation_categories(names(9), found.table, found.without).equals(table), "no chance in it"


def test_the_jackknife_of_a_mean_is_its_variance() -> None:
    random = np.random.default_rng(0)
    image = random.normal(0, 1, (3, 400))
    part = np.arange(400) % 20
    without = np.stack([image[:, part != number].mean(axis=1) for number in range(20)], axis=1)
    by_part = [np.mean(image[:, part == number]) for number in range(20)]
    assert jackknife_variance(image.mean(axis=1), without) == pytest.approx(np.var(by_part, ddof=1) / 20)
    nothing = np.full((1, 20), np.nan)
    assert jackknife_variance(np.ones(1), nothing) == jackknife_variance(np.ones(1), np.ones((1, 1))) == 0
    one_unknown = np.concatenate([without, nothing])
    values = np.append(image.mean(axis=1), 5.0)
    assert jackknife_variance(values, one_unknown) == pytest.approx(jackknife_variance(values[:3], without) * 9 / 16)


def drawn(models: int, images: int, random: np.random.Generator) -> Specialisation:
    """Models with a surety of their own for each of 30 classes, on images at random; all pairs are reinits."""
    labels = random.integers(0, 30, images).astype(np.int32)
    own = random.normal(0, 0.1, (models, 30))
    log = own[:, labels] + random.normal(0, 0.2, (models, images)) - 1.2
    correct = random.random((models, images)) < 0.7
    categories = np.full((models, models), "reinit", np.object_)
    return specialisation(names(models), np.exp(log), correct, labels, categories)


def test_intervals_cover_the_mean_of_the_population_of_models_and_images() -> None:
    random = np.random.default_rng(11)
    truth = drawn(80, 20_000, random).table["class_spread"].mean()
    covered, rounds = 0, 150
    for _ in range(rounds):
        found = drawn(8, 900, random)
        (row,) = specialisation_categories(names(8), found.table, found.without).iter_rows(named=True)
        covered += row["class_spread_low"] < truth < row["class_spread_high"]
    assert 0.89 <= covered / rounds <= 0.995, "95% with a standard error of 2%"


def test_what_has_no_value_or_interval_says_why() -> None:
    confidence, correct, labels = zoo(4, 200, 4)
    correct[2:] = True
    categories = np.full((4, 4), None, np.object_)
    categories[0, 1], categories[2, 3] = "reinit", "dataset"
    found = specialisation(names(4), confidence, correct, labels, categories)
    one, perfect = specialisation_categories(names(4), found.table, found.without).iter_rows(named=True)
    assert (one["category"], one["pairs"], one["theta_separation_low"]) == ("reinit", 1, None)
    assert one["theta_separation"] is not None
    assert one["reason"] == (
        "theta_separation: one pair has no interval over models; class_spread: one pair has no interval over models; "
        "group_spread: no groups, or no two of them with two classes"
    )
    assert perfect["theta_separation"] is None
    assert perfect["reason"].startswith("theta_separation: no pair of which each model alone is right somewhere; class")


def test_without_pairs_there_is_no_row() -> None:
    empty = frame({name: [] for name in PAIRS}, PAIRS)
    assert specialisation_categories([], empty, np.empty((0, 20, 3))).is_empty()
    with pytest.raises(ValueError, match="0 pairs in the table, 1 without"):
        specialisation_categories([], empty, np.empty((1, 20, 3)))
