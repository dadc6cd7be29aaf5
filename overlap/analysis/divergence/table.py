"""The table of divergence: what pairs of models differ by beside error inconsistency and kappa, with intervals.

Guarantees: columns and order are those of divergence.parquet, rows are those of the table of pairs; a range of rows can
be made anywhere, and ranges put together are the whole table. A value is null where the measure is undefined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import consistency
from overlap.analysis.consistency import PairCounts
from overlap.analysis.divergence import association
from overlap.analysis.divergence.difficulty import by_difficulty
from overlap.analysis.divergence.rasch import Rasch
from overlap.analysis.divergence.scores import Scores
from overlap.analysis.divergence.soft import SoftSums
from overlap.analysis.divergence.soft_measures import BOUNDS, SoftMeasure, soft_measures
from overlap.analysis.pairs import Categories, check_axis, frame, ratio
from overlap.analysis.some_pairs import SomePairs, taken

Fractions = NDArray[np.float64]
Counts = NDArray[np.int64]

SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "category": pl.String(),
    "n": pl.Int64(),
    **{
        name: pl.Float64()
        for name in ("yule_q", "correlation", "log_odds_ratio", "log_odds_low", "log_odds_high", "double_fault")
    },
    "expected_by_difficulty": pl.Float64(),
    **{"kappa_by_difficulty" + end: pl.Float64() for end in ("", "_low", "_high")},
    "between_n": pl.Int64(),
    "error_inconsistency_between": pl.Float64(),
    "kappa_between": pl.Float64(),
    "soft_n": pl.Int64(),
    **{name + end: pl.Float64() for name in BOUNDS for end in ("", "_low", "_high")},
}


def divergence_table(
    models: Sequence[str],
    counts: PairCounts,
    counted: Scores,
    fitted: Rasch | None,
    *,
    soft: SoftSums | None = None,
    soft_models: Sequence[int] = (),
    categories: Categories | None = None,
    rows: slice = slice(None),
    pairs: SomePairs | None = None,
) -> pl.DataFrame:
    """One row per pair of models, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order, the axis of the counts.
        counts: joint counts over all images.
        counted: who gets which of the same images right.
        fitted: difficulty of those images; None where there is no fit.
        soft: sums over a subsample, of the models that have logits.
        soft_models: those models' places among the M, ascending.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal; without it every category is null.
        rows: the range of pairs to make.
        pairs: which that is a range of, and whose counts these are; without them of all.

    Raises:
        ValueError: names, counts and places do not fit, or names are not in ascending order.
    """
    check_axis(models, len(counts.both_right))
    if len(counted) != len(models) or counted.n != counts.n:
        raise ValueError(f"{len(counted)} models on {counted.n} images, but counts of {len(models)} on {counts.n}")
    first, second = taken(len(models), rows, pairs)
    names = np.array(models, np.object_)
    cells = cells_of(counts, first, second)
    log_odds, log_odds_low, log_odds_high = association.log_odds_ratio(*cells)
    consistent = by_difficulty(fitted, counted, rows, pairs)
    between = between_counts(counts, counted)
    between_inconsistency, between_kappa = consistency_of(between, first, second)
    columns: dict[str, Any] = {
        "model_a": names[first],
        "model_b": names[second],
        "category": np.full(len(first), None) if categories is None else categories[first, second],
        "n": np.full(len(first), counts.n, np.int64),
        "yule_q": association.yule_q(*cells),
        "correlation": association.correlation(*cells),
        "log_odds_ratio": log_odds,
        "log_odds_low": log_odds_low,
        "log_odds_high": log_odds_high,
        "double_fault": association.double_fault(cells[3], counts.n),
        "expected_by_difficulty": consistent.expected,
        "kappa_by_difficulty": consistent.kappa,
        "kappa_by_difficulty_low": consistent.low,
        "kappa_by_difficulty_high": consistent.high,
        "between_n": np.full(len(first), between.n, np.int64),
        "error_inconsistency_between": between_inconsistency,
        "kappa_between": between_kappa,
    }
    place = soft_places(len(models), soft_models, first, second, soft)
    found = {} if soft is None else soft_measures(soft)
    soft_n = 0 if soft is None else int(soft.images.sum())
    columns["soft_n"] = [soft_n if pair >= 0 else None for pair in place.tolist()] if found else [None] * len(first)
    return frame(columns | _soft_columns(found, place), SCHEMA)


def cells_of(counts: PairCounts, first: Counts, second: Counts) -> tuple[Counts, Counts, Counts, Counts]:
    """(P,) each: images that both, only the first, only the second and neither of a pair's models get right."""
    both = counts.both_right[first, second]
    only_a, only_b = counts.right[first] - both, counts.right[second] - both
    return both, only_a, only_b, counts.n - both - only_a - only_b


def between_counts(counts: PairCounts, counted: Scores) -> PairCounts:
    """The counts over the images that some model gets right and some does not; disagreements stay those over all."""
    every = int(counted.images[-1]) if len(counted) else 0
    return PairCounts(counted.between, counts.both_right - every, counts.disagreement)


def consistency_of(counts: PairCounts, first: Counts, second: Counts) -> tuple[Fractions, Fractions]:
    """Error inconsistency and kappa of pairs, (P,) each."""
    _, only_a, only_b, _ = cells_of(counts, first, second)
    inconsistency = ratio(only_a + only_b, counts.n)
    right_a, right_b = (ratio(counts.right[model], counts.n) for model in (first, second))
    return inconsistency, consistency.kappa(inconsistency, right_a, right_b)


def soft_places(
    models: int, soft_models: Sequence[int], first: Counts, second: Counts, soft: SoftSums | None
) -> Counts:
    """(P,): which pair of the sums each pair is, -1 where one of the two has no logits."""
    own = np.full(models, -1)
    own[list(soft_models)] = np.arange(len(soft_models))
    a, b = own[first], own[second]
    known = (a >= 0) & (b >= 0)
    if soft is not None and soft.pairs is not None:
        return np.where(known, soft.pairs.places(a, b), -1)
    return np.where(known, a * (2 * len(soft_models) - 1 - a) // 2 + b - a - 1, -1)


def _soft_columns(found: Mapping[str, SoftMeasure], place: Counts) -> dict[str, Fractions]:
    columns = {}
    for name in BOUNDS:
        for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high")):
            column = np.full(len(place), np.nan)
            if name in found:
                values: Fractions = getattr(found[name], attribute)
                column[place >= 0] = values[place[place >= 0]]
            columns[name + end] = column
    return columns
