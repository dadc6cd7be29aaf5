"""Order and differences of categories over a selection of pairs: estimates with intervals over models, and no tests.

A test by permuting models needs every pair of them: of a selection that depends on categories, what a permutation puts
in a category is not what was chosen of it. Guarantees: nothing is held for each two models; estimates and intervals are
those of `order` and `differences` where the selection is all pairs.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from overlap.analysis.bootstrap import Estimate, ends, weighted_sums, widening
from overlap.analysis.divergence.differences import difference
from overlap.analysis.divergence.matrices import DRAWS, ORDERED, Tested
from overlap.analysis.divergence.measures import Compared, Measure
from overlap.analysis.divergence.order import correlation
from overlap.analysis.pairs import category_numbers
from overlap.analysis.some_pairs import Indices

Fractions = NDArray[np.float64]

UNTESTED = "models cannot be permuted where measures are of a selection of pairs"


def sampled_tests(compared: Compared, measure: Measure, selected: NDArray[np.bool_]) -> list[Tested]:
    """The order of one measure over a selection (P,) of the compared pairs, then every difference; without p-values."""
    number = category_numbers(compared.categories)
    level = np.where(number < len(ORDERED), number, -1)
    weight = np.random.default_rng(len(compared.models)).standard_exponential((DRAWS, len(compared.models)))
    rows = [Tested("order", None, None, _said(_order(compared, measure, selected, level, number, weight)))]
    for a, b in combinations(range(len(ORDERED)), 2):
        found = difference(compared, measure, selected, level, weight, a, b)
        rows.append(Tested("difference", ORDERED[a], ORDERED[b], _said(found)))
    return rows


def _said(found: Estimate) -> Estimate:
    return found if found.mean is None or found.reason else replace(found, reason=UNTESTED)


def _order(
    compared: Compared,
    measure: Measure,
    selected: NDArray[np.bool_],
    level: Indices,
    number: Indices,
    weight: Fractions,
) -> Estimate:
    """Spearman's correlation of measure and level, and its interval: the ranks stay those of the selection."""
    defined = np.flatnonzero(selected & (number < len(ORDERED)) & ~np.isnan(measure.values))
    rank = rankdata(measure.values[defined]) / max(1, len(defined)) - 0.5
    levelled = level[defined] >= 0
    pairs, rank = defined[levelled], rank[levelled]
    columns = np.stack([rank, rank**2, np.ones(len(rank))], axis=1)
    members = [level[pairs] == place for place in range(len(ORDERED))]
    observed = np.array([columns[inside].sum(axis=0) for inside in members])
    sizes = observed[:, 2]
    level_rank = np.cumsum(sizes) - sizes / 2
    if (sizes > 0).sum() < 2:
        return Estimate(reason="pairs of fewer than two categories")
    estimate = float(correlation(observed[None], level_rank)[0].round(12))
    if np.isnan(estimate):
        return Estimate(reason="all pairs have one value")
    first, second = (indices[pairs] for indices in compared.indices)
    models = len(np.unique(np.concatenate([first, second])))
    sums = np.stack(
        [
            np.stack(
                [weighted_sums(weight, column[inside], first[inside], second[inside]) for column in columns.T], axis=1
            )
            for inside in members
        ],
        axis=1,
    )
    drawn = correlation(sums, level_rank)
    low, high = ends(estimate + (drawn[~np.isnan(drawn)] - estimate) * widening(models))
    return Estimate(estimate, max(-1.0, min(low, estimate)), min(1.0, max(high, estimate)))
