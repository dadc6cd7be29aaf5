"""Theta, the angle in the plane of two models' confidences, and its histograms by category (paper.md, 1.4).

theta = atan2(c_1, c_2) - 45 degrees = atan((c_1 - c_2) / (c_1 + c_2)), c the calibrated probability of what a model
predicts: from -45 to 45 degrees, positive where model 1 is more confident. The paper gives no formula; this is ours.

Theta is held in whole units of 1/512 degree (the arc tangent is Abramowitz & Stegun 4.4.49, in float32, off by less
than one unit). Guarantees: it changes sign with the order of the two, equal confidences give exactly 0, and sums and
histograms are of integers, so that blocks of images and ranges of pairs can be counted anywhere and added in any order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.pairs import CATEGORIES, Categories, category_numbers, frame
from overlap.analysis.some_pairs import SomePairs, taken

Counts = NDArray[np.int64]
Confidences = NDArray[np.float32]

UNITS: Final = 512
"""Of theta in a degree."""

BINS: Final = 45
"""Of 2 degrees: an odd number, so that images of equal confidence lie in the middle of one and not at an edge."""

BIN_UNITS: Final = 2 * UNITS

SPLITS: Final = ("consistent", "only_1", "only_2")
"""Both right or both wrong, only model 1 right, only model 2; model 1 is the more accurate of the pair."""

IMAGES: Final = 2048
"""Images whose angles are computed together: they stay in the first-level cache."""

SCHEMA: dict[str, pl.DataType] = {
    "category": pl.String(),
    "split": pl.String(),
    "bin": pl.Int64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "count": pl.Int64(),
}


def checked(confidence: NDArray[Any], correct: NDArray[Any]) -> tuple[Confidences, NDArray[np.uint8]]:
    """Both arrays (M, n) as the kernels take them.

    Raises:
        ValueError: shapes differ, or a confidence is not in (0, 1].
    """
    if confidence.ndim != 2 or confidence.shape != correct.shape:
        raise ValueError(f"confidences of shape {confidence.shape} for correctness of shape {correct.shape}")
    confidence = np.ascontiguousarray(confidence, np.float32)
    if confidence.size and not (confidence.min() > 0 and confidence.max() <= 1.0001):
        raise ValueError(f"confidences from {confidence.min()} to {confidence.max()} are no probabilities above 0")
    return confidence, np.ascontiguousarray(correct, np.uint8)


def theta_counts(
    confidence: NDArray[Any],
    correct: NDArray[Any],
    right: NDArray[Any],
    categories: Categories | None = None,
    *,
    rows: slice = slice(None),
    pairs: SomePairs | None = None,
) -> Counts:
    """Histograms of theta over pairs × images: additive over blocks of images and over ranges of pairs.

    Args:
        confidence: (M, n) calibrated probability of each model's prediction, of models with logits only.
        correct: (M, n) zeros and ones.
        right: (M,) right answers over all blocks: the more accurate model of a pair is model 1, the first where equal.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal.
        rows: the range of pairs to count.
        pairs: which that is a range of; without them of all.

    Returns:
        int64 (categories + 1, splits, bins); the last category is that of pairs without one.

    Raises:
        ValueError: shapes differ, or confidences are no probabilities.
    """
    confidence, held = checked(confidence, correct)
    first, second = taken(len(confidence), rows, pairs)
    numbers = np.full(len(first), -1) if categories is None else category_numbers(categories[first, second])
    swapped = right[second] > right[first]
    one, two = np.where(swapped, second, first), np.where(swapped, first, second)
    counts = np.zeros((len(CATEGORIES) + 1, len(SPLITS), BINS), np.int64)
    _count(confidence, held, one, two, numbers % len(counts), counts)
    return counts


def theta_table(counts: Counts) -> pl.DataFrame:
    """The histograms with the columns of `SCHEMA`: every bin of each category that has an image, split by split."""
    used = np.flatnonzero(counts.sum(axis=(1, 2)))
    shape = (len(used), len(SPLITS), BINS)
    names = np.array([*CATEGORIES, None], np.object_)[used]
    low = np.arange(BINS) * (BIN_UNITS / UNITS) - 45
    return frame(
        {
            "category": np.broadcast_to(names[:, None, None], shape).ravel(),
            "split": np.broadcast_to(np.array(SPLITS, np.object_)[:, None], shape).ravel(),
            "bin": np.broadcast_to(np.arange(BINS), shape).ravel(),
            "low": np.broadcast_to(low, shape).ravel(),
            "high": np.broadcast_to(low + BIN_UNITS / UNITS, shape).ravel(),
            "count": counts[used].ravel(),
        },
        SCHEMA,
    )


@compiled
def angles(first: Confidences, second: Confidences, found: NDArray[np.int32]) -> None:
    """Theta of each image in units of 1/512 degree, into `found`; arrays (n,) and confidences above 0."""
    for x in range(len(found)):
        slope = np.divide(first[x] - second[x], first[x] + second[x])  # unlike /, checks for no zero at every step
        square = slope * slope
        series = np.float32(0.0028662257)
        series = series * square - np.float32(0.0161657367)
        series = series * square + np.float32(0.0429096138)
        series = series * square - np.float32(0.0752896400)
        series = series * square + np.float32(0.1065626393)
        series = series * square - np.float32(0.1420889944)
        series = series * square + np.float32(0.1999355085)
        series = series * square - np.float32(0.3333314528)
        series = series * square + np.float32(1)
        units = slope * series * np.float32(29335.438)  # 512 * 180 / pi
        found[x] = np.int32(units + (np.float32(0.5) if units >= np.float32(0) else np.float32(-0.5)))


@compiled
def _count(
    confidence: Confidences,
    correct: NDArray[np.uint8],
    one: Counts,
    two: Counts,
    category: Counts,
    counts: Counts,
) -> None:
    images = confidence.shape[1]
    found = np.empty(IMAGES, np.int32)
    # both models' right answers in two bits above the bin; two tallies in turn, as equal images follow each other
    tally = np.zeros((2, 256), np.int64)
    for pair in range(len(one)):
        tally[:] = 0
        for start in range(0, images, IMAGES):
            block = found[: min(IMAGES, images - start)]
            angles(confidence[one[pair], start : start + IMAGES], confidence[two[pair], start : start + IMAGES], block)
            right_one = correct[one[pair], start : start + IMAGES]
            right_two = correct[two[pair], start : start + IMAGES]
            for x in range(len(block)):
                place = min((block[x] + np.int32(45 * UNITS)) >> np.int32(10), np.int32(BINS - 1))
                block[x] = place | (np.int32(right_one[x]) << np.int32(6)) | (np.int32(right_two[x]) << np.int32(7))
            for x in range(0, len(block) - 1, 2):
                tally[0, block[x]] += 1
                tally[1, block[x + 1]] += 1
            if len(block) % 2:
                tally[0, block[len(block) - 1]] += 1
        of_category = counts[category[pair]]
        for place in range(BINS):
            both = tally[0] + tally[1]
            of_category[0, place] += both[place] + both[192 | place]
            of_category[1, place] += both[64 | place]
            of_category[2, place] += both[128 | place]
