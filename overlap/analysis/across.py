"""Whether what holds of pairs on one data set holds on another: pairs side by side, and rank correlations.

Guarantees: a pair is compared where both data sets have it, by the models' names; intervals resample models (pairs
share them), as a Bayesian bootstrap with the ranks computed anew in every draw, and depend on the tables alone. Images
are not resampled: their noise lowers a correlation, the more the fewer images there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

STATISTICS = ("kappa", "error_inconsistency", "gain_best")
"""What is compared of each pair; the gain is of its ensemble over the better model."""

COMBINER = "mean_probability"

PAIRS_SCHEMA: dict[str, pl.DataType] = {
    "data_x": pl.String(),
    "data_y": pl.String(),
    "model_a": pl.String(),
    "model_b": pl.String(),
    "category": pl.String(),
    **{f"{name}_{side}": pl.Float64() for name in STATISTICS for side in "xy"},
}

SUMMARY_SCHEMA: dict[str, pl.DataType] = {
    "data_x": pl.String(),
    "data_y": pl.String(),
    "statistic": pl.String(),
    "models": pl.Int64(),
    "pairs": pl.Int64(),
    "rank_correlation": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reason": pl.String(),
}

DRAWS = 1000
WORK = 100_000_000
"""Pairs times draws at most: above 100,000 pairs there are fewer draws, and at least `FEWEST`."""
FEWEST = 200

MODELS = 5
"""Fewer models have no interval: resampling so few says nothing of others."""

Fractions = NDArray[np.float64]


def compare(
    tables: Mapping[str, tuple[pl.DataFrame | pl.LazyFrame, pl.DataFrame]],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compare every two data sets.

    Args:
        tables: by data set, in the order in which they are compared, `pairs.parquet` and `pair_ensembles.parquet`
            (which may have no columns); pairs that are only scanned are read as far as they are compared.

    Returns:
        One row a pair and two data sets that have it, `PAIRS_SCHEMA`, ordered by data sets and models; and one row a
        statistic and two data sets, `SUMMARY_SCHEMA`. Values are null where one is undefined on its data set; a
        correlation is over pairs that have both values.
    """
    told = {data: _told(*each) for data, each in tables.items()}
    beside = [_beside(x, told[x], y, told[y]) for x, y in combinations(told, 2)]
    rows = [_row(table, name) for table in beside for name in STATISTICS if table.height]
    pairs = pl.concat(beside) if beside else pl.DataFrame(schema=PAIRS_SCHEMA)
    return pairs, pl.DataFrame(rows, schema=SUMMARY_SCHEMA)


def rank_correlation(x: Fractions, y: Fractions, weight: Fractions | None = None) -> float:
    """Spearman's rank correlation of weighted pairs; ties have the middle of their ranks, NaN where one is constant.

    Args:
        x: (P,) values.
        y: (P,) values.
        weight: (P,) of each pair, not negative; one each without it.
    """
    groups = [np.unique(values, return_inverse=True)[1] for values in (x, y)]
    return _correlation(groups[0], groups[1], np.ones(len(x)) if weight is None else weight)


def interval(
    x: Fractions, y: Fractions, first: NDArray[np.int64], second: NDArray[np.int64], models: int
) -> tuple[float, float]:
    """95% interval of a rank correlation over pairs of models, from resampled models.

    Args:
        x: (P,) values.
        y: (P,) values.
        first: (P,) number of each pair's first model.
        second: (P,) of its second.
        models: how many there are.
    """
    groups = [np.unique(values, return_inverse=True)[1] for values in (x, y)]
    random = np.random.default_rng(0)
    draws = int(np.clip(WORK // max(1, len(x)), FEWEST, DRAWS))
    drawn = np.empty(draws)
    for draw in range(draws):
        weight = random.standard_exponential(models)
        drawn[draw] = _correlation(groups[0], groups[1], weight[first] * weight[second])
    low, high = np.nanquantile(drawn, (0.025, 0.975)).round(12).tolist()
    return low, high


def _told(pairs: pl.DataFrame | pl.LazyFrame, ensembles: pl.DataFrame) -> pl.DataFrame:
    """Models, category and statistics of every pair of a data set."""
    table = pairs.lazy().select("model_a", "model_b", "category", "kappa", "error_inconsistency").collect()
    if not ensembles.width:
        return table.with_columns(gain_best=pl.lit(None, pl.Float64))
    gains = ensembles.filter(pl.col("combiner") == COMBINER).select("model_a", "model_b", "gain_best")
    return table.join(gains, on=["model_a", "model_b"], how="left", validate="1:1", maintain_order="left")


def _beside(x: str, on_x: pl.DataFrame, y: str, on_y: pl.DataFrame) -> pl.DataFrame:
    both = on_x.join(
        on_y.drop("category"), on=["model_a", "model_b"], how="inner", validate="1:1", maintain_order="left"
    )
    return both.select(
        pl.lit(x).alias("data_x"),
        pl.lit(y).alias("data_y"),
        "model_a",
        "model_b",
        pl.col("category").cast(pl.String),
        *(pl.col(column).alias(new) for name in STATISTICS for column, new in _sides(name)),
    ).sort("model_a", "model_b")


def _sides(name: str) -> Sequence[tuple[str, str]]:
    return ((name, f"{name}_x"), (f"{name}_right", f"{name}_y"))


def _row(table: pl.DataFrame, name: str) -> dict[str, Any]:
    """Rank correlation of one statistic on two data sets."""
    known = table.filter(pl.col(f"{name}_x").is_not_null() & pl.col(f"{name}_y").is_not_null())
    x, y = (known[f"{name}_{side}"].to_numpy() for side in "xy")
    models, place = np.unique(
        np.concatenate([known["model_a"].to_numpy(), known["model_b"].to_numpy()]), return_inverse=True
    )
    first, second = np.split(place.astype(np.int64), 2)
    found: float | None = None
    low: float | None = None
    high: float | None = None
    reason = None
    if len(known) < 3:
        reason = f"{len(known)} pairs have no order to compare"
    elif len(np.unique(x)) == 1 or len(np.unique(y)) == 1:
        reason = "all pairs are equal on one of the two"
    else:
        found = rank_correlation(x, y)
        if len(models) < MODELS:
            reason = f"no interval over {len(models)} models"
        else:
            low, high = interval(x, y, first, second, len(models))
    return {
        "data_x": table["data_x"][0],
        "data_y": table["data_y"][0],
        "statistic": name,
        "models": len(models),
        "pairs": len(known),
        "rank_correlation": found,
        "low": low,
        "high": high,
        "reason": reason,
    }


def _correlation(group_x: NDArray[np.int64], group_y: NDArray[np.int64], weight: Fractions) -> float:
    """Weighted correlation of the middle ranks of groups of equal values, numbered in ascending order."""
    x, y = _ranks(group_x, weight), _ranks(group_y, weight)
    weighted = weight * x  # sums, and no products of vectors: those wait for threads, and their last digits vary
    spread = np.sqrt((weighted * x).sum() * (weight * y * y).sum())
    return float(np.clip((weighted * y).sum() / spread, -1, 1)) if spread > 0 else float("nan")


def _ranks(group: NDArray[np.int64], weight: Fractions) -> Fractions:
    """Less their weighted mean, which is half of the weight."""
    held = np.bincount(group, weight)
    middle: Fractions = np.cumsum(held) - held / 2 - held.sum() / 2
    return np.asarray(middle[group])
