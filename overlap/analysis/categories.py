"""How much the categories of pairs differ: mean error inconsistency, kappa and gain, with 95% intervals.

Guarantees: intervals are over models and images (see `bootstrap`); one depends on its own category's pairs alone. A
category of one pair has none, and the reason column says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.bootstrap import Estimate, estimate, image_variance
from overlap.analysis.combining import EnsembleCounts
from overlap.analysis.consistency import expected_inconsistency
from overlap.analysis.pairs import CATEGORIES, check_axis, frame

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

MATCHED = 0.04
"""Pairs whose accuracies differ by at most this are accuracy-matched: the width of the paper's 74-78% band."""

STATISTICS = ("error_inconsistency", "kappa", "error_inconsistency_matched", "kappa_matched", "gain_best")
"""Means over the pairs of a category; each has an interval. `_matched` ones are over the accuracy-matched pairs."""

READ = ("model_a", "model_b", "accuracy_a", "accuracy_b", "error_inconsistency", "kappa")
"""Columns of the table of pairs."""

SCHEMA: dict[str, pl.DataType] = {
    "category": pl.String(),
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    "pairs_matched": pl.Int64(),
    **{name + end: pl.Float64() for name in STATISTICS for end in ("", "_low", "_high")},
    "reason": pl.String(),
}


def category_table(
    models: Sequence[str],
    correct: NDArray[Any],
    pairs: pl.DataFrame | pl.LazyFrame,
    pair_ensembles: pl.DataFrame | None = None,
    ensembles: EnsembleCounts | None = None,
) -> pl.DataFrame:
    """One row per category that has a pair, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order.
        correct: (M, N) zeros and ones, the images that the pairs were counted on.
        pairs: the table of pairs of these models; one that is only scanned is read a category at a time, and of that
            what the means are of.
        pair_ensembles: the pairs' ensembles by one combiner; without it gains are null.
        ensembles: what they were made from, counted with the categories.

    Raises:
        ValueError: names do not fit the array.
    """
    check_axis(models, len(correct))
    table = pairs.lazy().select("category", *READ)
    if pair_ensembles is not None:
        gains = pair_ensembles.lazy().select("model_a", "model_b", "gain_best")
        table = table.join(gains, on=["model_a", "model_b"], how="left", validate="1:1", maintain_order="left")
    axis = pl.Series(models, dtype=pl.String())
    place = pl.col("model_a", "model_b").replace_strict(
        axis, pl.int_range(len(axis), eager=True), return_dtype=pl.Int32
    )
    table = table.with_columns(place)  # names of half a hundred million pairs would take a GiB
    rows = []
    for name in CATEGORIES:
        of_category = table.filter(pl.col("category") == name).drop("category").collect()
        if of_category.is_empty():
            continue
        close = (pl.col("accuracy_a") - pl.col("accuracy_b")).abs() <= MATCHED + 1e-12
        estimates: dict[str, Estimate] = {}
        for suffix, members in (("", of_category), ("_matched", of_category.filter(close))):
            for statistic in ("error_inconsistency", "kappa"):
                estimates[statistic + suffix] = _consistency(name, statistic, members, correct)
        estimates["gain_best"] = _gain(name, of_category, ensembles)
        reasons = [f"{column}: {found.reason}" for column, found in estimates.items() if found.reason]
        row: dict[str, Any] = {
            "category": name,
            "pairs": len(of_category),
            "models": len({*of_category["model_a"].unique(), *of_category["model_b"].unique()}),
            "pairs_matched": len(of_category.filter(close)),
            "reason": "; ".join(reasons) or None,
        }
        for column, found in estimates.items():
            row |= {column: found.mean, column + "_low": found.low, column + "_high": found.high}
        rows.append(row)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _consistency(category: str, statistic: str, pairs: pl.DataFrame, correct: NDArray[Any]) -> Estimate:
    """Mean error inconsistency or kappa of the pairs for which it is defined."""
    pairs = pairs.filter(pl.col(statistic).is_not_null())
    if pairs.is_empty():
        return Estimate(reason="no pair for which it is defined")
    first, second = _indices(pairs)
    share = np.full(len(pairs), 1 / len(pairs))
    if statistic == "error_inconsistency":
        noise = image_variance(correct, first, second, share, np.zeros(len(correct)))
        return estimate(category, pairs[statistic].to_numpy(), first, second, noise, (0.0, 1.0))

    # kappa = 1 - EI / EI_exp: its change with one image, to first order, through EI and through both accuracies
    a, b, inconsistency = (pairs[name].to_numpy() for name in ("accuracy_a", "accuracy_b", "error_inconsistency"))
    expected = expected_inconsistency(a, b)
    through_accuracy = share * inconsistency / expected**2
    linear = np.zeros(len(correct))
    np.add.at(linear, first, through_accuracy * (1 - 2 * b))
    np.add.at(linear, second, through_accuracy * (1 - 2 * a))
    noise = image_variance(correct, first, second, -share / expected, linear)
    return estimate(category, pairs[statistic].to_numpy(), first, second, noise, (-1.0, 1.0))


def _gain(category: str, pairs: pl.DataFrame, ensembles: EnsembleCounts | None) -> Estimate:
    """Mean gain over the better model, of the pairs that have an ensemble."""
    if "gain_best" not in pairs.columns or ensembles is None or ensembles.n == 0:
        return Estimate(reason="no pair ensembles")
    pairs = pairs.filter(pl.col("gain_best").is_not_null())
    if pairs.is_empty():
        return Estimate(reason="no pair of models that both have logits")
    number = CATEGORIES.index(category)
    sums, squares = int(ensembles.gain[number]), int(ensembles.gain_square[number])
    noise = (squares / ensembles.n - (sums / ensembles.n) ** 2) / len(pairs) ** 2 / ensembles.n
    return estimate(category, pairs["gain_best"].to_numpy(), *_indices(pairs), noise, (-1.0, 1.0))


def _indices(pairs: pl.DataFrame) -> tuple[Indices, Indices]:
    first, second = (pairs[name].to_numpy().astype(np.int64) for name in ("model_a", "model_b"))
    return first, second
