"""Mean average precision at 11 recalls, as Pascal VOC 2007 measures it (Everingham et al. 2010), and its resamples.

The average precision of a class is the mean over recalls 0, 0.1 … 1 of the best precision at that recall or above,
images taken by descending score. Guarantees: images of one score come together, so their order is without effect
(VOC's own programs leave it to the sort). A class of which no image is positive has no average precision, and the mean
leaves it out. Recalls are compared as integers: exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Fractions = NDArray[np.float64]
Weights = NDArray[np.int32]

DRAWS = 1000
"""Resamples of the images."""


@dataclass(frozen=True)
class Precision:
    """Mean average precision of one set of scores.

    Attributes:
        value: over the classes that have a positive image; NaN where none has.
        drawn: (draws,) the same on each resample of the images; NaN as above.
        classes: that have a positive image.
        absent: that have none.
    """

    value: float
    drawn: Fractions
    classes: int
    absent: int


def resamples(images: int, draws: int = DRAWS) -> Weights:
    """(draws, N) how often each image comes in each bootstrap sample; the same for all scores of as many images."""
    random = np.random.default_rng(images)
    if not images:
        return np.zeros((draws, 0), np.int32)
    return np.stack(
        [np.bincount(random.integers(0, images, images), minlength=images).astype(np.int32) for _ in range(draws)]
    )


def mean_average_precision(scores: NDArray[np.float32], positive: NDArray[np.bool_], drawn: Weights) -> Precision:
    """Over all classes, on the images and on every resample.

    Args:
        scores: (N, K) finite.
        positive: (N, K) whether the class holds of the image.
        drawn: (draws, N) from `resamples`.
    """
    weights = np.vstack([np.ones((1, len(scores)), np.int32), drawn])
    present = np.flatnonzero(positive.any(axis=0))
    found = np.full((len(present), len(weights)), np.nan)
    for row, column in enumerate(present):
        order = np.argsort(-scores[:, column], kind="stable")
        ordered = scores[order, column]
        last = np.append(ordered[1:] != ordered[:-1], True)
        _average_precision(weights, order, last, positive[order, column], found[row])
    held = ~np.isnan(found)
    counted = held.sum(axis=0)
    total = np.where(held, found, 0).sum(axis=0)
    means = np.divide(total, counted, out=np.full(len(weights), np.nan), where=counted > 0)
    return Precision(float(means[0]), means[1:], len(present), scores.shape[1] - len(present))


@compiled
def _average_precision(
    weights: Weights,
    order: NDArray[np.int64],
    last: NDArray[np.bool_],
    positive: NDArray[np.bool_],
    found: Fractions,
) -> None:
    """For each row of weights (draws, N) the average precision of the images in order; NaN without a positive one.

    `last` marks the last image of each score, `positive` the true ones, both in order.
    """
    best = np.empty(11)
    for draw in range(len(weights)):
        total = 0
        for place in range(len(order)):
            if positive[place]:
                total += weights[draw, order[place]]
        if not total:
            continue
        best[:] = 0
        true, seen, counted = 0, 0, 0
        for place in range(len(order)):
            weight = weights[draw, order[place]]
            seen += weight
            if positive[place]:
                true += weight
            if last[place] and true > counted:  # precision only falls between positive images
                counted = true
                for tenth in range(11):
                    if 10 * true >= tenth * total:
                        best[tenth] = max(best[tenth], true / seen)
        found[draw] = best.sum() / 11
