"""Whether categories of pairs differ: the table of tests, of their order and of every two, for each measure.

The paper's categories are levels: a pair's is the outermost axis that its two models differ in. Pairs share models, so
that models are permuted, rows and columns together; permuting pairs one by one would find an order where there is none
in most zoos. Guarantees: random numbers depend on sizes alone, so that tables of some measures each, put together, are
the whole table. tests/analysis/divergence/test_comparisons.py shows the rate of false positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import polars as pl

from overlap.analysis.divergence.differences import difference_tests
from overlap.analysis.divergence.matrices import ORDERED, Tested, matrices
from overlap.analysis.divergence.measures import NAMES, Compared
from overlap.analysis.divergence.order import order_tests
from overlap.analysis.divergence.sampled import sampled_tests
from overlap.analysis.divergence.selections import Band, selections
from overlap.analysis.paired import holm
from overlap.analysis.pairs import frame

PERMUTATIONS = (1999, 999)
"""Random ones, up to `PAIRS` pairs and beyond; the least p-value is 0.001, and 0.002."""
PAIRS = 20_000

SCHEMA: dict[str, pl.DataType] = {
    "measure": pl.String(),
    "selection": pl.String(),
    "test": pl.String(),
    "category_a": pl.String(),
    "category_b": pl.String(),
    "estimate": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "permutations": pl.Int64(),
    "reason": pl.String(),
}


def comparisons_table(
    compared: Compared, band: Band = None, names: Sequence[str] = NAMES, permutations: int | None = None
) -> pl.DataFrame:
    """Rows of `SCHEMA`: for each measure and selection the test of order, then those of differences (b less a).

    Args:
        compared: the measures of a zoo.
        band: accuracies of the selection of that name; without it there is none.
        names: measures to test; tables of some measures each, put together, are the whole table.
        permutations: random ones, beside the order observed; by default of `PERMUTATIONS`.

    Returns:
        `estimate` is Spearman's correlation of measure and level over pairs, or the difference of the two categories'
        means over pairs; `p_value` is two-sided; `p_adjusted` is after Holm over the differences of one measure and
        selection. Of a selection of pairs there are estimates alone (see `sampled`).
    """
    measures = [measure for measure in compared.measures if measure.name in names]
    found: dict[tuple[str, str], list[Tested]] = {}
    number = permutations or PERMUTATIONS[len(compared.categories) > PAIRS]
    chosen = selections(compared, band)
    for selection, selected in chosen.items():
        if compared.pairs is not None:
            found |= {(one.name, selection): sampled_tests(compared, one, selected) for one in measures}
            continue
        zoo = matrices(compared, measures, selected)
        tests = [order_tests(zoo, number)]
        tests += [difference_tests(zoo, a, b, number) for a, b in combinations(range(len(ORDERED)), 2)]
        for measure, of_measure in zip(measures, zip(*tests, strict=True), strict=True):
            found[measure.name, selection] = list(of_measure)
    rows: list[dict[str, Any]] = []
    for measure, selection in product(measures, chosen):
        told = found[measure.name, selection]
        for test, adjusted in zip(told, [None, *holm([test.p_value for test in told[1:]])], strict=True):
            rows.append(
                {
                    "measure": measure.name,
                    "selection": selection,
                    "test": test.test,
                    "category_a": test.category_a,
                    "category_b": test.category_b,
                    "estimate": test.found.mean,
                    "low": test.found.low,
                    "high": test.found.high,
                    "p_value": test.p_value,
                    "p_adjusted": adjusted,
                    "permutations": test.permutations,
                    "reason": test.found.reason,
                }
            )
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)
