"""Classes, and groups of them, on which a model is better or worse than its ability and their difficulty account for.

Right answers of a model on a class are compared with what `additive` expects from how many models get each of its
images right. Given those numbers images are independent, each with its own chance: the count is Poisson-binomial.
z is the difference over its standard deviation, less the part that the class itself has in the model's ability. The
two-sided p-value is exact (twice the smaller tail) below a variance of `NORMAL`, else z's; q-values are Benjamini and
Hochberg's (1995) over the whole table, which controls the share of false discoveries for independent cells and nearly
so for these, that are dependent through both margins.

Guarantees: every figure is a function of counts, in whatever order images come. Where all images of a cell are right,
or wrong, for every model there is nothing to be better at: z, p and q are null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from overlap.analysis import truths
from overlap.analysis.compiler import compiled
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import check_axis, frame, ratio
from overlap.analysis.specialisation.additive import chances, scores
from overlap.analysis.specialisation.groups import NONE, ClassGroups

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

NORMAL: Final = 25.0
"""Variance of a count from which it is taken as normal."""

LONGEST: Final = 1000
"""Images from which it is too, whatever the variance."""

LEAST: Final = 1e-6
"""Variance up to which a count is taken as certain: of a model always right, as far as its ability was fitted."""

CLASS_SCHEMA: dict[str, pl.DataType] = {
    "model": pl.String(),
    "class": pl.Int64(),
    "name": pl.String(),
    "group": pl.String(),
    "n": pl.Int64(),
    "right": pl.Int64(),
    "accuracy": pl.Float64(),
    "expected": pl.Float64(),
    "score": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "best_of_zoo": pl.Boolean(),
}

GROUP_SCHEMA: dict[str, pl.DataType] = {
    "model": pl.String(),
    "group": pl.String(),
    "n": pl.Int64(),
    "right": pl.Int64(),
    "accuracy": pl.Float64(),
    "expected": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
}


def class_scores(
    models: Sequence[str],
    correct: NDArray[Any],
    labels: NDArray[Any],
    names: Sequence[str] = (),
    groups: ClassGroups | None = None,
) -> pl.DataFrame:
    """One row per model and class that has an image, with the columns of `CLASS_SCHEMA`.

    `expected` is an accuracy. `best_of_zoo` is true for the model that gets most images of the class right, and for
    each where several do; where all models tie, as in a zoo of one, nobody is the best.

    Args:
        models: M names in ascending order; those without logits too.
        correct: (M, N) zeros and ones.
        labels: (N,) true classes, or (N, L) accepted ones: the first stands for the image.
        names: of the classes, by number.
        groups: of the classes.

    Raises:
        ValueError: arrays do not fit, or names are not ascending.
    """
    classes, place = np.unique(_labels(models, correct, labels), return_inverse=True)
    right, table, n = _cells(correct, place, len(classes))
    expected, variance, left = _moments(table, n)
    z = ratio(right - expected, np.sqrt(left))
    p = _p_values(right, expected, variance, z, table, n)
    best = (right == right.max(axis=0, initial=0)) & (
        right.max(axis=0, initial=0) > right.min(axis=0, initial=len(place))
    )
    shape = right.shape
    named = np.array([names[number] if names else None for number in classes], np.object_)
    in_group = np.array([*(() if groups is None else groups.names), None], np.object_)
    of_class = np.full(len(classes), NONE) if groups is None else groups.of(classes)
    sizes = n.sum(axis=1)
    return frame(
        {
            "model": np.repeat(np.array(models, np.object_), len(classes)),
            "class": np.broadcast_to(classes.astype(np.int64), shape).ravel(),
            "name": np.broadcast_to(named, shape).ravel(),
            "group": np.broadcast_to(in_group[of_class], shape).ravel(),
            "n": np.broadcast_to(sizes, shape).ravel(),
            "right": right.ravel(),
            "accuracy": ratio(right, sizes).ravel(),
            "expected": ratio(expected, sizes).ravel(),
            "score": z.ravel(),
            "p_value": p.ravel(),
            "q_value": discovery_rates(p.ravel()),
            "best_of_zoo": best.ravel(),
        },
        CLASS_SCHEMA,
    )


def group_scores(
    models: Sequence[str], correct: NDArray[Any], labels: NDArray[Any], groups: ClassGroups
) -> pl.DataFrame:
    """One row per model and group that has an image, with the columns of `GROUP_SCHEMA`.

    `difference` is the accuracy less what is expected, with its 95% interval over images. Those whose class has no
    group have no row, but are among what abilities are fitted on. Arguments and errors are those of `class_scores`.
    """
    of_image = groups.of(_labels(models, correct, labels))
    held = np.flatnonzero(of_image != NONE)
    present, place = np.unique(of_image[held], return_inverse=True)
    # abilities are fitted on all images: those without a group stand last, and are dropped
    whole = np.full(len(of_image), len(present))
    whole[held] = place
    right, table, n = _cells(correct, whole, len(present) + 1)
    expected, variance, left = (values[:, :-1] for values in _moments(table, n))
    right, n = right[:, :-1], n[:-1]
    z = ratio(right - expected, np.sqrt(left))
    p = _p_values(right, expected, variance, z, table, n)
    sizes, shape = n.sum(axis=1), right.shape
    difference = ratio(right - expected, sizes)
    half = np.where(left > 0, Z * np.sqrt(left), np.nan) / np.maximum(sizes, 1)
    return frame(
        {
            "model": np.repeat(np.array(models, np.object_), len(present)),
            "group": np.broadcast_to(np.array(groups.names, np.object_)[present], shape).ravel(),
            "n": np.broadcast_to(sizes, shape).ravel(),
            "right": right.ravel(),
            "accuracy": ratio(right, sizes).ravel(),
            "expected": ratio(expected, sizes).ravel(),
            "difference": difference.ravel(),
            "low": np.maximum(difference - half, -1).ravel(),
            "high": np.minimum(difference + half, 1).ravel(),
            "p_value": p.ravel(),
            "q_value": discovery_rates(p.ravel()),
        },
        GROUP_SCHEMA,
    )


def discovery_rates(p: Fractions) -> Fractions:
    """Benjamini and Hochberg's adjusted p-values, (n,); NaN stays NaN and counts for nothing."""
    found = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return found


