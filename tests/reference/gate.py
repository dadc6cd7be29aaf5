"""The accuracy gate in plain Python: binomial tails summed term by term, and every permutation tried."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import comb


def tail(right: int, n: int, share: float) -> float:
    """Chance of at least `right` of `n` where each is right with chance `share`."""
    return sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(right, n + 1))


def exact_interval(right: int, n: int, alpha: float) -> tuple[float, float]:
    """Shares that neither tail refuses at alpha / 2, by bisection on the tails."""

    def solve(count: int, target: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(count, n, middle) < target else (low, middle)
        return low

    return (
        0.0 if right == 0 else solve(right, alpha / 2),
        1.0 if right == n else solve(right + 1, 1 - alpha / 2),
    )


def best_order(counts: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Right answers under the best permutation, and the most classes that one so good leaves in place."""
    classes = len(counts)
    best = (-1, -1)
    for order in permutations(range(classes)):
        right = sum(counts[place][held] for place, held in enumerate(order))
        fixed = sum(place == held for place, held in enumerate(order))
        best = max(best, (right, fixed))
    return best
