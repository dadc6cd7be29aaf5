"""Paired comparisons in plain Python: McNemar's exact test, Holm's correction, and ranks by every single comparison."""

from __future__ import annotations

from fractions import Fraction
from math import comb


def sign_test(plus: int, minus: int) -> Fraction:
    """Chance that a fair coin, thrown for each changed image, splits them so or more unevenly."""
    changed = plus + minus
    far = [heads for heads in range(changed + 1) if abs(2 * heads - changed) >= abs(plus - minus)]
    return Fraction(sum(comb(changed, heads) for heads in far), 2**changed)


def holm(p_values: list[float], level: float) -> list[bool]:
    """Which are rejected: the smallest at level/m, the next at level/(m - 1), until one is not."""
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for step, place in enumerate(order):
        if p_values[place] * (len(p_values) - step) >= level:
            break
        rejected[place] = True
    return rejected


def rank(row: int, right: list[list[bool]]) -> tuple[int, int, int]:
    """(rank, best, worst) of one model, from every image one by one."""
    mine, others = right[row], [one for place, one in enumerate(right) if place != row]
    better = [sum(one) > sum(mine) for one in others]
    worse = [sum(one) < sum(mine) for one in others]
    beyond = []
    for one in others:
        plus = sum(a and not b for a, b in zip(mine, one, strict=True))
        minus = sum(b and not a for a, b in zip(mine, one, strict=True))
        beyond.append(sign_test(plus, minus) * len(others) < Fraction(1, 20))
    surely_better = sum(a and b for a, b in zip(better, beyond, strict=True))
    surely_worse = sum(a and b for a, b in zip(worse, beyond, strict=True))
    return 1 + sum(better), 1 + surely_better, len(right) - surely_worse


def only_right(right: list[list[bool]]) -> list[int]:
    """Images that each model gets right and no other does."""
    columns = list(zip(*right, strict=True))
    return [sum(column[row] and sum(column) == 1 for column in columns) for row in range(len(right))]
