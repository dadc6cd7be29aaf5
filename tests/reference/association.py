"""Association of two models' correctness in plain Python, from the answers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

from tests.reference.consistency import cells


def yule_q(a: Sequence[bool], b: Sequence[bool]) -> float | None:
    both, only_a, only_b, neither = cells(a, b)
    bottom = both * neither + only_a * only_b
    return (both * neither - only_a * only_b) / bottom if bottom else None


def correlation(a: Sequence[bool], b: Sequence[bool]) -> float | None:
    """Pearson's correlation of zeros and ones."""
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a, square_b = sum((x - mean_a) ** 2 for x in a), sum((y - mean_b) ** 2 for y in b)
    return both / sqrt(square_a * square_b) if len(set(a)) > 1 and len(set(b)) > 1 else None


def log_odds_ratio(a: Sequence[bool], b: Sequence[bool]) -> tuple[float, float] | None:
    """Estimate and standard error with half an image more in every cell."""
    if len(set(a)) == 1 or len(set(b)) == 1:
        return None
    both, only_a, only_b, neither = (count + 0.5 for count in cells(a, b))
    return log(both * neither / (only_a * only_b)), sqrt(1 / both + 1 / only_a + 1 / only_b + 1 / neither)
