"""What the ensemble of two models gives each image of a sample: its confidence, and the likelihood of the truth.

Guarantees: exact softmax over all classes; where both models predict one class it is the ensemble's, else the arg-max
of float32 sums, the lowest class on ties. Sums are float32 within an image, float64 over images.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.calibration import BINS
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.floats import exponential
from overlap.analysis.ensembles.lanes import Lanes
from overlap.analysis.ensembles.settling import PROBABILITY

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]
Singles = NDArray[np.float32]

TOGETHER = 1 << 24
"""Confidences held at a time: 64 MiB."""


def scores(laid: Lanes, kind: int, inverse: Fractions, weights: Fractions, first: Counts, second: Counts) -> Fractions:
    """Score P pairs by one combiner.

    Args:
        laid: the sample as m models see it, with at least one image.
        kind: `settling.PROBABILITY` for the mean of softmax(z * inverse); else softmax(z_a w_a + z_b w_b).
        inverse: (m, 5) 1 / T by model and fold.
        weights: (P, 5, 2) by pair and fold.
        first: (P,) first model of each pair.
        second: (P,) second model.

    Returns:
        (2, P): NLL in nats, and calibration error.
    """
    n = int(laid.sizes.sum())
    found = np.empty((2, len(first)))
    step = max(1, TOGETHER // n)
    for start in range(0, len(first), step):
        pairs = slice(start, start + step)
        confidence = np.empty((len(first[pairs]), n), np.float32)
        found[0, pairs] = 0
        _score(
            laid.z,
            laid.top,
            laid.folds,
            laid.sizes,
            laid.accepted,
            kind,
            inverse,
            weights[pairs],
            first[pairs],
            second[pairs],
            confidence,
            found[0, pairs],
        )
        _calibration_errors(confidence, found[1, pairs])
    found[0] /= -n
    return found


@compiled
def _score(
    z: Singles,
    top: NDArray[np.int32],
    folds: Counts,
    sizes: Counts,
    accepted: NDArray[np.int32],
    kind: int,
    inverse: Fractions,
    weights: Fractions,
    first: Counts,
    second: Counts,
    confidence: Singles,
    likelihood: Fractions,
) -> None:
    """Write the confidence, below 0 where the ensemble is wrong, and add up the log likelihood of the truth."""
    models, classes, lanes = len(z), z.shape[2], z.shape[3]
    probability = np.empty((models, classes, lanes) if kind == PROBABILITY else (0, 0, 0), np.float32)
    normaliser = np.zeros((models, lanes))
    largest, total, best = np.empty(lanes, np.float32), np.ones(lanes, np.float32), np.empty(lanes, np.int32)
    offset = 0
    for group in range(len(folds)):
        fold = folds[group]
        if kind == PROBABILITY:
            for model in range(models):
                _softmax(z[model, group], np.float32(inverse[model, fold]), total, probability[model])
                normaliser[model] = np.log(total.astype(np.float64))
        for pair in range(len(first)):
            a, b = first[pair], second[pair]
            wa, wb = weights[pair, fold, 0], weights[pair, fold, 1]
            if kind == PROBABILITY:
                _peak(probability[a], probability[b], np.float32(0.5), np.float32(0.5), largest, best)
            else:
                _peak(z[a, group], z[b, group], np.float32(wa), np.float32(wb), largest, best)
                _odds(z[a, group], z[b, group], np.float32(wa), np.float32(wb), largest, total)
            for lane in range(sizes[group]):
                chosen = best[lane] if top[a, group, lane] != top[b, group, lane] else top[a, group, lane]
                right, truth = False, -np.inf
                for label in accepted[group, lane]:
                    if label < 0:
                        break
                    right = right or label == chosen
                    one, two = np.float64(z[a, group, label, lane]), np.float64(z[b, group, label, lane])
                    if kind == PROBABILITY:
                        one = one * inverse[a, fold] - normaliser[a, lane]
                        two = two * inverse[b, fold] - normaliser[b, lane]
                        truth = _log_add(truth, _log_add(one, two) - log(2.0))
                    else:
                        truth = _log_add(truth, one * wa + two * wb - largest[lane] - log(total[lane]))
                likelihood[pair] += truth
                own = largest[lane] if kind == PROBABILITY else np.float32(1) / total[lane]
                own = min(own, np.float32(1))
                confidence[pair, offset + lane] = own if right else -own
        offset += sizes[group]


@compiled
def _log_add(one: float, two: float) -> float:
    """log(exp(one) + exp(two))."""
    low, high = min(one, two), max(one, two)
    return high if low == -np.inf else high + log(1.0 + exp(low - high))


@compiled
def _softmax(z: Singles, inverse: np.float32, total: Singles, probability: Singles) -> None:
    """Each lane's probabilities, and the sum of exp(z * inverse)."""
    total[:] = 0
    for c in range(z.shape[0]):
        for lane in range(z.shape[1]):
            odds = exponential(z[c, lane] * inverse)
            probability[c, lane] = odds
            total[lane] += odds
    for c in range(z.shape[0]):
        for lane in range(z.shape[1]):
            probability[c, lane] /= total[lane]


@compiled
def _peak(
    first: Singles, second: Singles, a: np.float32, b: np.float32, largest: Singles, best: NDArray[np.int32]
) -> None:
    """Each lane's largest weighted sum, and the lowest class that has it."""
    largest[:] = -np.inf
    best[:] = 0
    for c in range(first.shape[0]):
        for lane in range(first.shape[1]):
            value = a * first[c, lane] + b * second[c, lane]
            above = value > largest[lane]
            largest[lane] = value if above else largest[lane]
            best[lane] = np.int32(c) if above else best[lane]


@compiled
def _odds(first: Singles, second: Singles, a: np.float32, b: np.float32, largest: Singles, total: Singles) -> None:
    """Each lane's sum of odds against its largest weighted sum."""
    total[:] = 0
    for c in range(first.shape[0]):
        for lane in range(first.shape[1]):
            total[lane] += exponential(a * first[c, lane] + b * second[c, lane] - largest[lane])


@compiled
def _calibration_errors(confidence: Singles, errors: Fractions) -> None:
    """ECE of each row, whose signs say whether the image is right; see `calibration.calibration_error`."""
    n = confidence.shape[1]
    bins = min(BINS, n)
    accuracy = np.empty(n)
    for pair in range(len(confidence)):
        # the bits of positive floats are in the order of their values; the last one says whether the image is right
        keys = np.abs(confidence[pair]).view(np.int32).astype(np.int64) * 2 + (confidence[pair] > 0)
        keys.sort()
        values = (keys >> 1).astype(np.int32).view(np.float32)
        start = 0
        while start < n:
            end, right = start, 0.0
            while end < n and values[end] == values[start]:
                right += keys[end] & 1
                end += 1
            accuracy[start:end] = right / (end - start)
            start = end
        errors[pair] = 0
        end = 0
        for place in range(bins):
            start, end = end, end + n // bins + (place < n % bins)
            gap = 0.0
            for image in range(start, end):
                gap += accuracy[image] - values[image]
            errors[pair] += abs(gap) / n
