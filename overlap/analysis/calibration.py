"""Temperature scaling: cross-fitted temperatures by NLL, calibrated probabilities, NLL and calibration error.

Guarantees: every image is calibrated by a temperature that was fitted without it; temperatures lie in `BOUNDS` whatever
the model does (one that is always right has no finite optimum); logits are read in chunks of `CHUNK` numbers, and what
a row yields does not depend on the chunk or block it lies in. Where a truth accepts several classes of an image, its
likelihood is their sum; temperatures are fitted on the images of one class, where the NLL is convex.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles.floats import widened
from overlap.analysis.splits import FOLDS

Fractions = NDArray[np.float64]
Logits = NDArray[np.floating[Any]]

BOUNDS = (0.01, 100.0)
"""Least and greatest temperature; a fit that would leave them ends there."""

BINS = 15
"""Equal-mass bins of the calibration error."""

PATIENCE = 10
"""Newton steps after which a fit tries the bound it moves towards: of a model always right, the NLL has no minimum."""

CHUNK = 1 << 18
"""Logits looked at together: 1 MiB in float32, which stays in a core's cache from one operation to the next."""


@dataclass(frozen=True)
class Calibration:
    """What the logits of one model say beyond its hard predictions.

    Attributes:
        temperature: fitted on all images; for the table.
        fold_temperatures: (5,) float64; the one of fold f is fitted on all other folds, and serves the images of f.
        nll: mean negative log probability of the true class, out of fold; nats. None without images.
        ece: calibration error of the out-of-fold confidence. None without images.
        top5: share of images whose class is among the five largest logits. None without images or below five classes.
    """

    temperature: float
    fold_temperatures: Fractions
    nll: float | None
    ece: float | None
    top5: float | None

    def of(self, folds: NDArray[np.int8]) -> Fractions:
        """The temperature of each image, (n,), by its fold."""
        return self.fold_temperatures[folds]


@dataclass(frozen=True)
class Scored:
    """One model over all images: its calibration, and what it gives each image out of fold.

    Attributes:
        calibration: of the model.
        confidence: (N,) float32, the calibrated probability of the class it predicts.
        likelihood: (N,) float32, that of the accepted classes together.
    """

    calibration: Calibration
    confidence: NDArray[np.float32]
    likelihood: NDArray[np.float32]


def score(logits: Sequence[Logits], labels: NDArray[Any], folds: NDArray[np.int8]) -> Scored:
    """Calibrate one model, and say what it gives each image out of fold.

    Args:
        logits: blocks of (n_i, K), in the order of the images; N images in all.
        labels: (N,) true classes, or (N, L) accepted ones (see `truths`).
        folds: (N,) calibration folds, 0..4.

    Raises:
        ValueError: labels outside the model's classes, or arrays that do not have the same number of images.
    """
    rows = sum(len(block) for block in logits)
    if not rows == len(labels) == len(folds):
        raise ValueError(f"{rows} rows of logits for {len(labels)} labels and {len(folds)} folds")
    classes = logits[0].shape[1] if rows else 0
    if rows and not 0 <= truths.primary(labels).min() <= labels.max() < classes:
        raise ValueError(f"labels from {labels.min()} to {labels.max()} for a model of {classes} classes")
    temperature, fold_temperatures = temperatures(logits, labels, folds)
    confidence, log_likelihood = np.empty(rows, np.float32), np.empty(rows)
    if not rows:
        return Scored(Calibration(temperature, fold_temperatures, None, None, None), confidence, confidence)

    right, rank = np.empty(rows, np.bool_), np.empty(rows, np.int64)
    for images, values in _chunks(logits):
        log_probability = log_probabilities(values, fold_temperatures[folds[images]])
        confidence[images] = np.exp(log_probability.max(axis=1))
        log_likelihood[images] = _of_any(log_probability, labels[images])
        right[images] = truths.right(values.argmax(axis=1), labels[images])
        rank[images] = _rank(values, labels[images])
    calibration = Calibration(
        temperature,
        fold_temperatures,
        nll=float(-log_likelihood.mean()),
        ece=calibration_error(confidence.astype(np.float64), right),
        top5=float((rank < 5).mean()) if classes >= 5 else None,
    )
    return Scored(calibration, confidence, np.exp(log_likelihood).astype(np.float32))


def log_probabilities(logits: Logits, temperature: Fractions) -> NDArray[np.float32]:
    """Calibrated log probabilities, float32 (n, K): log softmax(z / T), each row at its own temperature (n,)."""
    scaled = _shifted(logits, temperature)
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return scaled


def probabilities(logits: Logits, temperature: Fractions) -> NDArray[np.float32]:
    """Calibrated probabilities, float32 (n, K): softmax(z / T), each row at its own temperature (n,)."""
    found = odds(logits, temperature)
    found /= found.sum(axis=1, keepdims=True)
    return found


def odds(logits: Logits, temperature: Fractions) -> NDArray[np.float32]:
    """What probabilities are in proportion to, float32 (n, K): exp((z - max z) / T)."""
    scaled = _shifted(logits, temperature)
    np.exp(scaled, out=scaled)
    return scaled


def temperatures(logits: Sequence[Logits], labels: NDArray[Any], folds: NDArray[np.int8]) -> tuple[float, Fractions]:
    """The temperature that minimises the NLL of all images, and (5,) those that minimise it outside each fold.

    The NLL is convex in b = 1 / T: Newton's method within a bracket; the five start from the optimum of all images.
    """
    single = np.ones(len(labels), np.bool_) if labels.ndim == 1 else (labels[:, 1:] == truths.NONE).all(axis=1)
    classes = truths.primary(labels)
    overall = _fit(logits, classes, single[None, :], np.ones(1))
    elsewhere = single & (folds[None, :] != np.arange(FOLDS)[:, None])
    return float(1 / overall[0]), 1 / _fit(logits, classes, elsewhere, np.repeat(overall, FOLDS))


