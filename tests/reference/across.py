"""Pairs on two data sets and their rank correlation, one loop at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

Pair = tuple[str, str]


def beside(on_x: Mapping[Pair, float | None], on_y: Mapping[Pair, float | None]) -> list[tuple[Pair, float, float]]:
    """Pairs with a value on both, in order of names."""
    found = []
    for pair in sorted(on_x):
        if pair in on_y:
            x, y = on_x[pair], on_y[pair]
            if x is not None and y is not None:
                found.append((pair, x, y))
    return found


def ranks(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Weight below each value, and half of the weight at it."""
    found = []
    for value in values:
        rank = 0.0
        for other, weight in zip(values, weights, strict=True):
            if other < value:
                rank += weight
            elif other == value:
                rank += weight / 2
        found.append(rank)
    return found


def rank_correlation(x: Sequence[float], y: Sequence[float], weights: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks under the weights; None where one is constant."""
    rank_x, rank_y = ranks(x, weights), ranks(y, weights)
    total = sum(weights)
    mean_x = sum(w * r for w, r in zip(weights, rank_x, strict=True)) / total
    mean_y = sum(w * r for w, r in zip(weights, rank_y, strict=True)) / total
    both = square_x = square_y = 0.0
    for w, a, b in zip(weights, rank_x, rank_y, strict=True):
        both += w * (a - mean_x) * (b - mean_y)
        square_x += w * (a - mean_x) ** 2
        square_y += w * (b - mean_y) ** 2
    if len(set(x)) == 1 or len(set(y)) == 1:
        return None
    return both / sqrt(square_x * square_y)
