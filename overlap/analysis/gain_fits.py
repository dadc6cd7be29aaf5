"""Does a pair gain more the more inconsistent its errors are? Fits over pairs, beside what follows by identity.

By paper.md 1.2, gain over the mean = EI (conv - 1/2) + P(both wrong) r00. So were the conversion rate the same for all
pairs, gain would be linear in EI with the slope conv - 1/2 by identity (`identity_slope`): the empirical claim is that
the conversion rate itself rises with EI (`conversion_slope`).

Guarantees: least squares over pairs, unweighted. Pairs share models, so that intervals come from leaving out one model
at a time, and the p-value from permuting models, rows and columns of the conversion rates together (QAP, see `mantel`);
images are taken as they are. The jackknife's 95% intervals hold slopes 93 to 98% of the time from five models on, where
those of the bootstrap over models, which serves means well, were measured to hold them 82 to 96%; pairs that share no
model make it wider than need be. In a category, the rates of all pairs of its models are permuted. What is undefined is
null with its reason. Of the group of all pairs duplicates are no part: such a pair is one model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtrit

from overlap.analysis import bootstrap
from overlap.analysis.compiler import compiled
from overlap.analysis.divergence import mantel
from overlap.analysis.intervals import LEVEL
from overlap.analysis.pairs import CATEGORIES, frame

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

PERMUTATIONS = 1999
"""Random permutations of the models of a group."""

UNCHANGED = "no permutation of models changes it"
UNTESTED = "models cannot be permuted where ensembles are of a selection of pairs"
ALL = "all"
"""The group of all pairs but duplicates."""

SCHEMA: dict[str, pl.DataType] = {
    "combiner": pl.String(),
    "group": pl.String(),
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    "slope": pl.Float64(),
    "slope_low": pl.Float64(),
    "slope_high": pl.Float64(),
    "intercept": pl.Float64(),
    "r_squared": pl.Float64(),
    "identity_slope": pl.Float64(),
    "conversion_mean": pl.Float64(),
    "conversion_slope": pl.Float64(),
    "conversion_slope_low": pl.Float64(),
    "conversion_slope_high": pl.Float64(),
    "conversion_p": pl.Float64(),
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Fit:
    """A line through pairs; what is undefined is None, and the reason says why."""

    slope: float | None = None
    low: float | None = None
    high: float | None = None
    intercept: float | None = None
    r_squared: float | None = None
    reason: str | None = None


def gain_fits_table(pairs: pl.DataFrame, pair_ensembles: pl.DataFrame, *, sampled: bool = False) -> pl.DataFrame:
    """One row per combiner and group of pairs, with the columns of `SCHEMA`.

    Args:
        pairs: a table of the pairs, for their categories.
        pair_ensembles: the table of their ensembles, by any combiners.
        sampled: whether these are a selection of the pairs of their models: then there is no test, which needs all.
    """
    categories = pairs.select("model_a", "model_b", "category")
    table = pair_ensembles.join(categories, on=["model_a", "model_b"], how="left", maintain_order="left")
    table = table.with_columns(error_inconsistency=(pl.col("only_a") + pl.col("only_b")) / pl.col("n"))
    rows = []
    for combiner in pair_ensembles["combiner"].unique(maintain_order=True):
        of_combiner = table.filter((pl.col("combiner") == combiner) & pl.col("gain_mean").is_not_null())
        for group in (ALL, *CATEGORIES):
            member = pl.col("category") == group if group != ALL else pl.col("category").fill_null("") != "duplicate"
            if group == ALL or not of_combiner.filter(member).is_empty():
                figures = _row(of_combiner, of_combiner.select(member), sampled=sampled)
                rows.append({"combiner": combiner, "group": group} | figures)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _row(table: pl.DataFrame, member: pl.DataFrame, *, sampled: bool) -> dict[str, Any]:
    """The figures of one group: `member` (P, 1) says which rows are of it."""
    chosen = member.to_series()
    group = table.filter(chosen)
    names = sorted({*table["model_a"], *table["model_b"]})
    axis = {name: place for place, name in enumerate(names)}
    first, second = (np.array([axis[name] for name in group[side]], np.int64) for side in ("model_a", "model_b"))
    inconsistency, gain = (group[name].to_numpy().astype(np.float64) for name in ("error_inconsistency", "gain_mean"))
    gains = fit(inconsistency, gain, first, second)
    conversion = group["conversion_rate"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = ~np.isnan(conversion)
    rates = fit(inconsistency[known], conversion[known], first[known], second[known])
    p_value = None
    if rates.slope is not None and not sampled:
        every = np.full((len(names), len(names)), np.nan)
        a, b = (np.array([axis[name] for name in table[side]], np.int64) for side in ("model_a", "model_b"))
        every[a, b] = every[b, a] = table["conversion_rate"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        p_value = permuted(inconsistency[known], every, first[known], second[known])
    mean = float(conversion[known].mean()) if known.any() else None
    reasons = {
        "slope": gains.reason,
        "conversion_mean": None if known.any() else "no pair of which exactly one model is right on an image",
        "conversion_slope": rates.reason,
        "conversion_p": None if p_value is not None or rates.slope is None else UNTESTED if sampled else UNCHANGED,
    }
    return {
        "pairs": len(group),
        "models": len({*first.tolist(), *second.tolist()}),
        "slope": gains.slope,
        "slope_low": gains.low,
        "slope_high": gains.high,
        "intercept": gains.intercept,
        "r_squared": gains.r_squared,
        "identity_slope": None if mean is None else mean - 0.5,
        "conversion_mean": mean,
        "conversion_slope": rates.slope,
        "conversion_slope_low": rates.low,
        "conversion_slope_high": rates.high,
        "conversion_p": p_value,
        "reason": "; ".join(f"{column}: {reason}" for column, reason in reasons.items() if reason) or None,
    }


def fit(x: Fractions, y: Fractions, first: Indices, second: Indices) -> Fit:
    """The least-squares line of y on x over pairs, and the interval of its slope by the jackknife over models.

    Args:
        x: (P,) finite.
        y: (P,) finite.
        first: (P,) first model of each pair, any numbers.
        second: (P,) second model.
    """
    if len(x) < 3:
        return Fit(reason="fewer than three pairs")
    x_mean, y_mean = float(x.mean()), float(y.mean())
    across, up = x - x_mean, y - y_mean
    spread, together, height = float(across @ across), float(across @ up), float(up @ up)
    if spread <= 1e-18 * len(x):
        return Fit(reason="error inconsistency is the same for all pairs")
    slope = together / spread
    r_squared = together**2 / (spread * height) if height > 1e-24 * len(x) else None
    line = Fit(
        slope,
        intercept=y_mean - slope * x_mean,
        r_squared=r_squared,
        reason=None if r_squared is not None else "the fitted values are the same for all pairs",
    )
    without = _without_each(across, up, first, second)
    if np.isnan(without).any():
        return replace(line, reason="without one of the models there is no line, hence no interval")
    models = len(without)
    error = float(np.sqrt((models - 1) / models * ((without - without.mean()) ** 2).sum()))
    half = float(stdtrit(models - 1, (1 + LEVEL) / 2)) * error
    return replace(line, low=round(slope - half, 12), high=round(slope + half, 12))


def _without_each(x: Fractions, y: Fractions, first: Indices, second: Indices) -> Fractions:
    """The slope without the pairs of each model in turn; NaN where fewer than two different x are left."""
    used, a, b = bootstrap.places(first, second)
    sums = []
    for values in (np.ones(len(x)), x, y, x * x, x * y):
        of_model = np.bincount(a, values, used) + np.bincount(b, values, used)
        sums.append(values.sum() - of_model)
    n, sx, sy, sxx, sxy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sxx - sx * sx / n
        slopes: Fractions = np.where(spread > 1e-12 * (x @ x), (sxy - sx * sy / n) / spread, np.nan)
    return slopes


def permuted(x: Fractions, rates: Fractions, first: Indices, second: Indices) -> float | None:
    """P-value, two-sided, of the correlation over pairs of x and the rates, models of the rates permuted.

    Args:
        x: (P,) finite, by pair; stays in its place.
        rates: (M, M) symmetric, NaN where there is none; those of the pairs' models are permuted.
        first: (P,) first model of each pair, on the axis of the rates.
        second: (P,) second model.
    """
    used, a, b = bootstrap.places(first, second)
    models = np.unique(np.concatenate([first, second]))
    orders = mantel.orders(np.zeros(used, np.int64), PERMUTATIONS)
    sums = np.zeros((len(orders), 6))
    own = rates[np.ix_(models, models)]
    _add(x - x.mean(), own - np.nanmean(own), a, b, orders, sums)

    n, sx, sy, sxx, sxy, syy = sums.T
    spread = (sxx - sx * sx / n) * (syy - sy * sy / n)
    return mantel.p_value((sxy - sx * sy / n) / np.sqrt(np.where(spread > 1e-30, spread, np.nan)))


@compiled
def _add(x: Fractions, rates: Fractions, first: Indices, second: Indices, orders: Indices, sums: Fractions) -> None:
    for draw in range(len(orders)):
        order, of = orders[draw], sums[draw]
        for pair in range(len(first)):
            y = rates[order[first[pair]], order[second[pair]]]
            if not np.isnan(y):
                of[0] += 1
                of[1] += x[pair]
                of[2] += y
                of[3] += x[pair] * x[pair]
                of[4] += x[pair] * y
                of[5] += y * y
