"""Zoos whose models differ along axes as the paper's do, and all that comparisons are made of."""

from __future__ import annotations

import numpy as np
import polars as pl

from overlap.analysis.consistency import PairCounts
from overlap.analysis.divergence import rasch
from overlap.analysis.divergence.measures import Compared, compared
from overlap.analysis.divergence.scores import Scores, scores
from overlap.analysis.divergence.table import divergence_table
from tests.analysis.zoo import pair_counts


def named(models: int) -> list[str]:
    return [f"m{number:02}" for number in range(models)]


def axes(reinit: int, hyper_parameters: int, architectures: int, frameworks: int, datasets: int) -> np.ndarray:
    """(4, M) codes: seeds of one recipe, then models that differ from it in more and more."""
    codes = [(0, 0, 0, 0)] * reinit
    codes += [(0, 0, 0, 1 + number) for number in range(hyper_parameters)]
    codes += [(0, 0, 1 + number, 100 + number) for number in range(architectures)]
    codes += [(0, 1 + number, 0, 200 + number) for number in range(frameworks)]
    codes += [(1 + number // 2, number % 2, number % 3, 300 + number) for number in range(datasets)]
    return np.array(codes).T


def categories(codes: np.ndarray) -> np.ndarray:
    names = np.full((codes.shape[1],) * 2, "reinit", object)
    for axis, category in ((3, "hyper_parameters"), (2, "architecture"), (1, "framework"), (0, "dataset")):
        names[codes[axis][:, None] != codes[axis]] = category
    return names


def predictions(models: int, images: int, seed: int = 0, spread: float = 0.3) -> np.ndarray:
    """Of ten classes, where class 0 is right."""
    random = np.random.default_rng(seed)
    skill = random.normal(0, spread, (models, 1))
    right = random.normal(0.8, 1, images) + skill + random.standard_normal((models, images)) > 0
    return np.where(right, 0, random.integers(1, 10, (models, images))).astype(np.int32)


def counted(prediction: np.ndarray) -> tuple[PairCounts, Scores]:
    return pair_counts(prediction, np.zeros(prediction.shape[1], np.int32)), scores(prediction == 0)


def table(prediction: np.ndarray, names: np.ndarray | None = None, *, fitted: bool = True) -> pl.DataFrame:
    counts, by_score = counted(prediction)
    fit = rasch.fit(by_score.right.sum(axis=1), by_score.images) if fitted else None
    return divergence_table(named(len(prediction)), counts, by_score, fit, categories=names)


def study(
    prediction: np.ndarray, names: np.ndarray, ensembles: pl.DataFrame | None = None, *, fitted: bool = True
) -> Compared:
    counts, by_score = counted(prediction)
    return compared(
        named(len(prediction)),
        prediction,
        np.zeros(prediction.shape[1], np.int32),
        names,
        counts,
        by_score,
        table(prediction, names, fitted=fitted),
        pair_ensembles=ensembles,
    )
