"""Association of two models' correctness, from the four counts of a pair (paper.md, 1.5).

Guarantees: functions of one pair's counts alone, for arrays of any one shape. All of them but the double fault are NaN
where a model is always right or always wrong, since then there is no association to speak of; the double fault is NaN
without images only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.intervals import Z
from overlap.analysis.pairs import ratio

Fractions = NDArray[np.float64]
Counts = NDArray[np.int64]

CORRECTION = 0.5
"""Images added to each of the four cells of an odds ratio (Haldane 1956, Anscombe 1956): finite with an empty cell."""


@dataclass(frozen=True)
class Influence:
    """By how much a measure of each pair changes with one image, to first order: product z_a z_b + a z_a + b z_b.

    Attributes:
        product: (P,) float64.
        a: (P,) float64.
        b: (P,) float64.
    """

    product: Fractions
    a: Fractions
    b: Fractions


def yule_q(both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts) -> Fractions:
    """Yule's Q = (n11 n00 - n10 n01) / (n11 n00 + n10 n01), from -1 to 1."""
    agree, differ = _products(both_right, only_a, only_b, both_wrong)
    return ratio(agree - differ, agree + differ)


def correlation(both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts) -> Fractions:
    """Pearson's correlation of the two models' correctness (phi), from -1 to 1."""
    agree, differ = _products(both_right, only_a, only_b, both_wrong)
    right_a, right_b = (np.asarray(both_right + only, np.float64) for only in (only_a, only_b))
    wrong_a, wrong_b = (np.asarray(both_wrong + only, np.float64) for only in (only_b, only_a))
    # one root after the other: the product of four counts could leave the exact integers
    return ratio(agree - differ, np.sqrt(right_a * wrong_a) * np.sqrt(right_b * wrong_b))


def double_fault(both_wrong: Counts, n: Counts | int) -> Fractions:
    """Share of the images that both get wrong (Giacinto & Roli 2001)."""
    return ratio(both_wrong, n)


def log_odds_ratio(
    both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts
) -> tuple[Fractions, Fractions, Fractions]:
    """Natural log odds ratio and its 95% interval: estimate, low, high.

    With `CORRECTION` added to every cell, of estimate and variance alike: log(n11 n00 / n10 n01) +- z sqrt(sum 1/n)
    (Gart 1966). NaN where a model is always right or always wrong.
    """
    cells = _smoothed(both_right, only_a, only_b, both_wrong)
    logs = np.log(cells)
    estimate = logs[0] - logs[1] - logs[2] + logs[3]
    half = Z * np.sqrt((1 / cells).sum(axis=0))
    return estimate, estimate - half, estimate + half


def influences(both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts) -> dict[str, Influence]:
    """Influence of an image on each measure of hard predictions, by the measure's column; NaN where it is undefined.

    A measure is a function of the shares both right, right a and right b; these are its partial derivatives.

    Args:
        both_right: (P,) int64, as are the other three.
        only_a: images that only the first gets right.
        only_b: images that only the second gets right.
        both_wrong: images that both get wrong.
    """
    n = both_right + only_a + only_b + both_wrong
    both, first, second, neither = (ratio(cell, n) for cell in (both_right, only_a, only_b, both_wrong))
    a, b, inconsistency = both + first, both + second, first + second
    one = np.ones_like(a)
    by_chance = a * (1 - b) + b * (1 - a)
    agree, differ = both * neither, first * second
    steep = ratio(2 * np.ones_like(a), (agree + differ) ** 2)
    spread = np.sqrt(a * (1 - a) * b * (1 - b))
    phi = ratio(agree - differ, spread)
    odds = 1 / (_smoothed(both_right, only_a, only_b, both_wrong) / n)
    return {
        "error_inconsistency": Influence(-2 * one, one, one),
        "kappa": Influence(
            ratio(2 * one, by_chance),
            ratio(inconsistency * (1 - 2 * b), by_chance**2) - ratio(one, by_chance),
            ratio(inconsistency * (1 - 2 * a), by_chance**2) - ratio(one, by_chance),
        ),
        "yule_q": Influence(
            steep * (differ * (neither + both) + agree * (first + second)),
            steep * (-differ * both - agree * second),
            steep * (-differ * both - agree * first),
        ),
        "correlation": Influence(
            ratio(one, spread),
            -ratio(b, spread) - phi * ratio(1 - 2 * a, 2 * a * (1 - a)),
            -ratio(a, spread) - phi * ratio(1 - 2 * b, 2 * b * (1 - b)),
        ),
        "log_odds_ratio": Influence(odds.sum(axis=0), -odds[1] - odds[3], -odds[2] - odds[3]),
        "double_fault": Influence(one, -one, -one),
    }


def _products(
    both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts
) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.multiply(both_right, both_wrong, dtype=np.float64), np.multiply(only_a, only_b, dtype=np.float64)


def _smoothed(both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts) -> Fractions:
    """(4, ...) corrected cells, NaN where a margin is empty."""
    cells = np.stack([both_right, only_a, only_b, both_wrong]).astype(np.float64)
    margins = (cells[[0, 2]].sum(axis=0), cells[[1, 3]].sum(axis=0), cells[:2].sum(axis=0), cells[2:].sum(axis=0))
    return np.where(np.min(margins, axis=0) > 0, cells + CORRECTION, np.nan)
