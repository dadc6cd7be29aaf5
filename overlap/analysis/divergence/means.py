"""Means of every measure by category, over all pairs, within a band of accuracies, and over accuracy-matched pairs.

Guarantees: intervals are over models and images (see `bootstrap`, and `measures` for the part of the images); one
depends on its own category's pairs alone. A row without a mean or an interval says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from overlap.analysis.bootstrap import Estimate, estimate
from overlap.analysis.divergence.measures import NAMES, Compared, Measure
from overlap.analysis.divergence.selections import Band, selections
from overlap.analysis.pairs import CATEGORIES, frame

SCHEMA: dict[str, pl.DataType] = {
    "measure": pl.String(),
    "category": pl.String(),
    "selection": pl.String(),
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    "mean": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reason": pl.String(),
}


def means_table(compared: Compared, band: Band = None, names: Sequence[str] = NAMES) -> pl.DataFrame:
    """One row per measure, category that has a pair, and selection, with the columns of `SCHEMA`.

    `pairs` and `models` are those with a value. Measures that the zoo does not have are left out.

    Args:
        compared: the measures of a zoo.
        band: accuracies of the selection of that name; without it there is none.
        names: measures to make rows of; tables of some measures each, put together, are the whole table.
    """
    first, second = compared.indices
    chosen = selections(compared, band)
    rows: list[dict[str, Any]] = []
    for measure in compared.measures:
        if measure.name not in names:
            continue
        defined = ~np.isnan(measure.values)
        for category in CATEGORIES:
            of_category = compared.categories == category
            if not of_category.any():
                continue
            for selection, selected in chosen.items():
                members = np.flatnonzero(of_category & selected & defined)
                found = _mean(compared, measure, category, members, bool((of_category & selected).any()))
                rows.append(
                    {
                        "measure": measure.name,
                        "category": category,
                        "selection": selection,
                        "pairs": len(members),
                        "models": len({*first[members].tolist(), *second[members].tolist()}),
                        "mean": found.mean,
                        "low": found.low,
                        "high": found.high,
                        "reason": found.reason,
                    }
                )
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _mean(compared: Compared, measure: Measure, category: str, members: Any, selected: bool) -> Estimate:
    if not len(members):
        return Estimate(reason="no pair for which it is defined" if selected else "no pair in the selection")
    first, second = (indices[members] for indices in compared.indices)
    weight = np.zeros(len(measure.values))
    weight[members] = 1 / len(members)
    noise = compared.noise(measure, weight) if len(members) > 1 else 0.0
    return estimate(category, measure.values[members], first, second, noise, measure.bounds)
