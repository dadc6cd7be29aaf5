"""How far means of levels differ beyond the noise within: one-way analysis of variance with unequal variances.

The variance between levels is (Q - W) / (n - sum n_k^2 / n), where Q = sum n_k (m_k - m)^2 and W, its expectation
where all levels have one mean, is the sum of (1 - n_k / n) s_k^2. Q / W is Brown and Forsythe's ratio (1974), and both
degrees of freedom are those of Mehrotra (1997), without which it rejects too often.

Guarantees: of integers these are the same in whatever order they were summed; undefined is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]


@compiled
def by_class(size: Indices, total: Indices, square: Indices, ratio: Fractions) -> float:
    """Spread between classes; `ratio` gets the ratio of variances and its degrees of freedom."""
    mean, variance, weight = np.empty(len(size)), np.empty(len(size)), np.empty(len(size))
    used = 0
    for level in range(len(size)):
        n = size[level]
        if n > 1:
            mean[used] = total[level] / n
            variance[used] = (square[level] - total[level] * mean[used]) / (n - 1)
            weight[used] = n
            used += 1
    return _between(mean[:used], variance[:used], weight[:used], ratio)


@compiled
def by_group(size: Indices, total: Indices, of_class: Indices, groups: int, ratio: Fractions) -> float:
    """Spread between groups of the means of their classes."""
    mean, variance, weight = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    for level in range(len(size)):
        if of_class[level] >= 0 and size[level]:
            mean[of_class[level]] += total[level] / size[level]
            weight[of_class[level]] += 1
    for group in range(groups):
        mean[group] /= max(1.0, weight[group])
    for level in range(len(size)):
        if of_class[level] >= 0 and size[level]:
            variance[of_class[level]] += (total[level] / size[level] - mean[of_class[level]]) ** 2
    used = 0
    for group in range(groups):
        if weight[group] > 1:
            mean[used], weight[used] = mean[group], weight[group]
            variance[used] = variance[group] / (weight[group] - 1)
            used += 1
    return _between(mean[:used], variance[:used], weight[:used], ratio)


@compiled
def _between(mean: Fractions, variance: Fractions, weight: Fractions, ratio: Fractions) -> float:
    """Standard deviation between levels, less the noise within them; `weight` counts the observations of a level."""
    ratio[:] = np.nan
    n = weight.sum()
    if len(mean) < 2:
        return np.nan
    share = weight / n
    centre = (share * mean).sum()
    between = (weight * (mean - centre) ** 2).sum()
    noise = ((1 - share) * variance).sum()
    if noise > 0:
        ratio[0] = between / noise
        ratio[1] = noise**2 / ((variance**2 * (1 - 2 * share)).sum() + (share * variance).sum() ** 2)
        ratio[2] = noise**2 / (((1 - share) * variance) ** 2 / (weight - 1)).sum()
    return math.sqrt(max(0.0, (between - noise) / (n * (1 - (share**2).sum()))))
