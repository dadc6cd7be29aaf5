"""Ensembles of all pairs of models, counted image by image (paper.md, 1.2 and 1.3).

Guarantees: integer counts, additive over images. Exact: an ensemble's class is the arg-max of the summed scores, the
lowest class on ties; where both models predict one class their average keeps it. All scores are calibrated out of fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration
from overlap.analysis.calibration import Calibration
from overlap.analysis.compiler import compiled
from overlap.analysis.pairs import CATEGORIES, category_numbers

Counts = NDArray[np.int64]

COMBINERS = {
    "mean_probability": calibration.probabilities,
    "mean_log_probability": calibration.log_probabilities,
}
"""Scores that an ensemble averages, by the combiner's name: calibrated probabilities, or their logarithms."""

CHUNK = 1 << 24
"""Scores held at a time: 64 MiB in float32 (at least one image of all models)."""


@dataclass(frozen=True)
class EnsembleCounts:
    """Images that the pairs of M models get right together, by what each gets right alone; additive over images.

    Attributes:
        n: images counted.
        kept: (M, M) int64 above the diagonal; both are right alone and the ensemble is.
        converted: (M, M) int64; only the row's model is right alone, and the ensemble of the two is.
        recovered: (M, M) int64 above the diagonal; both are wrong alone, the ensemble is right.
        gain: (C,) int64, by `CATEGORIES`; over images and pairs, ensemble right minus better model right.
        gain_square: (C,) int64; over images, the square of that difference summed over pairs.
    """

    n: int
    kept: Counts
    converted: Counts
    recovered: Counts
    gain: Counts
    gain_square: Counts

    def __add__(self, other: EnsembleCounts) -> EnsembleCounts:
        """The counts over the images of both."""
        return EnsembleCounts(
            self.n + other.n,
            self.kept + other.kept,
            self.converted + other.converted,
            self.recovered + other.recovered,
            self.gain + other.gain,
            self.gain_square + other.gain_square,
        )


def ensemble_counts(
    logits: Sequence[NDArray[Any]],
    calibrations: Sequence[Calibration],
    labels: NDArray[Any],
    folds: NDArray[np.int8],
    *,
    combiner: str = "mean_probability",
    right: Counts | None = None,
    categories: NDArray[np.object_] | None = None,
) -> EnsembleCounts:
    """Count one block of images for all pairs.

    Args:
        logits: M arrays (n, K) of stored logits, all of the same images and classes.
        calibrations: M, of the same models.
        labels: (n,) true classes.
        folds: (n,) calibration folds of these images.
        combiner: a key of `COMBINERS`.
        right: (M,) right answers over *all* images, which say who is the better of a pair (the first on ties);
            needed with `categories`.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal; without it no gains are summed.

    Raises:
        ValueError: models of different classes, or arrays of different numbers of images.
    """
    models, n = len(logits), len(labels)
    if {block.shape[0] for block in logits} - {n} or len({block.shape[1] for block in logits}) > 1:
        raise ValueError(f"logits of shapes {sorted({block.shape for block in logits})} for {n} labels")
    group = np.full((models, models), -1) if categories is None else category_numbers(categories)
    ranking = np.zeros(models, np.int64) if right is None else right
    kept, converted, recovered = (np.zeros((models, models), np.int64) for _ in range(3))
    gains = np.zeros((2, len(CATEGORIES)), np.int64)
    classes = logits[0].shape[1] if models else 0
    step = max(1, CHUNK // max(1, models * classes))
    buffer = np.empty((min(step, n), models, classes), np.float32)
    for start in range(0, n, step):
        images = slice(start, min(start + step, n))
        scores = buffer[: images.stop - start]
        predicted = np.empty(scores.shape[:2], np.int64)
        for model, (block, fitted) in enumerate(zip(logits, calibrations, strict=True)):
            predicted[:, model] = block[images].astype(np.float32).argmax(axis=1)
            scores[:, model] = COMBINERS[combiner](block[images], fitted.of(folds[images]))
        second = _second_largest(scores, predicted)
        answers = scores, predicted, second, labels[images]
        _count(*answers, ranking, group, kept, converted, recovered, gains)
    return EnsembleCounts(n, kept, converted, recovered, gains[0], gains[1])


def _second_largest(scores: NDArray[np.float32], predicted: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, M): the largest score of each model and image outside its predicted class (-inf with one class)."""
    place = predicted[..., None]
    largest = np.take_along_axis(scores, place, -1)
    np.put_along_axis(scores, place, -np.inf, -1)
    second: NDArray[np.float32] = scores.max(axis=-1, initial=-np.inf)
    np.put_along_axis(scores, place, largest, -1)
    return second


@compiled
def _wins(scores: NDArray[np.float32], x: int, a: int, b: int, label: int) -> bool:
    """Whether the label has the largest sum of scores, and every other class of that sum has a larger number."""
    first, second = scores[x, a], scores[x, b]
    own = np.float64(first[label]) + np.float64(second[label])
    beaten = np.int32(0)  # counted without leaving early, so that the loops become vector instructions
    for rival in range(label):
        beaten = np.int32(beaten + (np.float64(first[rival]) + np.float64(second[rival]) >= own))
    for rival in range(label + 1, len(first)):
        beaten = np.int32(beaten + (np.float64(first[rival]) + np.float64(second[rival]) > own))
    return not beaten


@compiled
def _loses(scores: NDArray[np.float32], x: int, a: int, b: int, label: int, rival: int) -> bool:
    """Whether this one rival's sum is above the label's, or equal and the rival's number lower."""
    own = np.float64(scores[x, a, label]) + np.float64(scores[x, b, label])
    other = np.float64(scores[x, a, rival]) + np.float64(scores[x, b, rival])
    return rival != label and bool(other > own or (other == own and rival < label))


@compiled
def _together(
    scores: NDArray[np.float32], second: NDArray[np.float32], x: int, a: int, b: int, top_a: int, top_b: int, label: int
) -> bool:
    """Whether the ensemble of a and b is right on image x.

    Outside the two classes predicted, no sum exceeds that of the two models' second largest scores: nearly always that
    settles it, and else all classes are looked at.
    """
    if top_a == top_b:
        return top_a == label
    if _loses(scores, x, a, b, label, top_a) or _loses(scores, x, a, b, label, top_b):
        return False
    own = np.float64(scores[x, a, label]) + np.float64(scores[x, b, label])
    return bool(own > np.float64(second[x, a]) + np.float64(second[x, b])) or _wins(scores, x, a, b, label)


@compiled
def _count(
    scores: NDArray[np.float32],
    predicted: Counts,
    second: NDArray[np.float32],
    labels: NDArray[Any],
    right: Counts,
    group: Counts,
    kept: Counts,
    converted: Counts,
    recovered: Counts,
    gains: Counts,
) -> None:
    gain = np.zeros(gains.shape[1], np.int64)
    for x in range(len(labels)):
        y = labels[x]
        gain[:] = 0
        for a in range(scores.shape[1]):
            for b in range(a + 1, scores.shape[1]):
                top_a, top_b = predicted[x, a], predicted[x, b]
                together = _together(scores, second, x, a, b, top_a, top_b, y)
                if together:
                    if top_a == y and top_b == y:
                        kept[a, b] += 1
                    elif top_a == y:
                        converted[a, b] += 1
                    elif top_b == y:
                        converted[b, a] += 1
                    else:
                        recovered[a, b] += 1
                if group[a, b] >= 0:
                    better = top_a if right[a] >= right[b] else top_b
                    gain[group[a, b]] += np.int64(together) - np.int64(better == y)
        gains[0] += gain
        gains[1] += gain * gain
