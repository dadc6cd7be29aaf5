"""CAPA, symmetric KL and Jensen-Shannon divergence of pairs, with 95% intervals over images (paper.md, 1.5 and 4.4).

Guarantees: functions of the sums alone. Intervals are normal, by the delta method for CAPA (for which the number of
wrong options of an image is taken as given); they hold the estimate and stay where the measure can be. Undefined is
NaN: all without an image, CAPA with a single class, intervals with fewer than two images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.divergence.soft import SoftSums
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import ratio

Fractions = NDArray[np.float64]

BOUNDS = {"capa": (-1.0, 1.0), "symmetric_kl": (0.0, np.inf), "jensen_shannon": (0.0, float(np.log(2)))}
"""Least and greatest value of each measure, by its column."""

FLOOR = 1e-6
"""Chance agreement this near to one leaves CAPA undefined."""


@dataclass(frozen=True)
class SoftMeasure:
    """One measure of all pairs of the models that have logits.

    Attributes:
        value: (P,).
        error: (P,) its standard error over images.
        low: (P,) lower end of its 95% interval.
        high: (P,) upper end.
        left_out: (G', P) the value without one group of images after the other, for a jackknife of means over pairs.
    """

    value: Fractions
    error: Fractions
    low: Fractions
    high: Fractions
    left_out: Fractions


def soft_measures(sums: SoftSums) -> dict[str, SoftMeasure]:
    """Each measure of `BOUNDS`, from the sums over all images of the subsample."""
    n = int(sums.images.sum())
    groups = np.flatnonzero(sums.images).tolist()
    found = {}
    for name, by_group, squares in (
        ("capa", sums.overlap, None),
        ("symmetric_kl", sums.symmetric_kl, sums.squares[1]),
        ("jensen_shannon", sums.jensen_shannon, sums.squares[2]),
    ):
        if squares is None:
            value, error = capa(sums), _capa_error(sums)
            left_out = np.array([capa(sums, group) for group in groups]).reshape(len(groups), len(value))
        else:
            total = by_group.sum(axis=0)
            value = ratio(total, n)
            error = np.sqrt(np.maximum(0, ratio(squares / max(1, n) - (total / max(1, n)) ** 2, n - 1 if n > 1 else 0)))
            left_out = ratio(total - by_group[groups], (n - sums.images[groups])[:, None])
        least, greatest = BOUNDS[name]
        value = np.clip(value, least, greatest).round(12)
        low, high = np.maximum(least, value - Z * error), np.minimum(greatest, value + Z * error)
        found[name] = SoftMeasure(value, error.round(12), low.round(12), high.round(12), left_out.round(12))
    return found


def capa(sums: SoftSums, without: int | None = None) -> Fractions:
    """(P,): kappa_p = (c_obs - c_exp) / (1 - c_exp) (Goel et al. 2025), on all images or without one group of them.

    c_obs is the mean overlap of the two models' probabilities, c_exp = u_a u_b + (1 - u_a)(1 - u_b) / (K - 1) with u
    the mean probability of the right class; with several accepted classes of an image, the mean of 1 / (K - L).
    """
    kept = np.arange(len(sums.images)) != (-1 if without is None else without)
    n = int(sums.images[kept].sum())
    observed, chance = ratio(sums.overlap[kept].sum(axis=0), n), ratio(sums.chance[kept].sum(), n)
    u = ratio(sums.likelihood[kept].sum(axis=0), n)
    expected = _expected(u, chance, *sums.indices)
    return 1 - ratio(1 - observed, np.where(1 - expected > FLOOR, 1 - expected, 0))


def _expected(u: Fractions, chance: Fractions, first: NDArray[np.int64], second: NDArray[np.int64]) -> Fractions:
    return np.asarray(u[first] * u[second] + (1 - u[first]) * (1 - u[second]) * chance)


def _capa_error(sums: SoftSums) -> Fractions:
    """(P,): standard error by the delta method, from the covariances of overlap and likelihoods over images."""
    n = int(sums.images.sum())
    first, second = sums.indices
    if n < 2:
        return np.full(len(first), np.nan)
    u, g = sums.likelihood.sum(axis=0) / n, sums.overlap.sum(axis=0) / n
    chance = sums.chance.sum() / n
    a, b = u[first], u[second]
    far = 1 - _expected(u, chance, first, second)
    far = np.where(far > FLOOR, far, np.nan)
    by_overlap = 1 / far
    slope = -(1 - g) / far**2
    by_a, by_b = slope * (b - (1 - b) * chance), slope * (a - (1 - a) * chance)
    own = sums.likelihood_square / n - u**2
    variance = (
        by_overlap**2 * (sums.squares[0] / n - g**2)
        + by_a**2 * own[first]
        + by_b**2 * own[second]
        + 2 * by_overlap * by_a * (sums.with_a / n - g * a)
        + 2 * by_overlap * by_b * (sums.with_b / n - g * b)
        + 2 * by_a * by_b * (sums.likelihoods / n - a * b)
    )
    return np.asarray(np.sqrt(np.maximum(0, variance) / (n - 1)))
