"""HSIC_1 and linear CKA as their papers write them, over full Gram matrices of each minibatch."""

from __future__ import annotations

from collections.abc import Sequence

Rows = Sequence[Sequence[float]]


def gram(features: Rows) -> list[list[float]]:
    """Inner products of all images but each with itself."""
    return [
        [sum(p * q for p, q in zip(x, y, strict=True)) if i != j else 0.0 for j, y in enumerate(features)]
        for i, x in enumerate(features)
    ]


def hsic(a: Rows, b: Rows) -> float:
    """Song et al. (2012), equation 5: tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1, over n (n - 3)."""
    n, of_a, of_b = len(a), gram(a), gram(b)
    places = range(n)
    trace = sum(of_a[i][j] * of_b[j][i] for i in places for j in places)
    sums = sum(map(sum, of_a)) * sum(map(sum, of_b)) / ((n - 1) * (n - 2))
    cross = sum(sum(of_a[i]) * sum(of_b[i]) for i in places) * 2 / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def cka(a: Rows, b: Rows, sizes: Sequence[int]) -> float:
    """Over minibatches of these sizes, each weighted by n (n - 3)."""
    totals, start = [0.0, 0.0, 0.0], 0
    for size in sizes:
        x, y = a[start : start + size], b[start : start + size]
        for place, (first, second) in enumerate([(x, y), (x, x), (y, y)]):
            totals[place] += size * (size - 3) * hsic(first, second)
        start += size
    return totals[0] / (totals[1] * totals[2]) ** 0.5
