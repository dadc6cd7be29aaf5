"""NLL and calibration error of the ensembles of pairs on a sample of images, and the weights of `two_temperatures`.

Guarantees: exact softmax over all classes; everything out of fold; a pair's figures depend on its two models and the
sample alone, whatever other pairs they are made with. Sums are float32 within an image, float64 over images. The
calibration error is that of `calibration.calibration_error`: 15 bins of equal mass, and equal confidences share their
mean accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.blocks import Block
from overlap.analysis.combining import COMBINERS, TWO_TEMPERATURES
from overlap.analysis.ensembles import duets, temperatures
from overlap.analysis.ensembles.lanes import Lanes, lanes
from overlap.analysis.pairs import pair_count
from overlap.analysis.some_pairs import OfPairs, SomePairs, Square
from overlap.analysis.splits import FOLDS

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class SoftScores:
    """What P pairs give on the sample; it depends on the two models of each alone.

    Attributes:
        n: images of the sample.
        nll: (combiners, P) float64, in the order of `COMBINERS`; nats. NaN without images.
        ece: (combiners, P) float64, likewise.
        weights: (P, 5, 2) float64; 1 / T by fold of the first and of the second model.
    """

    n: int
    nll: Fractions
    ece: Fractions
    weights: Fractions


@dataclass(frozen=True)
class PairScores:
    """Of all pairs of M models, or of some.

    Attributes:
        n: images of the sample.
        nll: mean negative log probability of the accepted classes by combiner, (M, M) above the diagonal; nats.
        ece: calibration error likewise.
    """

    n: int
    nll: dict[str, Square]
    ece: dict[str, Square]

    @classmethod
    def of(cls, n: int, models: int, first: Counts, second: Counts, nll: Fractions, ece: Fractions) -> PairScores:
        """From (combiners, P) figures of the pairs first < second, all or some in their order."""
        if len(first) < pair_count(models):
            some = SomePairs(models, first, second)
            nlls, eces = (
                {name: OfPairs(some, row) for name, row in zip(COMBINERS, each, strict=True)} for each in (nll, ece)
            )
            return cls(n, {**nlls}, {**eces})
        figures = np.full((2, len(COMBINERS), models, models), np.nan)
        figures[0][:, first, second], figures[1][:, first, second] = nll, ece
        by_name = [dict(zip(COMBINERS, each, strict=True)) for each in figures]
        return cls(n, by_name[0], by_name[1])


def score_pairs(parts: Sequence[Block], first: Counts, second: Counts) -> SoftScores:
    """Fit and score some pairs.

    Args:
        parts: the sample, in the order of the images (`lanes.sampled` of every block, or any grouping of these).
        first, second: (P,) models of the pairs.

    Raises:
        ValueError: models of different numbers of classes.
    """
    models = sorted({*first.tolist(), *second.tolist()})
    n = sum(len(part.labels) for part in parts)
    nll, ece = np.full((2, len(COMBINERS), len(first)), np.nan)
    if not models or not parts:
        return SoftScores(n, nll, ece, np.full((len(first), FOLDS, 2), np.nan))
    calibrations = [parts[0].calibrations[model] for model in models]
    inverse = np.array([[1 / fitted.temperature, *(1 / fitted.fold_temperatures)] for fitted in calibrations])
    a, b = np.searchsorted(models, first), np.searchsorted(models, second)
    laid = lanes(parts, models)
    fitted = _fitted(laid, inverse, a, b)
    if n:
        for place, (name, (kind, calibrated)) in enumerate(COMBINERS.items()):
            own = inverse[:, 1:] if calibrated else np.ones((len(models), FOLDS))
            halves = np.stack([own[a], own[b]], axis=2) / 2
            pair_weights = fitted if name == TWO_TEMPERATURES else halves
            nll[place], ece[place] = duets.scores(laid, kind, own, pair_weights, a, b).round(12)
    return SoftScores(n, nll, ece, fitted)


def _fitted(laid: Lanes, inverse: Fractions, first: NDArray[np.int64], second: NDArray[np.int64]) -> Fractions:
    """(P, 5, 2): the weights of each pair; half of what calibrates each model alone where no image can fit them."""
    single = (laid.accepted[:, :, 1:] < 0).all(axis=2)
    label = np.where(single, laid.accepted[:, :, 0], -1).astype(np.int32)
    weights = np.empty((len(first), FOLDS, 2))
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        temperatures.fit(laid.z[a], laid.z[b], label, laid.folds, inverse[a] / 2, inverse[b] / 2, weights[place])
    return weights
