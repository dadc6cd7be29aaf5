"""Statistics of a matrix of models whose labels are exchanged, one pair at a time."""

from __future__ import annotations

from collections.abc import Sequence


def sums(
    values: Sequence[Sequence[float]], levels: Sequence[Sequence[int]], order: Sequence[int], number: int
) -> list[float]:
    """By level of the pair at each place, the sum of the values that the order puts there."""
    found = [0.0] * number
    for i in range(len(order)):
        for j in range(i + 1, len(order)):
            if levels[i][j] >= 0:
                found[levels[i][j]] += values[order[i]][order[j]]
    return found


def difference(values: Sequence[Sequence[float]], levels: Sequence[Sequence[int]], a: int, b: int) -> float:
    """Mean over the pairs of level b less that over those of level a."""
    means = []
    for level in (a, b):
        of_level = [
            values[i][j] for i in range(len(values)) for j in range(i + 1, len(values)) if levels[i][j] == level
        ]
        means.append(sum(of_level) / len(of_level))
    return means[1] - means[0]
