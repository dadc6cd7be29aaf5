"""What two models reach together: one row per pair, and where its gain comes from (paper.md, 1.2).

Guarantees: columns and order are those of pair_ensembles.parquet, rows are ordered by (model_a, model_b).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from overlap.analysis.combining import EnsembleCounts
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.soft_scores import PairScores
from overlap.analysis.intervals import gain_interval
from overlap.analysis.pairs import check_axis, frame, ratio
from overlap.analysis.some_pairs import SomePairs, taken

SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "combiner": pl.String(),
    "n": pl.Int64(),
    "both_right": pl.Int64(),
    "only_a": pl.Int64(),
    "only_b": pl.Int64(),
    "both_wrong": pl.Int64(),
    "accuracy": pl.Float64(),
    "gain_mean": pl.Float64(),
    "gain_best": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
    "conversion_rate": pl.Float64(),
    "r11": pl.Float64(),
    "r00": pl.Float64(),
    "nll": pl.Float64(),
    "ece": pl.Float64(),
    "soft_n": pl.Int64(),
}


def pair_ensembles_table(
    models: Sequence[str],
    counts: PairCounts,
    ensembles: EnsembleCounts,
    combiner: str,
    scores: PairScores | None = None,
    pairs: SomePairs | None = None,
) -> pl.DataFrame:
    """One row per pair, with the columns of `SCHEMA`.

    The four counts are those of the two models alone, as in the table of pairs. `gain_mean` is over the mean of the
    two accuracies, `gain_best` over the better model on the same images, `gain_low` and `gain_high` its paired 95%
    interval. Rates are null where no image is of their kind: conversion_rate = P(right | exactly one is right),
    r11 = P(right | both are), r00 = P(right | neither is). nll and ece are over the `soft_n` images of a fixed sample,
    out of fold; null without scores.

    Args:
        models: M names in ascending order, the axis of both counts.
        counts: joint counts of the hard predictions, of the same images.
        ensembles: of the same images.
        combiner: its name.
        scores: of the same models.
        pairs: that have a row, and that the others are of; without them all.

    Raises:
        ValueError: axes or images do not fit.
    """
    check_axis(models, len(counts.both_right))
    check_axis(models, len(ensembles.kept))
    if scores is not None:
        check_axis(models, len(scores.nll[combiner]))
    if counts.n != ensembles.n:
        raise ValueError(f"pairs counted over {counts.n} images, their ensembles over {ensembles.n}")
    first, second = taken(len(models), pairs=pairs)
    names = np.array(models, np.object_)
    n, right_a, right_b = counts.n, counts.right[first], counts.right[second]
    both_right = counts.both_right[first, second]
    only_a, only_b = right_a - both_right, right_b - both_right
    both_wrong = n - both_right - only_a - only_b

    kept, recovered = ensembles.kept[first, second], ensembles.recovered[first, second]
    from_a, from_b = ensembles.converted[first, second], ensembles.converted[second, first]
    right = kept + from_a + from_b + recovered
    a_is_better = right_a >= right_b
    plus = np.where(a_is_better, from_b, from_a) + recovered
    minus = np.where(a_is_better, only_a - from_a, only_b - from_b) + both_right - kept
    gain_low, gain_high = gain_interval(plus, minus, n)
    nothing = np.full(len(first), np.nan)
    return frame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "combiner": np.full(len(first), combiner, np.object_),
            "n": np.full(len(first), n, np.int64),
            "both_right": both_right,
            "only_a": only_a,
            "only_b": only_b,
            "both_wrong": both_wrong,
            "accuracy": ratio(right, n),
            "gain_mean": ratio(2 * right - right_a - right_b, 2 * n),
            "gain_best": ratio(plus - minus, n),
            "gain_low": gain_low,
            "gain_high": gain_high,
            "conversion_rate": ratio(from_a + from_b, only_a + only_b),
            "r11": ratio(kept, both_right),
            "r00": ratio(recovered, both_wrong),
            "nll": nothing if scores is None else scores.nll[combiner][first, second],
            "ece": nothing if scores is None else scores.ece[combiner][first, second],
            "soft_n": np.full(len(first), 0 if scores is None else scores.n, np.int64),
        },
        SCHEMA,
    )
