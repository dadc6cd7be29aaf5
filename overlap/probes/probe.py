"""A linear probe: logistic regression on standardised features, its regularisation chosen inside the training part.

The strength is a decade of `STRENGTHS`, that of the least loss on the held-out fifth of the training part (by the fold
of each image's key, so the same images for every model); they are tried from the strongest down, each from the last
one's solution, until the held-out loss rises or hardly falls. Then the whole training part is fitted at that strength.

Guarantees: nothing but the training part enters; finite weights whatever it holds (constant features weigh nothing; a
class that does not occur in it is never predicted; a training part of one class predicts that class). Images of a class
that only the held-out part has do not vote on the strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overlap.probes.logistic import TOLERANCE, Problem, minimise

Features = NDArray[np.float32]

STRENGTHS = tuple(10.0**power for power in range(0, -7, -1))
"""Tried strengths (see `logistic`), strongest first: log-spaced, a decade apart."""

LITTLE = 0.01
"""A weaker strength is taken if the held-out loss falls by more than this share of its whole fall from a probe that
knows nothing: on a plateau the strongest serves, and the rest of it need not be walked."""

UNTRIED = 1e-2
"""The strength where the training part is too small to hold any of it out."""

COARSE = 10 * TOLERANCE
"""The tolerance of fits that only serve to choose the strength."""

CONSTANT = 1e-5
"""Features whose standard deviation is below this share of their largest magnitude count as constant."""

TINY = 1e-30
"""So do features that vary by less than this: their weights would leave float32."""

ABSENT = -30.0
"""Bias of a class that is absent from the training part; the other biases have mean zero (or are log odds)."""

CHUNK = 1 << 24
"""Features standardised at a time: 64 MiB."""


@dataclass(frozen=True)
class Probe:
    """A fitted probe, in the features' own scale: logits = features @ weight.T + bias.

    Attributes:
        weight: (K, D) float32.
        bias: (K,) float32.
        known: (K,) bool, the classes that it can tell from others; no other is predicted.
        strength: of the regularisation that was chosen; None where nothing was fitted.
    """

    weight: Features
    bias: Features
    known: NDArray[np.bool_]
    strength: float | None

    def logits(self, features: Features) -> Features:
        """(n, K) float32 of features (n, D)."""
        return np.asarray(features, np.float32) @ self.weight.T + self.bias

    def predict(self, features: Features) -> NDArray[np.int32]:
        """The class of each image, (n,): of the known ones that of the largest logit, the lowest on ties."""
        logits = self.logits(features)
        logits[:, ~self.known] = -np.inf
        return np.asarray(logits.argmax(axis=1), np.int32)


def fit(
    features: Features, targets: NDArray[Any], classes: int, held_out: NDArray[np.bool_], device: str | None = None
) -> Probe:
    """Fit a probe on a training part.

    Args:
        features: (n, D) finite, n > 0, D > 0.
        targets: (n,) true classes, or (n, K) zeros and ones where several classes (or none) can hold of an image: then
            one regression per class against the rest, at a common strength.
        classes: K.
        held_out: (n,) images that choose the strength.
        device: of torch; by default the GPU where there is one.

    Raises:
        ValueError: no images, targets outside the classes, or features that are not finite.
    """
    if not len(features) or len(features) != len(targets) or len(targets) != len(held_out):
        raise ValueError(f"{len(features)} features for {len(targets)} targets and {len(held_out)} held-out marks")
    if targets.ndim == 1 and not 0 <= targets.min() <= targets.max() < classes:
        raise ValueError(f"targets from {targets.min()} to {targets.max()} for {classes} classes")
    mean, scale = standard(features)
    known, certain = _known(targets, classes)
    weight, bias = np.zeros((classes, features.shape[1]), np.float32), np.full(classes, ABSENT, np.float32)
    bias[certain] = -ABSENT if targets.ndim == 2 else 0
    strength = None
    if known.sum() > (targets.ndim == 1):
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        x = _standardised(features, mean, scale).to(where)
        y = torch.from_numpy(_renumbered(targets, known)).to(where)
        strength, start = _choose(x, y, int(known.sum()), torch.from_numpy(held_out).to(where))
        solution = minimise(Problem(x, y, int(known.sum())), strength, start).cpu().numpy()
        weight[known] = solution[:, :-1] / scale
        bias[known] = solution[:, -1] - (solution[:, :-1].astype(np.float64) / scale) @ mean
    return Probe(weight, bias, known | certain if targets.ndim == 1 else known, strength)


def fit_head(
    features: Features, labels: NDArray[Any], classes: int, held_out: NDArray[np.bool_], device: str | None = None
) -> tuple[Features, Features]:
    """A probe as a classifier's last layer: weight (K, D) and bias (K,) on the features as they are.

    Arguments and errors are those of `fit`. A class without training images gets a finite bias, `ABSENT`.
    """
    probe = fit(features, labels, classes, held_out, device)
    return probe.weight, probe.bias


def standard(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each feature, (D,) float64; the deviation of a constant one is infinite."""
    step = max(1, CHUNK // features.shape[1])
    parts = [features[start : start + step].astype(np.float64) for start in range(0, len(features), step)]
    mean = sum(part.sum(axis=0) for part in parts) / len(features)
    variance = sum(np.square(part - mean).sum(axis=0) for part in parts) / len(features)
    if not np.isfinite(variance).all():
        raise ValueError("features that are not finite")
    scale = np.sqrt(variance)
    largest = np.maximum(features.max(axis=0), -features.min(axis=0))
    return mean, np.where(scale > np.maximum(CONSTANT * largest, TINY), scale, np.inf)


def _known(targets: NDArray[Any], classes: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which classes can be fitted, (K,), and which need no fit as they hold of every image."""
    if targets.ndim == 2:
        share = targets.mean(axis=0)
        return (share > 0) & (share < 1), share == 1
    occurs = np.bincount(targets, minlength=classes) > 0
    return (occurs, np.zeros(classes, np.bool_)) if occurs.sum() > 1 else (np.zeros(classes, np.bool_), occurs)


def _renumbered(targets: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[Any]:
    """Targets among the known classes alone."""
    if targets.ndim == 2:
        return np.ascontiguousarray(targets[:, known], np.float32)
    return np.asarray((np.cumsum(known) - 1)[targets], np.int64)


def _standardised(features: Features, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> Tensor:
    """(n, D + 1) float32: zero mean and unit deviation (constant features zero), and a column of ones."""
    x = torch.empty(len(features), features.shape[1] + 1)
    step = max(1, CHUNK // features.shape[1])
    for start in range(0, len(features), step):
        x[start : start + step, :-1] = torch.from_numpy((features[start : start + step] - mean) / scale)
    x[:, -1] = 1
    return x


def _choose(x: Tensor, y: Tensor, classes: int, held_out: Tensor) -> tuple[float, Tensor]:
    """The strength of least held-out loss, and its solution, where the final fit starts from."""
    best, solution = UNTRIED, torch.zeros(classes, x.shape[1], device=x.device)
    if not held_out.any() or held_out.all():
        return best, solution
    fitted = Problem(x[~held_out], y[~held_out], classes)
    judged = Problem(x[held_out], y[held_out], classes)
    if y.ndim == 1:  # the held-out loss of a class that the fit has not seen depends on the strength by accident alone
        seen = torch.bincount(fitted.y, minlength=classes) > 0
        judged = Problem(judged.x[seen[judged.y]], judged.y[seen[judged.y]], classes)
        if not len(judged.y):
            return best, solution
    start, least, trial = judged.loss(solution), float("inf"), solution
    for strength in STRENGTHS:
        trial = minimise(fitted, strength, trial, COARSE)
        loss = judged.loss(trial)
        if least - loss <= LITTLE * max(0.0, start - least):
            break
        least, best, solution = loss, strength, trial
    return best, solution
