"""How well one model's features can be told from another's: R² of a ridge regression, out of sample.

Where both R² are high the models know the same; where only one is, that model's features contain the other's; where
neither is, they overlap without one containing the other. Everything is computed from sums of products of features
(moments), which add up over images: an image is read once, and all strengths cost one decomposition.

A feature's R² is 1 - (squared error) / (squared deviation from its mean), both on images that the regression has not
seen; a negative one counts as 0, since no regression at all does as well (this lifts the mean a little for unrelated
features: below 0.02 with 1,500 images). The model's R² is the mean over its features that vary on those images.

Guarantees: regressors are standardised by the training part; the strength is chosen inside it. Constant features
explain nothing and are not explained. Null where nothing is left to train on or to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from overlap.analysis.splits import FOLDS

Floats = NDArray[np.float64]

STRENGTHS: tuple[float, ...] = tuple(10.0 ** (power / 2) for power in range(6, -13, -1))
"""Tried ridge penalties per image, on standardised regressors: log-spaced from 1000 to 1e-6."""

CONSTANT = 1e-8
"""Features whose variance is below this share of their mean square, about the mean of all images, are constant."""

CHUNK = 8192
"""Images whose features are multiplied at a time."""


@dataclass(frozen=True)
class Moments:
    """Sums over images of two models' features and their products; additive over images and subtractable.

    Attributes:
        n: images.
        x: (D_a,) sums of the regressors.
        y: (D_b,) sums of the targets.
        xx: (D_a, D_a) sums of products.
        xy: (D_a, D_b).
        yy: (D_b, D_b).
    """

    n: int
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    def __add__(self, other: Moments) -> Moments:
        """The sums over the images of both."""
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def swapped(self) -> Moments:
        """Regressors for targets."""
        return Moments(self.n, self.y, self.x, self.yy, self.xy.T, self.xx)


def fold_moments(
    a: NDArray[np.float32], b: NDArray[np.float32], folds: NDArray[np.int8]
) -> tuple[list[Moments], tuple[Floats, Floats]]:
    """The moments of each fold, about the mean of all images (else float64 itself could drown), and the two means.

    Args:
        a: (N, D_a) features.
        b: (N, D_b) features of the same images.
        folds: (N,) 0..4.
    """
    centre = tuple(f.mean(axis=0, dtype=np.float64) if len(f) else np.zeros(f.shape[1]) for f in (a, b))
    return [moments(a[folds == fold], b[folds == fold], centre) for fold in range(FOLDS)], (centre[0], centre[1])


def moments(a: NDArray[np.float32], b: NDArray[np.float32], centre: tuple[Floats, ...]) -> Moments:
    """Sums over images of features less `centre`, one array for each model."""
    of_a, of_b = a.shape[1], b.shape[1]
    total = Moments(
        0, np.zeros(of_a), np.zeros(of_b), np.zeros((of_a, of_a)), np.zeros((of_a, of_b)), np.zeros((of_b, of_b))
    )
    for start in range(0, len(a), CHUNK):
        x, y = a[start : start + CHUNK] - centre[0], b[start : start + CHUNK] - centre[1]
        total += Moments(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y, y.T @ y)
    return total


def r_squared(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    folds: NDArray[np.int8],
    train: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int8]] | None = None,
) -> tuple[float, float]:
    """R² of a's features from b's, and of b's from a's; NaN where nothing is left to train on or to judge.

    Args:
        a: (N, D_a) features of the images that are judged.
        b: (N, D_b) features of the same images.
        folds: (N,) 0..4. Without a training set each fold is judged by a regression on the four others, of which the
            next one chooses the strength.
        train: (T, D_a), (T, D_b) features and (T,) folds of a training set; its fold 0 chooses the strength.
    """
    if train is None:
        parts, _ = fold_moments(a, b, folds)
        plan = [
            (
                parts[fold],
                [part for other, part in enumerate(parts) if other not in (fold, (fold + 1) % FOLDS)],
                parts[(fold + 1) % FOLDS],
            )
            for fold in range(FOLDS)
        ]
    else:
        parts, centre = fold_moments(*train)
        plan = [(moments(a, b, centre), parts[1:], parts[0])]
    from_a = _over(plan, swap=False)
    return _over(plan, swap=True), from_a


def _over(plan: list[tuple[Moments, list[Moments], Moments]], swap: bool) -> float:
    """R² over all judged parts: errors and deviations are summed over them, feature by feature."""
    errors, judged = [], []
    for part, fitted, held_out in plan:
        turned = [each.swapped() if swap else each for each in (part, held_out, *fitted)]
        if turned[0].n and sum(each.n for each in turned[1:]):
            errors.append(_errors(turned[0], turned[2:], turned[1]))
            judged.append(turned[0])
    if not judged:
        return np.nan
    whole = sum(judged[1:], judged[0])
    squares = np.diagonal(whole.yy)
    deviation = squares - whole.y**2 / whole.n
    varies = deviation > CONSTANT * squares
    if not varies.any():
        return np.nan
    share: Floats = np.sum(errors, axis=0)[varies] / deviation[varies]
    # rounded, as the last digits of a product of matrices depend on the number of threads
    return round(float(np.maximum(0, 1 - share).mean()), 9)


def _errors(judged: Moments, fitted: list[Moments], held_out: Moments) -> Floats:
    """Squared error of each target on a judged part, (D_b,): strength from the held-out part, then fitted on all."""
    first = sum(fitted[1:], fitted[0])
    strength = _choose(first, held_out) if first.n and held_out.n else 1.0
    weight, mean_x, mean_y = _solve(first + held_out, strength)
    return _squared_error(judged, weight, mean_x, mean_y)


def _choose(fitted: Moments, held_out: Moments) -> float:
    """The strength of least error on a held-out part, over targets of unit deviation in the fitted one."""
    correlation, covariance, scale, mean_x, mean_y = _standardised(fitted)
    values, vectors = np.linalg.eigh(correlation)
    deviation = np.diagonal(fitted.yy) / fitted.n - mean_y**2
    varies = deviation > CONSTANT * np.diagonal(fitted.yy) / fitted.n
    unit = np.where(varies, 1 / np.sqrt(np.where(varies, deviation, 1)), 0)
    # in the eigenvectors' frame a solution is G / (eigenvalue + strength), so that its error is a quadratic form
    basis = vectors / scale[:, None]
    solution = vectors.T @ covariance * unit
    xx, xy = _about(held_out, mean_x, mean_y)
    linear = (solution * (basis.T @ xy * unit)).sum(axis=1)
    square = (basis.T @ xx @ basis) * (solution @ solution.T)
    shrunk = [1 / (np.maximum(values, 0) + strength) for strength in STRENGTHS]
    errors = [factor @ square @ factor - 2 * linear @ factor for factor in shrunk]
    return STRENGTHS[int(np.argmin(errors))]


def _solve(fitted: Moments, strength: float) -> tuple[Floats, Floats, Floats]:
    """Weights (D_a, D_b) and the means that they are about."""
    correlation, covariance, scale, mean_x, mean_y = _standardised(fitted)
    correlation[np.diag_indices_from(correlation)] += strength
    return solve(correlation, covariance, assume_a="pos") / scale[:, None], mean_x, mean_y


def _standardised(fitted: Moments) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Correlations of the regressors, their covariances with the targets, their deviations (inf if constant), means.

    The regressors are standardised in all of them, the targets in none.
    """
    mean_x, mean_y = fitted.x / fitted.n, fitted.y / fitted.n
    square = np.diagonal(fitted.xx) / fitted.n
    variance = square - mean_x**2
    scale = np.where(variance > CONSTANT * square, np.sqrt(np.maximum(variance, 0)), np.inf)
    correlation = (fitted.xx / fitted.n - np.outer(mean_x, mean_x)) / np.outer(scale, scale)
    covariance = (fitted.xy / fitted.n - np.outer(mean_x, mean_y)) / scale[:, None]
    return correlation, covariance, scale, mean_x, mean_y


def _about(part: Moments, mean_x: Floats, mean_y: Floats) -> tuple[Floats, Floats]:
    """Sums of products of regressors, and of regressors and targets, about the given means."""
    xx = part.xx - np.outer(part.x, mean_x) - np.outer(mean_x, part.x) + part.n * np.outer(mean_x, mean_x)
    xy = part.xy - np.outer(part.x, mean_y) - np.outer(mean_x, part.y) + part.n * np.outer(mean_x, mean_y)
    return xx, xy


def _squared_error(part: Moments, weight: Floats, mean_x: Floats, mean_y: Floats) -> Floats:
    xx, xy = _about(part, mean_x, mean_y)
    own = np.diagonal(part.yy) - 2 * part.y * mean_y + part.n * mean_y**2
    return np.asarray(own - 2 * (xy * weight).sum(axis=0) + ((xx @ weight) * weight).sum(axis=0))
