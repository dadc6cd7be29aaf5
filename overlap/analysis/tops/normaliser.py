"""Between what the sum of exp((z - max z) / T) lies, from the largest logits and moments of the rest.

With s no less than every logit of the rest (or no more), R_s(b) = sum of exp(b (z - s)) has derivatives of known sign:
even ones are positive, odd ones negative (positive). The error of Hermite's interpolation is a derivative times a
product of known sign, so that interpolants with every node doubled are lower bounds, and those with one node single are
upper bounds, of the order of the nodes. Beside them stand tangents and chords of log R, which is convex. Guarantees:
the sum over all classes lies within the bounds, for every temperature in `calibration.BOUNDS`, rounding of what is
stored included; outside of it there are none. (Error of interpolation: any text on numerical analysis, e.g. Stoer &
Bulirsch, section 2.1.5.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.tops.moments import GRID

Fractions = NDArray[np.float64]

ROUNDED = 2.0**-23
"""Relative error of a stored moment, at most (float32 rounds to half of it)."""

FLOATING = 1e-12
"""Relative error of what is computed here in float64, at most."""

NEAR = 3
"""Nodes of the grid that interpolation takes on either side."""


@dataclass(frozen=True)
class Rest:
    """The classes outside the largest, on n images; logits are less the largest.

    Attributes:
        log: (n, G) log R at every inverse temperature of `GRID`, mean: (n, G) its derivative.
        most: (n,) no logit of the rest is larger, least: (n,) none is smaller.
    """

    log: Fractions
    mean: Fractions
    most: Fractions
    least: Fractions

    def take(self, images: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Rest:
        """That of some images."""
        return Rest(self.log[images], self.mean[images], self.most[images], self.least[images])


def bounds(rest: Rest, inverse: float) -> tuple[Fractions, Fractions]:
    """(n,), (n,): between which R(b) lies at one inverse temperature.

    Raises:
        ValueError: an inverse temperature outside the grid.
    """
    if not GRID[0] <= inverse <= GRID[-1]:
        raise ValueError(f"inverse temperature {inverse} is outside the moments' {GRID[0]} to {GRID[-1]}")
    error = ROUNDED * np.abs(rest.log) + FLOATING
    if inverse in GRID:
        place = GRID.index(inverse)
        return np.exp(rest.log[:, place] - error[:, place]), np.exp(rest.log[:, place] + error[:, place])
    right = int(np.searchsorted(GRID, inverse))
    low, high = _simple(rest, error, inverse, right)
    for nodes, shift, is_upper in _choices(inverse, right):
        s = rest.most if shift > 0 else rest.least
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows bounds nothing
            value, slack = _interpolated(rest, s, nodes, inverse)
            ends = value + slack if is_upper else value - slack
        if is_upper:
            np.fmin(high, ends, out=high)
        else:
            np.fmax(low, ends, out=low)
    return low, np.maximum(low, high)


def _simple(rest: Rest, error: Fractions, inverse: float, right: int) -> tuple[Fractions, Fractions]:
    """Tangents below and the chord above, both of log R."""
    left = right - 1
    tangents = []
    for place in (left, right):
        step = inverse - GRID[place]
        slope_error = ROUNDED * np.abs(rest.mean[:, place]) * abs(step)
        tangents.append(rest.log[:, place] + rest.mean[:, place] * step - error[:, place] - slope_error)
    share = (inverse - GRID[left]) / (GRID[right] - GRID[left])
    chord = (1 - share) * (rest.log[:, left] + error[:, left]) + share * (rest.log[:, right] + error[:, right])
    return np.exp(np.maximum(*tangents) - FLOATING), np.exp(chord + FLOATING)


def _choices(inverse: float, right: int) -> Iterator[tuple[tuple[tuple[int, int], ...], int, bool]]:
    """Nodes with how often they count, whether the shift is the most (1) or the least (-1), and whether it is upper."""
    left = right - 1
    for before in range(NEAR):
        for after in range(NEAR):
            places = range(max(0, left - before), min(len(GRID), right + after + 1))
            if len(places) != before + after + 2:
                continue
            yield tuple((place, 2) for place in places), 1, False
            yield tuple((place, 2) for place in places), -1, False
            for single in places:  # negative odd derivatives need it on the left, positive ones on the right
                shift = 1 if GRID[single] < inverse else -1
                yield tuple((place, 1 if place == single else 2) for place in places), shift, True


def _interpolated(
    rest: Rest, shift: Fractions, nodes: Sequence[tuple[int, int]], inverse: float
) -> tuple[Fractions, Fractions]:
    """Hermite's interpolant of R_s, times exp(b s), and by how much stored values can be off."""
    values, slopes = _weights(nodes, inverse)
    total, slack = np.zeros(len(shift)), np.zeros(len(shift))
    for (place, times), weight, slope in zip(nodes, values, slopes, strict=True):
        b = GRID[place]
        scale = np.exp(rest.log[:, place] + shift * (inverse - b))
        lead = rest.mean[:, place] - shift
        part = (weight + slope * lead) * scale
        off = ROUNDED * np.abs(rest.log[:, place]) + 10 * FLOATING * (1 + np.abs(rest.log[:, place]))
        total += part
        slack += off * (abs(weight) + np.abs(slope * lead)) * scale
        if times == 2:
            slack += np.abs(slope) * ROUNDED * np.abs(rest.mean[:, place]) * scale
    return total, slack


def _weights(nodes: Sequence[tuple[int, int]], inverse: float) -> tuple[Fractions, Fractions]:
    """How much the value and the slope at each node count, in the interpolant at one point; scalars of the grid."""
    centre = inverse
    width = max(abs(GRID[place] - centre) for place, _ in nodes)
    rows, owner = [], []
    degree = sum(times for _, times in nodes)
    for number, (place, times) in enumerate(nodes):
        x = (GRID[place] - centre) / width
        rows.append([x**power for power in range(degree)])
        owner.append((number, 0))
        if times == 2:
            rows.append([power * x ** (power - 1) if power else 0.0 for power in range(degree)])
            owner.append((number, 1))
    wanted = np.zeros(degree)
    wanted[0] = 1.0  # the polynomial's value at the centre is its first coefficient
    solved = np.linalg.solve(np.array(rows).T, wanted)
    values, slopes = np.zeros(len(nodes)), np.zeros(len(nodes))
    for (number, kind), weight in zip(owner, solved, strict=True):
        if kind:
            slopes[number] = weight * width
        else:
            values[number] = weight
    return values, slopes