def _labels(models: Sequence[str], correct: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
    check_axis(models, len(correct))
    if correct.ndim != 2 or correct.shape[1] != len(labels):
        raise ValueError(f"{len(labels)} labels for correctness of shape {correct.shape}")
    return truths.primary(labels)


def _cells(correct: NDArray[Any], place: Indices, cells: int) -> tuple[Indices, Fractions, Indices]:
    """Right answers (M, cells), chances (M, M + 1), and images of each cell by score (cells, M + 1)."""
    models = len(correct)
    right = (
        np.stack([np.bincount(place[row.astype(bool)], minlength=cells) for row in correct])
        if models
        else (np.zeros((0, cells), np.int64))
    )
    n = np.bincount(place * (models + 1) + scores(correct), minlength=cells * (models + 1)).reshape(cells, models + 1)
    return right, chances(right.sum(axis=1), n.sum(axis=0)), n


def _moments(table: Fractions, n: Indices) -> tuple[Fractions, Fractions, Fractions]:
    """Expected right answers (M, cells), their variance, and what is left of it as the cell is part of the ability."""
    images = n.T.astype(np.float64)
    expected = (table @ images).round(9)  # as `chances`, for the number of threads
    variance = (table * (1 - table) @ images).round(9)
    part = ratio(variance, variance.sum(axis=1, keepdims=True))
    return expected, variance, np.where((part < 1) & (variance > LEAST), variance * (1 - part), 0.0)


def _p_values(
    right: Indices, expected: Fractions, variance: Fractions, z: Fractions, table: Fractions, n: Indices
) -> Fractions:
    """Two-sided, (M, cells); NaN where nothing can vary."""
    p: Fractions = 2 * ndtr(-np.abs(z))  # NaN where z is
    uncertain = n[:, 1:-1].sum(axis=1)
    exact = ~np.isnan(z) & (variance < NORMAL) & (uncertain <= LONGEST)
    models, cells = np.nonzero(exact)
    tails = np.empty(len(models))
    _tails(right, table, n, models, cells, tails)
    p[models, cells] = np.minimum(2 * tails, 1)
    return p


@compiled
def _tails(right: Indices, table: Fractions, n: Indices, models: Indices, cells: Indices, tails: Fractions) -> None:
    """The smaller of P(X <= right) and P(X >= right), each by the recursion of the Poisson-binomial distribution."""
    top = n.shape[1] - 1
    for place in range(len(models)):
        model, cell = models[place], cells[place]
        chance = np.zeros(LONGEST + 2)
        chance[0] = 1.0
        seen = 0
        for score in range(1, top):
            p = table[model, score]
            for _ in range(n[cell, score]):
                seen += 1
                for k in range(seen, 0, -1):
                    chance[k] = chance[k] * (1 - p) + chance[k - 1] * p
                chance[0] *= 1 - p
        observed = right[model, cell] - n[cell, top]
        below, above = 0.0, 0.0
        for k in range(observed + 1):
            below += chance[k]
        for k in range(observed, seen + 1):
            above += chance[k]
        tails[place] = min(below, above)
