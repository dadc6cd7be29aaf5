"""Whether a measure follows the order of the categories: rank correlation over pairs, tested by exchanging models.

The paper's categories are levels without a scale, and measures have no common one: so both are ranked. Guarantees: the
interval resamples models, not images, whose noise lowers a correlation. A test has its null or a reason.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from overlap.analysis.bootstrap import Estimate, ends, widening
from overlap.analysis.divergence import mantel
from overlap.analysis.divergence.matrices import DRAWS, ORDERED, Matrices, Tested

Fractions = NDArray[np.float64]


def order_tests(zoo: Matrices, permutations: int) -> list[Tested]:
    """Spearman's correlation of measure and level over pairs, all models being exchanged: one of each measure."""
    models, measures = len(zoo.levels), len(zoo.measures)
    upper = np.triu(np.ones((models, models), np.bool_), 1)
    values = np.zeros((models, models, 3 * measures))
    for place in range(measures):
        defined = ~np.isnan(zoo.values[:, :, place]) & upper
        rank = np.zeros((models, models))
        if defined.any():
            rank[defined] = rankdata(zoo.values[defined, place]) / defined.sum() - 0.5
        columns = np.stack([rank, rank**2, defined], axis=-1)
        values[:, :, 3 * place : 3 * place + 3] = columns + columns.transpose(1, 0, 2)
    orders = mantel.orders(np.zeros(models, np.int64), permutations)
    totals = mantel.sums_by_level(values, zoo.levels, len(ORDERED), orders)
    rows = []
    for place in range(measures):
        of_measure = totals[:, :, 3 * place : 3 * place + 3]
        sizes = of_measure[0, :, 2]
        level_rank = np.cumsum(sizes) - sizes / 2  # the middle of a level's pairs
        if (sizes > 0).sum() < 2:
            rows.append(Tested("order", None, None, Estimate(reason="pairs of fewer than two categories")))
            continue
        correlations = correlation(of_measure, level_rank)
        estimate = float(correlations[0].round(12))
        if np.isnan(estimate):
            rows.append(Tested("order", None, None, Estimate(reason="all pairs have one value")))
            continue
        interval = _interval(zoo, values[:, :, 3 * place : 3 * place + 3], level_rank, estimate)
        p = mantel.p_value(correlations)
        reason = "no exchange of models changes it" if p is None else None
        found = Estimate(estimate, *interval, reason)
        rows.append(Tested("order", None, None, found, p, None if p is None else permutations))
    return rows


def correlation(sums: Fractions, ranks: Fractions) -> Fractions:
    """(B,): Pearson's correlation over pairs, from sums (B, levels, 3) of value, its square and one."""
    x, xx, size = sums[:, :, 0], sums[:, :, 1], sums[:, :, 2]
    n = size.sum(axis=1)
    mean_x, mean_y = x.sum(axis=1) / n, (size @ ranks) / n
    both = (x @ ranks) / n - mean_x * mean_y
    spread = (xx.sum(axis=1) / n - mean_x**2) * ((size @ ranks**2) / n - mean_y**2)
    result = np.full(len(n), np.nan)
    np.divide(both, np.sqrt(np.maximum(spread, 0)), out=result, where=spread > 1e-15)
    return result


def _interval(zoo: Matrices, values: Fractions, ranks: Fractions, estimate: float) -> tuple[float, float]:
    """Models resampled; ranks stay those of the zoo."""
    models = len(zoo.levels)
    weight = zoo.weight[:, :models]
    sums = np.empty((DRAWS, len(ORDERED), 3))
    for level in range(len(ORDERED)):
        pairs = np.triu(zoo.levels == level, 1)
        for place in range(3):
            sums[:, level, place] = ((weight @ (values[:, :, place] * pairs)) * weight).sum(axis=1)
    drawn = correlation(sums, ranks)
    low, high = ends(estimate + (drawn[~np.isnan(drawn)] - estimate) * widening(models))
    return max(-1.0, min(low, estimate)), min(1.0, max(high, estimate))
