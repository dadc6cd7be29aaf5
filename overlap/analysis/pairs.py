"""The table of pairs: from joint counts of all models to one row per pair, with intervals.

Guarantees: columns and order are those of pairs.parquet, rows are ordered by (model_a, model_b); a range of rows can be
made anywhere, and ranges put together are the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import consistency, intervals
from overlap.analysis.consistency import PairCounts

CATEGORIES = ("reinit", "hyper_parameters", "architecture", "framework", "dataset", "shared_lineage", "duplicate")
"""The paper's categories, least divergent first, then the two that stand outside them; their numbers are positions."""


class Categories(Protocol):
    """Category of each pair of M models: an array (M, M) of `CATEGORIES` or None, or what is asked as such an array."""

    def __len__(self) -> int:
        """M."""
        ...

    def __getitem__(self, place: Any, /) -> Any:
        """Of `[first, second]`, places of models in arrays of one shape, the first before the second: in that shape."""
        ...


SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "category": pl.String(),
    "n": pl.Int64(),
    "accuracy_a": pl.Float64(),
    "accuracy_b": pl.Float64(),
    "both_right": pl.Int64(),
    "only_a": pl.Int64(),
    "only_b": pl.Int64(),
    "both_wrong": pl.Int64(),
    "error_inconsistency": pl.Float64(),
    "kappa": pl.Float64(),
    "kappa_low": pl.Float64(),
    "kappa_high": pl.Float64(),
    "kappa_min": pl.Float64(),
    "kappa_max": pl.Float64(),
    "null_low": pl.Float64(),
    "null_high": pl.Float64(),
    "disagreement": pl.Float64(),
}


def check_axis(models: Sequence[str], size: int) -> None:
    """Raise ValueError unless the names are `size` many and strictly ascending (so that model_a < model_b)."""
    if len(models) != size:
        raise ValueError(f"{len(models)} model names for an axis of {size}")
    if any(first >= second for first, second in pairwise(models)):
        raise ValueError("model names must be distinct and in ascending order")


def pair_count(models: int) -> int:
    """Pairs of so many models: the rows of the table."""
    return models * (models - 1) // 2


def pair_indices(models: int, rows: slice = slice(None)) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and second model of pairs, (P,) each, in the order of the table; of no more memory than what is asked for.

    Args:
        models: M, of which there are P = M (M - 1) / 2 pairs.
        rows: a range of them.
    """
    return pairs_at(models, np.arange(*rows.indices(pair_count(models))))


def pairs_at(models: int, place: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and second model, (P,) each, of the pairs at some places of the table of so many models."""
    before = np.arange(models) * (2 * models - 1 - np.arange(models)) // 2  # pairs of the models before each
    first = np.searchsorted(before[: max(0, models - 1)], place, side="right") - 1
    return first.astype(np.int64), place - before[first] + first + 1


def category_numbers(categories: NDArray[np.object_]) -> NDArray[np.int64]:
    """Position in `CATEGORIES` of each pair's category, -1 for None: int64 in the shape of the names."""
    numbers = np.full(categories.shape, -1)
    for number, name in enumerate(CATEGORIES):
        numbers[categories == name] = number
    return numbers


def ratio(numerator: NDArray[Any], denominator: NDArray[Any] | int) -> NDArray[np.float64]:
    """Numerator over denominator, NaN where the denominator is zero."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=quotient, where=bottom != 0)
    return quotient


def frame(columns: dict[str, Any], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A table of exactly this schema, in its order; NaN becomes null."""
    # names come as arrays of objects, from which polars would infer a type; lists take the schema's
    values = {name: columns[name].tolist() if _is_objects(columns[name]) else columns[name] for name in schema}
    table = pl.DataFrame(values, schema=schema, strict=True)
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _is_objects(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype == np.object_


def pairs_table(
    models: Sequence[str],
    counts: PairCounts,
    categories: Categories | None = None,
    *,
    rows: slice = slice(None),
) -> pl.DataFrame:
    """One row per pair of models, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order, the axis of the counts.
        counts: joint counts over all images.
        categories: of the pairs; without it every category is null.
        rows: the range of pairs to make; concatenated ranges equal the whole table.

    Returns:
        As `rows_of` says.

    Raises:
        ValueError: names and counts do not fit, or names are not in ascending order.
    """
    check_axis(models, len(counts.both_right))
    first, second = pair_indices(len(models), rows)
    both_right, disagreement = counts.both_right[first, second], counts.disagreement[first, second]
    return rows_of(models, counts.n, first, second, counts.right, both_right, disagreement, categories)


def rows_of(
    models: Sequence[str],
    n: int,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    right: NDArray[np.int64],
    both_right: NDArray[np.int64],
    disagreement: NDArray[np.int64],
    categories: Categories | None = None,
) -> pl.DataFrame:
    """One row for each of some pairs, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order.
        n: images counted.
        first: (P,) first model of each pair.
        second: (P,) second model.
        right: (M,) images that each model gets right.
        both_right: (P,) images that both get right.
        disagreement: (P,) images to which the two give different classes.
        categories: of the pairs of the M; without it every category is null.

    Returns:
        Error inconsistency and disagreement are null without images; kappa and all that goes with it are null also
        where both models are always right or both always wrong (`notes.pair_notes` counts these).
    """
    names = pl.Series(models, dtype=pl.String())
    right_a, right_b = right[first], right[second]
    only_a, only_b = right_a - both_right, right_b - both_right
    both_wrong = n - both_right - only_a - only_b

    accuracy_a, accuracy_b = ratio(right_a, n), ratio(right_b, n)
    inconsistency = ratio(only_a + only_b, n)
    kappa_low, kappa_high = intervals.kappa_interval(both_right, only_a, only_b, both_wrong)
    kappa_min, kappa_max = consistency.attainable_kappa(accuracy_a, accuracy_b)
    null_low, null_high = intervals.independent_kappa(right_a, right_b, n)
    return frame(
        {
            "model_a": names.gather(first),
            "model_b": names.gather(second),
            "category": np.full(len(first), None) if categories is None else categories[first, second],
            "n": np.full(len(first), n, np.int64),
            "accuracy_a": accuracy_a,
            "accuracy_b": accuracy_b,
            "both_right": both_right,
            "only_a": only_a,
            "only_b": only_b,
            "both_wrong": both_wrong,
            "error_inconsistency": inconsistency,
            "kappa": consistency.kappa(inconsistency, accuracy_a, accuracy_b),
            "kappa_low": kappa_low,
            "kappa_high": kappa_high,
            "kappa_min": kappa_min,
            "kappa_max": kappa_max,
            "null_low": null_low,
            "null_high": null_high,
            "disagreement": ratio(disagreement, n),
        },
        SCHEMA,
    )
