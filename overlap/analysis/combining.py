"""Ensembles of all pairs of models, counted image by image (paper.md, 1.2 and 1.3).

Guarantees: integer counts, additive over images. Exact: an ensemble's class is the arg-max of the summed scores, the
lowest class on ties; where both models predict one class their average keeps it, so only disagreements are scored. What
is calibrated is so out of fold, and the result of a pair does not depend on which other models there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import Calibration
from overlap.analysis.consistency import joint_counts
from overlap.analysis.ensembles import settling
from overlap.analysis.ensembles.floats import widened
from overlap.analysis.pairs import CATEGORIES, category_numbers
from overlap.analysis.splits import FOLDS

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

TWO_TEMPERATURES = "two_temperatures"
COMBINERS = {
    "mean_probability": (settling.PROBABILITY, True),
    "mean_log_probability": (settling.LOG, True),
    "mean_probability_uncalibrated": (settling.PROBABILITY, False),
    "mean_log_probability_uncalibrated": (settling.LOG, False),
    TWO_TEMPERATURES: (settling.WEIGHTED, False),
}
"""What an ensemble sums, and whether each model's own temperature calibrates it before.

The first four average probabilities or their logarithms. `two_temperatures` is softmax(z_a / T_a + z_b / T_b) with both
temperatures fitted together (Asymmetric Duos; see `ensembles.temperatures`).
"""

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


@dataclass(frozen=True)
class CombinerCounts:
    """The counts of several combiners over the same images; additive over images."""

    of: dict[str, EnsembleCounts]

    def __add__(self, other: CombinerCounts) -> CombinerCounts:
        """The counts over the images of both."""
        return CombinerCounts({name: counts + other.of[name] for name, counts in self.of.items()})


def count_ensembles(
    logits: Sequence[NDArray[Any]],
    calibrations: Sequence[Calibration],
    labels: NDArray[Any],
    folds: NDArray[np.int8],
    *,
    combiners: Sequence[str] = tuple(COMBINERS),
    weights: Fractions | None = None,
    right: Counts | None = None,
    categories: NDArray[np.object_] | None = None,
) -> CombinerCounts:
    """Count one block of images for all pairs and some combiners, reading each logit once.

    Args:
        logits: M arrays (n, K) of stored logits, all of the same images and classes.
        calibrations: M, of the same models.
        labels: (n,) true classes, or (n, L) accepted ones (see `truths`).
        folds: (n,) calibration folds of these images.
        combiners: keys of `COMBINERS`.
        weights: (5, M, M), >= 0: 1 / T by fold of the row's model when it is paired with the column's; needed for
            `two_temperatures` (`temperatures.PairFits.weights`).
        right: (M,) right answers over *all* images, which say who is the better of a pair (the first on ties);
            needed with `categories`.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal; without it no gains are summed.

    Raises:
        ValueError: models of different classes, arrays of different numbers of images, or no weights where needed.
    """
    models, n = len(logits), len(labels)
    if {block.shape[0] for block in logits} - {n} or len({block.shape[1] for block in logits}) > 1:
        raise ValueError(f"logits of shapes {sorted({block.shape for block in logits})} for {n} labels")
    if weights is None and TWO_TEMPERATURES in combiners:
        raise ValueError(f"{TWO_TEMPERATURES} needs the weights of all pairs")
    if weights is not None and (weights.shape != (FOLDS, models, models) or not (weights >= 0).all()):
        raise ValueError(f"weights of shape {weights.shape} for {models} models, or some below 0")
    group = np.full((models, models), -1) if categories is None else category_numbers(categories)
    group[group < 0] = len(CATEGORIES)  # summed too, and left out in the end
    ranking = np.zeros(models, np.int64) if right is None else np.array(right, np.int64)
    kinds = np.array([COMBINERS[name][0] for name in combiners], np.int64)
    calibrated = np.array([COMBINERS[name][1] for name in combiners], np.bool_)
    # copies, since read-only memory would be another type to compile for
    accepted, folds = np.array(truths.accepted(labels), order="C"), np.array(folds, np.int8)
    pair_weights = np.zeros((FOLDS, 1, 1)) if weights is None else np.array(weights, order="C")
    lost, converted, recovered = (np.zeros((len(combiners), models, models), np.int64) for _ in range(3))
    gains = np.zeros((len(combiners), 2, len(CATEGORIES) + 1), np.int64)
    predicted = np.empty((n, models), np.int32)

    step = max(1, CHUNK // max(1, sum(block.shape[1] for block in logits)))
    z = np.empty((min(step, n), models, logits[0].shape[1] if models else 0), np.float32)
    for start in range(0, n if models else 0, step):
        images = slice(start, min(start + step, n))
        size = images.stop - start
        temperature, normaliser = np.ones((2, size, models)), np.zeros((2, size, models))
        for model, (block, fitted) in enumerate(zip(logits, calibrations, strict=True)):
            row = widened(block[images])
            predicted[images, model] = row.argmax(axis=1)
            row -= np.take_along_axis(row, predicted[images, model, None], axis=1)
            z[:size, model] = row
            temperature[1, :, model] = fitted.of(folds[images])
            for one in {int(own) for own, kind in zip(calibrated, kinds, strict=True) if kind == settling.PROBABILITY}:
                normaliser[one, :, model] = _log_sum(row, temperature[one, :, model])
        settling.count(
            z[:size],
            predicted[images],
            accepted[images],
            folds[images],
            kinds,
            1 / temperature[calibrated.astype(int)],
            normaliser[calibrated.astype(int)],
            pair_weights,
            ranking,
            group,
            lost,
            converted,
            recovered,
            gains,
        )
    correct = truths.right(predicted.T, labels)
    both = np.triu(joint_counts(correct, correct), 1)
    return CombinerCounts(
        {
            name: EnsembleCounts(n, both - lost[k], converted[k], recovered[k], gains[k, 0, :-1], gains[k, 1, :-1])
            for k, name in enumerate(combiners)
        }
    )


def ensemble_counts(
    logits: Sequence[NDArray[Any]],
    calibrations: Sequence[Calibration],
    labels: NDArray[Any],
    folds: NDArray[np.int8],
    *,
    combiner: str = "mean_probability",
    weights: Fractions | None = None,
    right: Counts | None = None,
    categories: NDArray[np.object_] | None = None,
) -> EnsembleCounts:
    """Those of one combiner; arguments and errors are those of `count_ensembles`."""
    counts = count_ensembles(
        logits,
        calibrations,
        labels,
        folds,
        combiners=(combiner,),
        weights=weights,
        right=right,
        categories=categories,
    )
    return counts.of[combiner]


def _log_sum(z: NDArray[np.float32], temperature: Fractions) -> Fractions:
    """log of the sum of exp(z / T), (n,), for rows whose largest is 0."""
    odds = z / temperature.astype(np.float32)[:, None]
    np.exp(odds, out=odds)
    return np.asarray(np.log(odds.sum(axis=1), dtype=np.float64))
