"""The compression curve (paper.md, 1.6) as a table, and how many features reach the base model's accuracy.

Guarantees: the target is a share of what the base model's own features reach by the same kind of probe; a pair that no
point of its curve brings there is counted as not reached, and the mean, which would then be too low, is null. Intervals
resample models alone: the curve's points are coarser than the images' noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from overlap.analysis.bootstrap import Estimate, estimate
from overlap.analysis.pairs import CATEGORIES, frame

ORDERS = ("covariance", "random")
"""Orders in which features are taken; `base` in the table is the base model alone, with all its own."""

TARGET = 0.99
"""Share of the base model's accuracy that is to be reached."""

SCHEMA: dict[str, pl.DataType] = {
    "base": pl.String(),
    "other": pl.String(),
    "category": pl.String(),
    "order": pl.String(),
    "dimension": pl.Int64(),
    "trained_on": pl.String(),
    "n": pl.Int64(),
    "accuracy": pl.Float64(),
}

SUMMARY_SCHEMA: dict[str, pl.DataType] = {
    "category": pl.String(),
    "order": pl.String(),
    "target": pl.Float64(),
    "pairs": pl.Int64(),
    "reached": pl.Int64(),
    "models": pl.Int64(),
    "dimension": pl.Float64(),
    "dimension_low": pl.Float64(),
    "dimension_high": pl.Float64(),
    "reason": pl.String(),
}


def compression_table(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """The columns of `SCHEMA`, in the order of the rows."""
    rows = list(rows)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def features_needed(table: pl.DataFrame, target: float = TARGET) -> pl.DataFrame:
    """How many features each pair needs: base, other, category, order, dimension (null where none suffice).

    Args:
        table: of `compression_table`.
        target: share of the base model's accuracy.
    """
    own = table.filter(pl.col("order") == "base").select("base", "other", own="accuracy")
    curve = table.filter(pl.col("order") != "base").join(own, on=["base", "other"], how="inner", maintain_order="left")
    enough = pl.col("accuracy") >= target * pl.col("own") - 1e-12
    return curve.group_by("base", "other", "category", "order", maintain_order=True).agg(
        pl.col("dimension").filter(enough).min()
    )


def compression_summary(table: pl.DataFrame, target: float = TARGET) -> pl.DataFrame:
    """One row a category and order that has a pair, with the columns of `SUMMARY_SCHEMA`.

    Args:
        table: of `compression_table`.
        target: share of the base model's accuracy.
    """
    needed = features_needed(table, target)
    rows = []
    for category in (*CATEGORIES, None):
        for order in ORDERS:
            members = needed.filter(pl.col("category").eq_missing(pl.lit(category)), pl.col("order") == order)
            if members.is_empty():
                continue
            names = sorted({*members["base"], *members["other"]})
            found = _mean(f"{category} {order}", members, names)
            rows.append(
                {
                    "category": category,
                    "order": order,
                    "target": target,
                    "pairs": len(members),
                    "reached": len(members) - members["dimension"].null_count(),
                    "models": len(names),
                    "dimension": found.mean,
                    "dimension_low": found.low,
                    "dimension_high": found.high,
                    "reason": found.reason,
                }
            )
    return frame({name: [row[name] for row in rows] for name in SUMMARY_SCHEMA}, SUMMARY_SCHEMA)


def _mean(seed: str, members: pl.DataFrame, names: list[str]) -> Estimate:
    missed = members["dimension"].null_count()
    if missed:
        return Estimate(reason=f"{missed} of {len(members)} pairs do not reach it with all their features")
    first, second = (np.array([names.index(name) for name in members[column]]) for column in ("base", "other"))
    return estimate(seed, members["dimension"].to_numpy().astype(np.float64), first, second, 0.0, (0.0, np.inf))
