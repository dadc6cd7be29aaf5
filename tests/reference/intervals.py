"""Intervals in plain Python: the posterior of kappa by the standard library, the paired gain by its formula."""

from __future__ import annotations

import random
from math import sqrt


def kappa_interval(table: tuple[int, int, int, int], draws: int, seed: int) -> tuple[float, float]:
    """2.5% and 97.5% quantiles of kappa under the Dirichlet(1/2) posterior of the four cells."""
    generator = random.Random(seed)
    kappas = []
    for _ in range(draws):
        gammas = [generator.gammavariate(count + 0.5, 1) for count in table]
        p11, p10, p01, _ = (gamma / sum(gammas) for gamma in gammas)
        a, b = p11 + p10, p11 + p01
        expected = a * (1 - b) + b * (1 - a)
        kappas.append(1 - (p10 + p01) / expected)
    kappas.sort()
    return kappas[draws // 40], kappas[draws - 1 - draws // 40]


def gain_interval(plus: int, minus: int, n: int) -> tuple[float, float]:
    """Agresti & Min: half an image to each cell of the paired table, then mean and variance of the change."""
    cells = [plus + 0.5, minus + 0.5, n - plus - minus + 1]
    changes = [1, -1, 0]
    total = sum(cells)
    mean = sum(cell * change for cell, change in zip(cells, changes, strict=True)) / total
    variance = sum(cell * (change - mean) ** 2 for cell, change in zip(cells, changes, strict=True)) / total
    half = 1.959963984540054 * sqrt(variance / total)
    gain = (plus - minus) / n
    return max(-1.0, min(mean - half, gain)), min(1.0, max(mean + half, gain))
