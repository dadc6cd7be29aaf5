"""The images behind the numbers: those that drive a pair's inconsistency, and those that divide the whole zoo.

What drives a pair are images that exactly one of the two gets right and on which both are sure of themselves: ranked by
the right model's confidence in the truth plus the wrong one's in its mistake. Hesitation of either could be chance, and
so could the whole of a pair's inconsistency; two firm and contrary answers are a difference of the models. Where a
model of the pair has no logits, the images that divide the zoo most evenly come first.

Guarantees: equal images come in the order of their keys, so that shards in another order change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.compiler import compiled
from overlap.analysis.pairs import check_axis, frame, ratio
from overlap.analysis.specialisation.additive import scores

Indices = NDArray[np.int64]

PER_PAIR: Final = 5
"""Images of a pair."""

PAIRS: Final = 2000
"""Pairs that have any; of more, those of the lowest kappa."""

MOST: Final = 100
"""Images that divide the zoo."""

SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "rank": pl.Int64(),
    "key": pl.String(),
    "label": pl.Int64(),
    "right": pl.String(),
    "prediction_a": pl.Int64(),
    "prediction_b": pl.Int64(),
    "confidence_a": pl.Float64(),
    "confidence_b": pl.Float64(),
}

DIVISIVE_SCHEMA: dict[str, pl.DataType] = {
    "rank": pl.Int64(),
    "key": pl.String(),
    "label": pl.Int64(),
    "right": pl.Int64(),
    "pairs": pl.Int64(),
    "share": pl.Float64(),
}


def driven_pairs(pairs: pl.DataFrame | pl.LazyFrame, most: int = PAIRS) -> tuple[pl.DataFrame, str | None]:
    """The pairs whose images are looked up, in the table's order, and a note where these are not all.

    Of more than `most` they are those of the lowest kappa, that is of the highest error inconsistency over what models
    of their accuracies would show by chance; equal ones in the table's order, pairs without kappa last. Of a table that
    is only scanned kappa alone is held.
    """
    rows = pairs.lazy()
    kappa = rows.select(pl.col("kappa").fill_null(np.inf)).collect()["kappa"].to_numpy()
    if len(kappa) <= most:
        return rows.collect(), None
    lowest = np.flatnonzero(kappa <= np.partition(kappa, most - 1)[most - 1])
    chosen = lowest[np.argsort(kappa[lowest], kind="stable")[:most]]
    place = pl.Series(np.sort(chosen), dtype=pl.UInt32)
    among = rows.with_row_index("_row").filter(pl.col("_row").is_in(place.implode())).sort("_row").drop("_row")
    note = f"images that drive a pair are of the {most:,} pairs of {len(kappa):,} with the lowest kappa"
    return among.collect(engine="streaming"), note


def driving_images(
    models: Sequence[str],
    keys: Sequence[str],
    labels: NDArray[Any],
    prediction: NDArray[Any],
    correct: NDArray[Any],
    confidence: NDArray[Any],
    pairs: pl.DataFrame,
) -> pl.DataFrame:
    """Up to `PER_PAIR` rows per pair, best first, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order.
        keys: N names of the images.
        labels: (N,) true classes, or (N, L) accepted ones: the first stands for the image.
        prediction: (M, N) classes.
        correct: (M, N) zeros and ones.
        confidence: (M, N) calibrated probability of each prediction; NaN in the rows of models without logits.
        pairs: model_a and model_b, as `driven_pairs` gives them.

    Raises:
        ValueError: arrays do not fit, or names are not ascending.
    """
    check_axis(models, len(correct))
    shapes = {np.shape(array) for array in (prediction, correct, confidence)}
    if shapes != {(len(models), len(keys))} or len(labels) != len(keys):
        raise ValueError(f"arrays of shapes {sorted(shapes)} for {len(models)} models and {len(keys)} images")
    axis = {model: index for index, model in enumerate(models)}
    first, second = (np.array([axis[model] for model in pairs[name]], np.int64) for name in ("model_a", "model_b"))
    right = scores(correct)
    found = np.full((len(first), PER_PAIR), -1)
    _drive(
        np.ascontiguousarray(correct, np.uint8),
        np.ascontiguousarray(confidence, np.float32),
        right * (len(models) - right),
        _by_key(keys),
        first,
        second,
        found,
    )
    pair, rank = np.nonzero(found >= 0)
    image, a, b = found[pair, rank], first[pair], second[pair]
    names, key = np.array(models, np.object_), np.array(keys, np.object_)
    return frame(
        {
            "model_a": names[a],
            "model_b": names[b],
            "rank": rank + 1,
            "key": key[image],
            "label": truths.primary(labels)[image].astype(np.int64),
            "right": np.where(np.asarray(correct)[a, image].astype(bool), "a", "b").astype(np.object_),
            "prediction_a": prediction[a, image].astype(np.int64),
            "prediction_b": prediction[b, image].astype(np.int64),
            "confidence_a": confidence[a, image].astype(np.float64),
            "confidence_b": confidence[b, image].astype(np.float64),
        },
        SCHEMA,
    )


def divisive_images(keys: Sequence[str], labels: NDArray[Any], correct: NDArray[Any], most: int = MOST) -> pl.DataFrame:
    """The images on which most pairs are inconsistent, best first, with the columns of `DIVISIVE_SCHEMA`.

    Args:
        keys: N names of the images.
        labels: (N,) true classes, or (N, L) accepted ones: the first stands for the image.
        correct: (M, N) zeros and ones, of all models.
        most: rows at most; images that divide no pair have none.
    """
    right = scores(correct)
    pairs = right * (len(correct) - right)
    order = _by_key(keys)
    best = order[np.argsort(-pairs[order], kind="stable")][:most]
    best = best[pairs[best] > 0]
    return frame(
        {
            "rank": np.arange(len(best)) + 1,
            "key": np.array(keys, np.object_)[best],
            "label": truths.primary(labels)[best].astype(np.int64),
            "right": right[best],
            "pairs": pairs[best],
            "share": ratio(pairs[best], len(correct) * (len(correct) - 1) // 2),
        },
        DIVISIVE_SCHEMA,
    )


def _by_key(keys: Sequence[str]) -> Indices:
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


@compiled
def _drive(
    correct: NDArray[np.uint8],
    confidence: NDArray[np.float32],
    division: Indices,
    order: Indices,
    first: Indices,
    second: Indices,
    found: Indices,
) -> None:
    """Images of the highest value so far are kept in order; -1 where there are fewer."""
    count = found.shape[1]
    value = np.empty(count)
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        known = len(order) > 0 and not np.isnan(confidence[a, 0]) and not np.isnan(confidence[b, 0])
        value[:] = -1.0
        for x in order:
            if correct[a, x] == correct[b, x]:
                continue
            own = np.float64(confidence[a, x]) + np.float64(confidence[b, x]) if known else np.float64(division[x])
            if own <= value[count - 1]:
                continue
            place = count - 1
            while place > 0 and value[place - 1] < own:
                value[place], found[pair, place] = value[place - 1], found[pair, place - 1]
                place -= 1
            value[place], found[pair, place] = own, x
