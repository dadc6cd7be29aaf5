"""Concatenated features of pairs on another data set (paper.md, 1.7): each beside the better of its two models.

Guarantees: intervals resample images, and the gain's is paired (the same images for the pair and the better model; the
better one is that of the higher value on these images). Accuracy: Wilson's interval, and Agresti & Min's for the gain.
11-point mAP: percentiles of a bootstrap whose resamples are the same for all. Models are not resampled: a row speaks
of its own two. Images that some probe did not judge are left out for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.features.average_precision import Precision, mean_average_precision, resamples
from overlap.analysis.intervals import LEVEL, gain_interval
from overlap.analysis.pairs import frame
from overlap.analysis.shares import wilson

Key = tuple[str, str | None]
"""A pair of models, or one and None."""

ACCURACY, MAP = "accuracy", "map_11"

SCHEMA: dict[str, pl.DataType] = {
    "data": pl.String(),
    "model_a": pl.String(),
    "model_b": pl.String(),
    "metric": pl.String(),
    "trained_on": pl.String(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "gain_best": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
    "n": pl.Int64(),
    "reason": pl.String(),
}

NOT_JUDGED = "no image was judged: nothing to train on"


def accuracy_table(data: str, trained_on: str, right: Mapping[Key, NDArray[np.float32]]) -> pl.DataFrame:
    """One row a model and a pair, the columns of `SCHEMA`, by accuracy.

    Args:
        data: name of the data set.
        trained_on: what the probes were trained on.
        right: by model or pair, (N,) one where the probe is right, zero where wrong, NaN where it did not judge.
    """
    judged = ~np.any([np.isnan(bits) for bits in right.values()], axis=0) if right else np.zeros(0, np.bool_)
    bits = {key: found[judged] > 0 for key, found in right.items()}
    n = int(judged.sum())
    rows = []
    for key, of_key in _ordered(bits):
        row = _row(data, trained_on, key, ACCURACY, n, None if n else NOT_JUDGED)
        if n:
            value = float(of_key.mean())
            row |= {"value": value} | dict(zip(("low", "high"), _around(value, n), strict=True))
        better = _better(key, {name: float(found.mean()) for name, found in bits.items()} if n else {})
        if better is not None:
            plus, minus = int((of_key & ~bits[better]).sum()), int((~of_key & bits[better]).sum())
            low, high = gain_interval(np.array(plus), np.array(minus), n)
            row |= {"gain_best": (plus - minus) / n, "gain_low": float(low), "gain_high": float(high)}
        rows.append(row)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def precision_table(
    data: str,
    trained_on: str,
    scores: Mapping[Key, NDArray[np.float32]],
    positive: NDArray[np.bool_],
    draws: int = 1000,
) -> pl.DataFrame:
    """One row a model and a pair, the columns of `SCHEMA`, by 11-point mAP; classes without positives in `reason`.

    Args:
        data: name of the data set.
        trained_on: what the probes were trained on.
        scores: by model or pair, (N, K) scores of the classes, NaN where the probe did not judge.
        positive: (N, K) whether the class holds of the image.
        draws: resamples of the images.
    """
    judged = np.ones(len(positive), np.bool_)
    for found in scores.values():
        judged &= ~np.isnan(found).any(axis=1)
    n = int(judged.sum())
    drawn = resamples(n, draws)
    precision = {key: mean_average_precision(found[judged], positive[judged], drawn) for key, found in scores.items()}
    rows = []
    for key, of_key in _ordered(precision):
        row = _row(data, trained_on, key, MAP, n, _reason(of_key, n))
        row |= {"value": of_key.value} | dict(zip(("low", "high"), _ends(of_key.value, of_key.drawn), strict=True))
        better = _better(key, {name: found.value for name, found in precision.items()})
        if better is not None:
            gain, gains = of_key.value - precision[better].value, of_key.drawn - precision[better].drawn
            row |= {"gain_best": gain} | dict(zip(("gain_low", "gain_high"), _ends(gain, gains), strict=True))
        rows.append(row)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _around(share: float, n: int) -> tuple[float, float]:
    """Its 95% interval, which holds the share itself to the last digit."""
    low, high = wilson(share, n)
    return min(low, share), max(high, share)


def _ordered(found: Mapping[Key, Any]) -> list[tuple[Key, Any]]:
    """Models first, then pairs, each by name."""
    return sorted(found.items(), key=lambda item: (item[0][1] is not None, item[0][0], item[0][1] or ""))


def _row(data: str, trained_on: str, key: Key, metric: str, n: int, reason: str | None) -> dict[str, Any]:
    named = {"data": data, "model_a": key[0], "model_b": key[1], "metric": metric, "trained_on": trained_on}
    return dict.fromkeys(SCHEMA) | named | {"n": n, "reason": reason}


def _better(key: Key, values: Mapping[Key, float]) -> Key | None:
    """The better of a pair's two models (the first on ties); None for a model alone or where one is missing."""
    models = [(name, None) for name in key if name is not None]
    if len(models) < 2 or any(model not in values for model in models):
        return None
    return max(models, key=lambda model: values[model])


def _ends(value: float, drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile interval that holds the value; NaN without one."""
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return np.nan, np.nan
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return min(low, value), max(high, value)


def _reason(precision: Precision, n: int) -> str | None:
    if not n:
        return NOT_JUDGED
    if not precision.absent:
        return None
    return (
        f"{precision.absent} of {precision.absent + precision.classes} classes have no positive image and are left out"
    )