def calibration_error(confidence: Fractions, right: NDArray[np.bool_]) -> float:
    """ECE over 15 bins of equal mass: mean over images of |accuracy - confidence| of their bin (Roelofs et al. 2020).

    Images of equal confidence share their mean accuracy, so that their order cannot change the value.

    Args:
        confidence: (n,) with n > 0.
        right: (n,) whether the prediction is right.
    """
    _, group, size = np.unique(confidence, return_inverse=True, return_counts=True)
    accuracy = (np.bincount(group, right) / size)[group]
    order = np.argsort(confidence, kind="stable")
    gaps = [
        abs(float(np.sum(accuracy[images]) - np.sum(confidence[images])))
        for images in np.array_split(order, min(BINS, len(order)))
    ]
    return sum(gaps) / len(order)


def _fit(logits: Sequence[Logits], labels: NDArray[Any], used: NDArray[np.bool_], start: Fractions) -> Fractions:
    """For each row of `used` (P, N) the b in 1 / BOUNDS that minimises the NLL of the images it marks."""
    least, greatest = 1 / BOUNDS[1], 1 / BOUNDS[0]
    b, low, high = start.copy(), np.full(len(start), least), np.full(len(start), greatest)
    unsolved = set(np.flatnonzero(used.any(axis=1)).tolist())
    for attempt in range(100):  # in practice under ten; a bracket that only ever halves needs some fifty
        if not unsolved:
            break
        slope, curvature = _derivatives(logits, labels, used, b, sorted(unsolved))
        for problem in sorted(unsolved):
            here = b[problem]
            if slope[problem] > 0:
                high[problem] = here
            elif slope[problem] < 0:
                low[problem] = here
            if slope[problem] == 0 or low[problem] == high[problem]:
                unsolved.remove(problem)
                continue
            step = slope[problem] / curvature[problem] if curvature[problem] > 0 else np.inf * slope[problem]
            if attempt == PATIENCE:  # no optimum within reach: see whether there is any
                step *= np.inf
            b[problem] = _inside(here, here - step, low[problem], high[problem])
            if abs(b[problem] - here) <= 1e-6 * here:
                unsolved.remove(problem)
    return b


def _inside(here: float, there: float, low: float, high: float) -> float:
    """Newton's point; beyond the bracket its end, if that is a bound still to be tried, else the geometric middle."""
    if low < there < high:
        return there
    end = low if there <= low else high
    return end if end != here and end in (1 / BOUNDS[0], 1 / BOUNDS[1]) else float(np.sqrt(low * high))


def _derivatives(
    logits: Sequence[Logits],
    labels: NDArray[Any],
    used: NDArray[np.bool_],
    b: Fractions,
    problems: Sequence[int],
) -> tuple[Fractions, Fractions]:
    """First and second derivative by b of the NLL: sums of E[z] - z_y and of Var[z] under softmax(b z)."""
    mean, variance = np.zeros(used.shape), np.zeros(used.shape)
    for images, values in _chunks(logits):
        z = values - values.max(axis=1, keepdims=True)
        own = z[np.arange(len(z)), labels[images]]
        for value in {b[problem] for problem in problems}:  # all start from one
            equal = [problem for problem in problems if b[problem] == value]
            odds = np.exp(z * np.float32(value))
            total = odds.sum(axis=1)
            expectation = np.einsum("ij,ij->i", odds, z) / total
            odds *= z
            variance[equal, images] = np.einsum("ij,ij->i", odds, z) / total - expectation**2
            mean[equal, images] = expectation - own
    return (mean * used).sum(axis=1), (variance * used).sum(axis=1)


def _chunks(logits: Sequence[Logits]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Consecutive images of all blocks in bounded float32 pieces, each with its place among all images."""
    offset = 0
    for block in logits:
        step = max(1, CHUNK // max(1, block.shape[1]))
        for start in range(0, len(block), step):
            values = widened(block[start : start + step])
            yield slice(offset + start, offset + start + len(values)), values
        offset += len(block)


def _shifted(logits: Logits, temperature: Fractions) -> NDArray[np.float32]:
    """Logits over temperature less the row's largest, in float32: no exponential overflows."""
    scaled = widened(logits)
    scaled -= scaled.max(axis=1, keepdims=True)
    scaled /= temperature.astype(np.float32)[:, None]
    return scaled


def _of_any(log_probability: NDArray[np.float32], labels: NDArray[Any]) -> Fractions:
    """Log probability of the accepted classes together, (n,)."""
    classes = truths.accepted(labels)
    found = log_probability[np.arange(len(classes))[:, None], classes].astype(np.float64)
    found[classes == truths.NONE] = -np.inf
    return np.asarray(np.logaddexp.reduce(found, axis=1))


def _rank(values: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.int64]:
    """How many classes come before the first accepted one, (n,): larger logits, and equal ones of lower class."""
    classes = truths.accepted(labels)
    own = values[np.arange(len(values))[:, None], classes]
    own[classes == truths.NONE] = -np.inf
    best = own.max(axis=1)
    # of equally large accepted classes the lowest comes first
    first = np.where(own == best[:, None], classes, values.shape[1]).min(axis=1)
    earlier = np.arange(values.shape[1])[None, :] < first[:, None]
    larger = values > best[:, None]
    before: NDArray[np.int64] = (larger | ((values == best[:, None]) & earlier)).sum(axis=1, dtype=np.int64)
    return before
