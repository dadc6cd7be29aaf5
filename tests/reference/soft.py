"""CAPA and the divergences of two models' probabilities in plain Python: one image and one class at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, sqrt

Rows = Sequence[Sequence[float]]


def overlap(p: Sequence[float], q: Sequence[float], accepted: Sequence[int]) -> float:
    """The accepted classes together are one option."""
    wrong = [c for c in range(len(p)) if c not in accepted]
    return sum(p[c] for c in accepted) * sum(q[c] for c in accepted) + sum(p[c] * q[c] for c in wrong)


def capa(first: Rows, second: Rows, accepted: Sequence[Sequence[int]]) -> float:
    """kappa_p of paper.md, 4.4."""
    n = len(first)
    observed = sum(overlap(p, q, right) for p, q, right in zip(first, second, accepted, strict=True)) / n
    u = sum(sum(p[c] for c in right) for p, right in zip(first, accepted, strict=True)) / n
    v = sum(sum(q[c] for c in right) for q, right in zip(second, accepted, strict=True)) / n
    options = sum(1 / (len(p) - len(right)) for p, right in zip(first, accepted, strict=True)) / n
    expected = u * v + (1 - u) * (1 - v) * options
    return (observed - expected) / (1 - expected)


def symmetric_kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(x * log(x / y) + y * log(y / x) for x, y in zip(p, q, strict=True))


def jensen_shannon(p: Sequence[float], q: Sequence[float]) -> float:
    middle = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    return sum(x * log(x / m) / 2 + y * log(y / m) / 2 for x, y, m in zip(p, q, middle, strict=True))


def mean_and_error(
    divergence: Callable[[Sequence[float], Sequence[float]], float], first: Rows, second: Rows
) -> tuple[float, float]:
    values = [divergence(p, q) for p, q in zip(first, second, strict=True)]
    mean = sum(values) / len(values)
    return mean, sqrt(sum((value - mean) ** 2 for value in values) / len(values) / (len(values) - 1))


def jackknifed(statistic: Callable[[Sequence[int]], float], n: int) -> float:
    """Standard error of a statistic of images, each left out once."""
    values = [statistic([x for x in range(n) if x != image]) for image in range(n)]
    mean = sum(values) / n
    return sqrt((n - 1) / n * sum((value - mean) ** 2 for value in values))
