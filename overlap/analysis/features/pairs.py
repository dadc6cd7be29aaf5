"""The table of what two models' features share: linear CKA of every pair, ridge R² of those it was computed for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from overlap.analysis.features.cka import GramSums, cka, cka_interval
from overlap.analysis.pairs import Categories, check_axis, frame, pair_indices

SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "category": pl.String(),
    "n": pl.Int64(),
    "dimension_a": pl.Int64(),
    "dimension_b": pl.Int64(),
    "cka": pl.Float64(),
    "cka_low": pl.Float64(),
    "cka_high": pl.Float64(),
    "r2_a_from_b": pl.Float64(),
    "r2_b_from_a": pl.Float64(),
    "reason": pl.String(),
}

FLAT = "cka: features that do not vary, or too few images"
NO_RIDGE = "r2: computed for chosen pairs alone"
UNDEFINED = "r2: features that do not vary, or nothing to train on"


def feature_pairs_table(
    models: Sequence[str],
    sums: GramSums,
    dimensions: Sequence[int],
    r_squared: Mapping[tuple[str, str], tuple[float, float]],
    categories: Categories | None = None,
) -> pl.DataFrame:
    """One row per pair of models that have features, in the order of pairs, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order.
        sums: over all images; of no images where M is 0 or there are too few.
        dimensions: (M,) of the features.
        r_squared: for (model_a, model_b) with a < b, what `ridge.r_squared` gave: R² of a from b, and of b from a.
        categories: (M, M) of categories or None, read above the diagonal.

    Raises:
        ValueError: names and sums do not fit, or names are not in ascending order.
    """
    check_axis(models, len(sums.hsic))
    first, second = pair_indices(len(models))
    names, sizes = np.array(models, np.object_), np.array(dimensions, np.int64)
    value, (low, high) = cka(sums), cka_interval(sums)
    ridge = [r_squared.get((models[a], models[b])) for a, b in zip(first, second, strict=True)]
    both = np.array([(np.nan, np.nan) if found is None else found for found in ridge]).reshape(-1, 2)
    reasons = []
    for flat, found in zip(np.isnan(value[first, second]), ridge, strict=True):
        told = [FLAT] if flat else []
        if found is None or np.isnan(found).any():
            told.append(NO_RIDGE if found is None else UNDEFINED)
        reasons.append("; ".join(told) or None)
    return frame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "category": np.full(len(first), None) if categories is None else categories[first, second],
            "n": np.full(len(first), sums.n, np.int64),
            "dimension_a": sizes[first],
            "dimension_b": sizes[second],
            "cka": value[first, second],
            "cka_low": low[first, second],
            "cka_high": high[first, second],
            "r2_a_from_b": both[:, 0],
            "r2_b_from_a": both[:, 1],
            "reason": reasons,
        },
        SCHEMA,
    )
