"""Whether weaker models help stronger ones in pairs, tested at the level of models (paper.md, 5.5).

Pairs that share a model share its images and its fate: their signs are not independent, and a sign test over pairs
finds help too easily. So each model gives one sign, that of its median gain over all its weaker partners, and the
binomial test is over models; a model without weaker partners, or whose median gain is zero, gives none. Not guaranteed:
independence of the models, which share the weaker partners; only that no model counts more than once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binomtest

from overlap.analysis.pairs import check_axis, frame
from overlap.analysis.some_pairs import SomePairs, taken

SCHEMA: dict[str, pl.DataType] = {
    "strong": pl.String(),
    "accuracy": pl.Float64(),
    "weak_models": pl.Int64(),
    "helped": pl.Int64(),
    "share": pl.Float64(),
    "mean_gain": pl.Float64(),
    "p_value": pl.Float64(),
    "reason": pl.String(),
}

ALL = "all models"
"""What the last row is called."""


def weak_helps_table(
    models: Sequence[str],
    right: NDArray[np.int64],
    n: int,
    gain: NDArray[np.float64],
    pairs: SomePairs | None = None,
) -> pl.DataFrame:
    """One row a model, as the stronger of its pairs, and a last row with the test over models.

    `helped` of `weak_models` weaker partners make an ensemble of two that is better than the strong model; `mean_gain`
    is over all of them. In the last row these are strong models: those with weaker partners, those whose median gain is
    above zero, and the mean of their mean gains.

    Args:
        models: M names in ascending order.
        right: (M,) images that each gets right alone.
        n: images.
        gain: (P,) gain of each pair's ensemble over its better model (`gain_best`), in the order of `pair_indices`.
        pairs: which these are, and the partners that a model has; without them all.

    Raises:
        ValueError: names, counts and gains do not fit.
    """
    check_axis(models, len(right))
    first, second = taken(len(models), pairs=pairs)
    if len(gain) != len(first):
        raise ValueError(f"{len(gain)} gains for {len(first)} pairs")
    weaker = [right[first] < right[second], right[second] < right[first]]
    strong = np.concatenate([second[weaker[0]], first[weaker[1]]])
    weak = np.concatenate([first[weaker[0]], second[weaker[1]]])
    order = np.lexsort((weak, strong))
    gains = np.concatenate([gain[weaker[0]], gain[weaker[1]]])[order]
    ends = np.searchsorted(strong[order], np.arange(len(models) + 1))
    alone = "no model is weaker" if pairs is None else "no partner in the pairs that were chosen is weaker"
    rows: list[dict[str, Any]] = []
    medians, means = [], []
    for model, name in enumerate(models):
        partners = gains[ends[model] : ends[model + 1]]
        row: dict[str, Any] = {"strong": name, "accuracy": int(right[model]) / n if n else None}
        row |= {"weak_models": len(partners), "helped": int((partners > 0).sum())}
        row["reason"] = "one model is one sign: see the row of all models" if len(partners) else alone
        if len(partners):
            row |= {"share": row["helped"] / len(partners), "mean_gain": round(float(partners.mean()), 12)}
            medians.append(float(np.median(partners)))
            means.append(row["mean_gain"])
        rows.append(row)
    helped, hurt = sum(median > 0 for median in medians), sum(median < 0 for median in medians)
    last: dict[str, Any] = {"strong": ALL, "weak_models": len(medians), "helped": helped}
    if medians:
        last |= {"share": helped / len(medians), "mean_gain": round(float(np.mean(means)), 12)}
    if helped + hurt:
        last["p_value"] = float(binomtest(helped, helped + hurt).pvalue)
    else:
        last["reason"] = "no median gain differs from zero" if medians else "no two models differ in accuracy"
    return frame({column: [row.get(column) for row in [*rows, last]] for column in SCHEMA}, SCHEMA)
