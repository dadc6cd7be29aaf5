"""The measures of a zoo as matrices of models, which tests permute, and what a test says of each.

Guarantees: pairs of shared lineage and duplicates have no value, pairs without one of the ordered categories no level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.bootstrap import Estimate
from overlap.analysis.divergence.measures import Compared, Measure
from overlap.analysis.pairs import CATEGORIES, category_numbers, pair_indices

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

ORDERED = CATEGORIES[:5]
"""The paper's categories, whose order and differences are tested."""

DRAWS = 2000
"""Of the bootstrap; all categories share their weights, so that they can be subtracted."""


@dataclass(frozen=True)
class Tested:
    """What a test says of one measure.

    Attributes:
        test: `order` or `difference`.
        category_a: the lower of the two; None for the order.
        category_b: the upper.
        found: the estimate.
        p_value: None where there is no test.
        permutations: that it was made with.
    """

    test: str
    category_a: str | None
    category_b: str | None
    found: Estimate
    p_value: float | None = None
    permutations: int | None = None


@dataclass(frozen=True)
class Matrices:
    """D measures of one selection of pairs.

    Attributes:
        compared: the whole zoo.
        measures: the D measures.
        selected: (P,) the selection.
        level: (P,) position in `ORDERED`, -1 for other pairs.
        values: (M', M', D) symmetric, of the models that have a selected pair; NaN where there is no value.
        levels: (M', M') symmetric.
        weight: (`DRAWS`, M) exponential weights of all models.
    """

    compared: Compared
    measures: Sequence[Measure]
    selected: NDArray[np.bool_]
    level: Indices
    values: Fractions
    levels: Indices
    weight: Fractions


def matrices(compared: Compared, measures: Sequence[Measure], selected: NDArray[np.bool_]) -> Matrices:
    """The matrices of a selection (P,) of pairs."""
    models = len(compared.models)
    first, second = pair_indices(models)
    number = category_numbers(compared.categories)
    level = np.where(number < len(ORDERED), number, -1)
    outside = number >= len(ORDERED)
    kept = np.unique(np.concatenate([first[selected], second[selected]]))
    values = np.full((models, models, len(measures)), np.nan)
    levels = np.full((models, models), -1)
    for place, measure in enumerate(measures):
        column = np.where(selected & ~outside, measure.values, np.nan)
        values[first, second, place] = values[second, first, place] = column
    levels[first, second] = levels[second, first] = level
    random = np.random.default_rng(models)
    weight = random.standard_exponential((DRAWS, models))
    chosen = np.ix_(kept, kept)
    return Matrices(compared, measures, selected, level, values[chosen], levels[chosen], weight)
