"""Compiled draws from the Dirichlet(1/2) posterior of the four cells of a pair, reduced to quantiles of kappa.

Guarantees: what is drawn for a pair depends on its four counts alone. A Dirichlet draw is four independent gammas.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled, dividing

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


@compiled
def _next(state: np.uint64) -> tuple[np.uint64, np.uint64]:
    """SplitMix64 (Steele et al. 2014): the next state and 64 random bits; any seed gives a good stream."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    word = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, word ^ (word >> np.uint64(31))


@compiled
def _uniform(word: np.uint64) -> float:
    """The lower 48 bits as a number strictly between 0 and 1."""
    return (np.float64(np.int64(word & np.uint64(0xFFFFFFFFFFFF))) + 0.5) * 2.0**-48


@compiled
def _gammas(count: int, state: np.uint64, normal: Fractions, out: Fractions) -> np.uint64:
    """Fill with Gamma(count + 1/2) variates after Marsaglia & Tsang (2000); normals are read from the quantiles."""
    shape = count + 0.5 if count > 0 else 1.5
    d = shape - 1 / 3
    c = 1 / np.sqrt(9 * d)
    for draw in range(len(out)):
        while True:
            state, word = _next(state)
            x, u = normal[word >> np.uint64(48)], _uniform(word)
            v = 1 + c * x
            v, x2 = v * v * v, x * x
            if v > 0 and (u < 1 - 0.0331 * x2 * x2 or np.log(u) < 0.5 * x2 + d * (1 - v + np.log(v))):
                break
        out[draw] = d * v
        if count == 0:  # Gamma(1/2) = Gamma(3/2) U^2
            state, word = _next(state)
            out[draw] *= _uniform(word) ** 2
    return state


@compiled
def _ranked(values: Fractions, rank: int) -> float:
    """The value of this rank, exactly: of 512 equal buckets only its own is sorted (sorting all is 20 × slower)."""
    least = greatest = values[0]
    for value in values:
        least, greatest = min(least, value), max(greatest, value)
    if least == greatest:
        return float(least)
    scale = 511.999 / (greatest - least)
    sizes = np.zeros(512, np.int64)
    for value in values:
        sizes[int((value - least) * scale)] += 1
    bucket, below = 0, 0
    while below + sizes[bucket] <= rank:
        below += sizes[bucket]
        bucket += 1
    members, filled = np.empty(sizes[bucket]), 0
    for value in values:
        if int((value - least) * scale) == bucket:
            members[filled] = value
            filled += 1
    return _selected(members, rank - below)


@compiled
def _selected(values: Fractions, rank: int) -> float:
    """The value of this rank, the values being reordered (Hoare 1961); compiled in less time than numba's own sort."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if right < rank < left:
            break
        low, high = (low, right) if rank <= right else (left, high)
    return float(values[rank])


@dividing
def _kappas(p11: Fractions, p10: Fractions, p01: Fractions, p00: Fractions, kappas: Fractions) -> None:
    for draw in range(len(kappas)):
        a, b, c, d = p11[draw], p10[draw], p01[draw], p00[draw]
        kappas[draw] = 2 * (a * d - b * c) / ((a + b) * (b + d) + (a + c) * (c + d))


@compiled
def kappa_quantiles(cells: Counts, normal: Fractions, draws: int, low: Fractions, high: Fractions) -> None:
    """Write the 2.5% and 97.5% quantiles of the posterior of kappa, widened to hold the estimate; NaN where undefined.

    Kappa of a draw needs no normalising: its formula on the four cells is homogeneous of degree 0.

    Args:
        cells: (P, 4) counts both right, only one, only the other, both wrong; they also seed the pair's random numbers.
        normal: 65,536 equally likely quantiles of the standard normal.
        draws: posterior draws of one pair.
        low: (P,), written.
        high: (P,), written.
    """
    p, kappas = np.empty((4, draws)), np.empty(draws)
    tail = draws // 40
    for pair in range(len(cells)):
        n11, n10, n01, n00 = cells[pair]
        expected = (n11 + n10) * (n10 + n00) + (n11 + n01) * (n01 + n00)
        if expected == 0:
            low[pair], high[pair] = np.nan, np.nan
            continue
        state = np.uint64(0)
        for count in cells[pair]:
            state, word = _next(state ^ np.uint64(count))
            state = word
        for cell in range(4):
            state = _gammas(cells[pair, cell], state, normal, p[cell])
        _kappas(p[0], p[1], p[2], p[3], kappas)
        estimate = 2 * (n11 * n00 - n10 * n01) / expected
        low[pair] = min(estimate, _ranked(kappas, tail))
        high[pair] = max(estimate, _ranked(kappas, draws - 1 - tail))
