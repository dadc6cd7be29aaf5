"""Permutations of models, rows and columns together (Mantel 1967; QAP, Hubert & Schultz 1976).

Pairs share models, so that they cannot be permuted one by one: what is exchangeable, where categories do not matter, is
which model has which row and column of the measure. Guarantees: random numbers depend on the sizes alone; sums by
category of each permutation, from which any statistic of them follows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from overlap.analysis.compiler import compiled

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

COLUMNS = 8
"""Values of a pair that are summed together: a line of the cache."""


def sums_by_level(values: Fractions, levels: Indices, number: int, orders: Indices) -> Fractions:
    """(B, number, D): sums of the values over the pairs of each level, the objects permuted.

    Args:
        values: (U, U, D) symmetric, of every two objects; zero where there is nothing to add.
        levels: (U, U) symmetric, 0..number-1, or -1 for pairs that are not looked at; stays where it is.
        number: of levels.
        orders: (B, U) permutations: the object whose values stand at each place.
    """
    total = np.zeros((len(orders), number, values.shape[2]))
    first, second = (indices.astype(np.int64) for indices in np.nonzero(np.triu(levels >= 0, 1)))
    level = levels[first, second]
    places: dict[bytes, list[int]] = {}  # measures are mostly defined for the same pairs: those are counted once
    for place in range(values.shape[2]):
        places.setdefault(values[:, :, place].tobytes(), []).append(place)
    once = list(places.values())
    for start in range(0, len(once), COLUMNS):
        part = once[start : start + COLUMNS]
        sums = np.zeros((len(orders), number, len(part)))
        columns = np.ascontiguousarray(values[:, :, [equal[0] for equal in part]], np.float64)
        _add(columns, first, second, level, orders, sums)
        for place, equal in enumerate(part):
            total[:, :, equal] = sums[:, :, [place]]
    return total


def orders(blocks: Indices, permutations: int) -> Indices:
    """(1 + permutations, U): the order as it is, then random ones that exchange objects of one block only."""
    found = np.tile(np.arange(len(blocks)), (permutations + 1, 1))
    random = np.random.default_rng([len(blocks), permutations])
    for block in np.unique(blocks):
        members = np.flatnonzero(blocks == block)
        if len(members) > 1:
            found[1:, members] = random.permuted(found[1:, members], axis=1)
    return found


def components(near: NDArray[np.bool_]) -> Indices:
    """(M,): number of the set that each model belongs to, sets being joined wherever two models are near."""
    return np.asarray(connected_components(near | near.T, directed=False)[1], np.int64)


def pooled(values: Fractions, groups: Indices) -> Fractions:
    """(U, U, D): the values (M, M, D) summed over the pairs between each two groups."""
    member = np.zeros((int(groups.max(initial=-1)) + 1, len(groups)))
    member[groups, np.arange(len(groups))] = 1
    return np.asarray(np.einsum("um,mnd,vn->uvd", member, values, member, optimize=True))


def p_value(statistics: Fractions) -> float | None:
    """Two-sided, twice the smaller tail; the observed one, which comes first, counts among the permutations.

    Args:
        statistics: (B,) of the observed order, then of the permuted ones; NaN where a permutation has none.

    Returns:
        None where the observed statistic is undefined, or where no permutation changes it.
    """
    found = statistics[~np.isnan(statistics)].round(12)
    if np.isnan(statistics[0]) or (found == found[0]).all():
        return None
    tail = min(int((found >= found[0]).sum()), int((found <= found[0]).sum()))
    return min(1.0, 2 * tail / len(found))


@compiled
def _add(values: Fractions, first: Indices, second: Indices, level: Indices, orders: Indices, total: Any) -> None:
    for draw in range(len(orders)):
        order = orders[draw]
        for pair in range(len(first)):
            row = values[order[first[pair]], order[second[pair]]]
            sums = total[draw, level[pair]]
            for d in range(len(row)):
                sums[d] += row[d]
