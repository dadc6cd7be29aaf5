"""Whether two categories of pairs differ in a measure, judged by exchanging models that only they tell apart.

Exchangeable, if these two categories and those between them did not differ, are: sets of models that differ by less
than the lower category, which move as one with their pairs averaged; and those only with sets that differ from them by
no more than the upper one. So differences elsewhere in the zoo neither make nor hide one here.

Guarantees: the interval of a difference resamples models and images (see `measures`). A test has its null or a reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.bootstrap import Estimate, ends, weighted_deviations
from overlap.analysis.divergence import mantel
from overlap.analysis.divergence.matrices import DRAWS, ORDERED, Matrices, Tested
from overlap.analysis.divergence.measures import Compared, Measure

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]


def difference_tests(zoo: Matrices, a: int, b: int, permutations: int) -> list[Tested]:
    """Whether the categories of levels a < b differ: one of each measure."""
    levels = zoo.levels
    blocks = mantel.components((levels >= 0) & (levels <= b))
    units = mantel.components((levels >= 0) & (levels < a))
    block_of_unit = np.zeros(int(units.max(initial=-1)) + 1, np.int64)
    block_of_unit[units] = blocks
    between = (units[:, None] != units[None, :]) & (levels >= a) & (levels <= b)
    labels, mixed = _labels(levels, units, between, len(block_of_unit))
    defined = ~np.isnan(zoo.values) & (units[:, None] != units[None, :])[:, :, None]
    sums = mantel.pooled(np.where(defined, zoo.values, 0), units)
    counted = mantel.pooled(defined.astype(np.float64), units)
    present = counted > 0
    means = np.divide(sums, counted, out=np.zeros_like(sums), where=present)
    stacked = np.concatenate([means, present], axis=2)
    orders = mantel.orders(block_of_unit, permutations)
    totals = mantel.sums_by_level(stacked, np.where(mixed, -1, labels), len(ORDERED), orders)
    rows = []
    for place, measure in enumerate(zoo.measures):
        of_measure = totals[:, :, [place, len(zoo.measures) + place]]
        found = difference(zoo.compared, measure, zoo.selected, zoo.level, zoo.weight, a, b)
        p = None if found.mean is None else mantel.p_value(_mean(of_measure, b) - _mean(of_measure, a))
        if p is None and found.mean is not None:
            found = replace(found, reason=found.reason or "no exchange of models changes it")
        rows.append(Tested("difference", ORDERED[a], ORDERED[b], found, p, None if p is None else permutations))
    return rows


def _labels(
    levels: Indices, units: Indices, between: NDArray[np.bool_], number: int
) -> tuple[Indices, NDArray[np.bool_]]:
    """(U, U) level between two units, -1 for none, and whether their pairs have several."""
    least, most = np.full((number, number), len(ORDERED)), np.full((number, number), -1)
    first, second = np.nonzero(between)
    np.minimum.at(least, (units[first], units[second]), levels[first, second])
    np.maximum.at(most, (units[first], units[second]), levels[first, second])
    return most, (most >= 0) & (least != most)


def _mean(sums: Fractions, level: int) -> Fractions:
    mean = np.full(len(sums), np.nan)
    np.divide(sums[:, level, 0], sums[:, level, 1], out=mean, where=sums[:, level, 1] > 0)
    return mean


def difference(
    compared: Compared,
    measure: Measure,
    selected: NDArray[np.bool_],
    level: Indices,
    weight: Fractions,
    a: int,
    b: int,
) -> Estimate:
    """Mean of level b less mean of level a, over pairs, with its interval.

    Args:
        compared: the zoo.
        measure: of its P pairs.
        selected: (P,).
        level: (P,).
        weight: (`DRAWS`, M) exponential weights of all models.
        a: the lower level.
        b: the upper.
    """
    members = [np.flatnonzero((level == one) & selected & ~np.isnan(measure.values)) for one in (a, b)]
    if not all(len(pairs) for pairs in members):
        return Estimate(reason="a category without a pair for which it is defined")
    low, high = (float(measure.values[pairs].mean()) for pairs in members)
    if min(len(pairs) for pairs in members) == 1:
        return Estimate(high - low, reason="a category of one pair has no interval over models")
    share = np.zeros(len(measure.values))
    share[members[0]], share[members[1]] = -1 / len(members[0]), 1 / len(members[1])
    first, second = compared.indices
    of_a, of_b = (weighted_deviations(weight, measure.values[pairs], first[pairs], second[pairs]) for pairs in members)
    images = np.sqrt(max(0.0, compared.noise(measure, share)))
    noise = images * np.random.default_rng([a, b]).standard_normal(DRAWS)
    least, greatest = ends(high - low + of_b - of_a + noise)
    return Estimate(high - low, min(least, high - low), max(greatest, high - low))
