"""Specialisation by category of pairs: means with 95% intervals that resample models and images.

The part of the images is a jackknife over parts of them (as `spread` deals them out), which serves every statistic
alike; that of the models, and how the two are added, is of `bootstrap`. A spread is 0 where a pair shows less than its
noise, so that its mean lies above 0 also where nothing is specialised: compare categories, and see the pairs' p-values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import bootstrap
from overlap.analysis.bootstrap import Estimate
from overlap.analysis.pairs import CATEGORIES, frame
from overlap.analysis.specialisation.spread import STATISTICS

Fractions = NDArray[np.float64]

BOUNDS = {"theta_separation": (-90.0, 90.0), "class_spread": (0.0, 45.0), "group_spread": (0.0, 45.0)}
"""Values that a mean can take, in degrees."""

ABSENT = {
    "theta_separation": "no pair of which each model alone is right somewhere",
    "class_spread": "no pair with two classes of two images",
    "group_spread": "no groups, or no two of them with two classes",
}

SCHEMA: dict[str, pl.DataType] = {
    "category": pl.String(),
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    **{name + end: pl.Float64() for name in STATISTICS for end in ("", "_low", "_high")},
    "reason": pl.String(),
}


def specialisation_categories(models: Sequence[str], pairs: pl.DataFrame, without: Fractions) -> pl.DataFrame:
    """One row per category that has a pair, with the columns of `SCHEMA`; degrees.

    Args:
        models: M names, the axis of the pairs.
        pairs: the whole table of specialisation, all ranges put together.
        without: (P, parts, 3), of the same pairs in the same order.

    Raises:
        ValueError: they do not have the same number of pairs.
    """
    if len(pairs) != len(without):
        raise ValueError(f"{len(pairs)} pairs in the table, {len(without)} without parts of the images")
    axis = {model: index for index, model in enumerate(models)}
    rows = []
    for name in CATEGORIES:
        members = np.flatnonzero((pairs["category"] == name).fill_null(False).to_numpy())
        if not len(members):
            continue
        of_category = pairs[members]
        first, second = (
            np.array([axis[model] for model in of_category[column]], np.int64) for column in ("model_a", "model_b")
        )
        row: dict[str, Any] = {
            "category": name,
            "pairs": len(members),
            "models": len({*of_category["model_a"], *of_category["model_b"]}),
        }
        reasons = []
        for number, statistic in enumerate(STATISTICS):
            values = of_category[statistic].cast(pl.Float64).fill_null(np.nan).to_numpy()
            known = ~np.isnan(values)
            found = Estimate(reason=ABSENT[statistic])
            if known.any():
                noise = jackknife_variance(values[known], without[members[known], :, number])
                seed, bounds = f"{name} {statistic}", BOUNDS[statistic]
                found = bootstrap.estimate(seed, values[known], first[known], second[known], noise, bounds)
            row |= {statistic: found.mean, statistic + "_low": found.low, statistic + "_high": found.high}
            reasons += [f"{statistic}: {found.reason}"] * (found.reason is not None)
        rows.append({**row, "reason": "; ".join(reasons) or None})
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def jackknife_variance(values: Fractions, without: Fractions) -> float:
    """Variance, over samples of images, of the mean of the values: (G - 1) / G sum (mean without a part - mean)^2.

    Args:
        values: (P,) finite.
        without: (P, G) without each of G parts; where a value is undefined the part changes nothing. Below two parts
            there is no variance, and 0 is returned.
    """
    parts = without.shape[1]
    if parts < 2:
        return 0.0
    change = np.where(np.isnan(without), 0.0, without - values[:, None]).mean(axis=0)
    return float(((change - change.mean()) ** 2).sum() * (parts - 1) / parts)
