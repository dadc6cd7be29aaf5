"""Ridge R² by solving the normal equations anew for every strength and fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def predict(x: np.ndarray, y: np.ndarray, there: np.ndarray, strength: float) -> np.ndarray:
    """Targets at `there`, from a ridge regression of y on x with standardised regressors and a free constant."""
    deviation = x.std(axis=0)
    deviation[deviation == 0] = np.inf
    standard = (x - x.mean(axis=0)) / deviation
    normal = standard.T @ standard + len(x) * strength * np.eye(x.shape[1])
    weight = np.linalg.solve(normal, standard.T @ (y - y.mean(axis=0)))
    return (there - x.mean(axis=0)) / deviation @ weight + y.mean(axis=0)


def best(x: np.ndarray, y: np.ndarray, held_out: np.ndarray, strengths: Sequence[float]) -> float:
    """The strength of least held-out error, targets in units of their deviation."""
    unit = y[~held_out].std(axis=0)

    def error(strength: float) -> float:
        found = predict(x[~held_out], y[~held_out], x[held_out], strength)
        return float((((found - y[held_out]) / unit) ** 2).sum())

    return min(strengths, key=error)


def r_squared(x: np.ndarray, y: np.ndarray, folds: np.ndarray, strengths: Sequence[float]) -> float:
    """Mean over targets of the out-of-fold R², negative ones as zero."""
    found = np.empty(y.shape)
    for fold in range(5):
        judged = folds == fold
        others = folds[~judged]
        strength = best(x[~judged], y[~judged], others == (fold + 1) % 5, strengths)
        found[judged] = predict(x[~judged], y[~judged], x[judged], strength)
    shares = ((found - y) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.maximum(0, 1 - shares).mean())
