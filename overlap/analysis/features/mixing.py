"""Mixed features of two models (paper.md, 1.6): the table of probes, and the mean gain of 50/50 by category.

A gain at 50/50 over both ends says that the two models' features overlap without one containing the other's. Intervals
resample models and images as those of categories do (`overlap.analysis.bootstrap`); a gain is paired, by image, and a
mean over draws of features. Guarantees: a summary depends on its own category's pairs alone. Not covered by the
intervals: other draws of features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.bootstrap import Estimate, estimate
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import CATEGORIES, frame

CONTROLS = ("pair", "reinit", "shuffled", "halves")
"""What was mixed: a pair, a pair of one methodology, a pair whose partner is of other images, one model's halves."""

GAINS = ("gain_base", "gain_other")

SCHEMA: dict[str, pl.DataType] = {
    "base": pl.String(),
    "other": pl.String(),
    "category": pl.String(),
    "control": pl.String(),
    "rate": pl.Float64(),
    "draw": pl.Int64(),
    "dimension": pl.Int64(),
    "trained_on": pl.String(),
    "n": pl.Int64(),
    "accuracy": pl.Float64(),
}

SUMMARY_SCHEMA: dict[str, pl.DataType] = {
    "category": pl.String(),
    "control": pl.String(),
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    **{gain + end: pl.Float64() for gain in GAINS for end in ("", "_low", "_high")},
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Mixed:
    """What one pair, or one model's halves, gave under one control.

    Attributes:
        rows: of the table, by the columns of `SCHEMA`.
        base: name of the base model.
        other: name of the other; the base model itself for its halves.
        category: of the pair, or None.
        control: one of `CONTROLS`.
        gains: (2, N) float32, by image: how much more often the probes are right at 50/50 than at 100/0, and than at
            0/100, each the mean over draws; NaN where an image was not judged.
    """

    rows: list[dict[str, Any]]
    base: str
    other: str
    category: str | None
    control: str
    gains: NDArray[np.float32]


def mixing_table(found: Iterable[Mixed]) -> pl.DataFrame:
    """One row a pair, control, rate and draw, with the columns of `SCHEMA`, in the order of what was found."""
    rows = [row for mixed in found for row in mixed.rows]
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def mixing_summary(found: Sequence[Mixed]) -> pl.DataFrame:
    """One row a category and control that has a pair, with the columns of `SUMMARY_SCHEMA`; `halves` over all models.

    Args:
        found: of the same images.
    """
    rows = []
    for control in CONTROLS:
        for category in (*CATEGORIES, None):
            members = [mixed for mixed in found if (mixed.control, mixed.category) == (control, category)]
            if members:
                rows.append(_summary(category, control, members))
    return frame({name: [row[name] for row in rows] for name in SUMMARY_SCHEMA}, SUMMARY_SCHEMA)


def _summary(category: str | None, control: str, members: list[Mixed]) -> dict[str, Any]:
    names = sorted({name for mixed in members for name in (mixed.base, mixed.other)})
    row: dict[str, Any] = {"category": category, "control": control, "pairs": len(members), "models": len(names)}
    reasons = []
    for place, gain in enumerate(GAINS):
        if control == "shuffled" and gain == "gain_other":
            found = Estimate(reason="features of other images are at chance by themselves")
        else:
            found = _mean(f"{control} {category} {gain}", members, names, [mixed.gains[place] for mixed in members])
        row |= {gain: found.mean, gain + "_low": found.low, gain + "_high": found.high}
        if found.reason:
            reasons.append(f"{gain}: {found.reason}")
    return row | {"reason": "; ".join(reasons) or None}


def _mean(seed: str, members: list[Mixed], names: list[str], gains: Sequence[NDArray[np.float32]]) -> Estimate:
    """Mean gain over pairs, from each pair's gain by image."""
    by_image = np.stack(gains).astype(np.float64)
    by_image = by_image[:, ~np.isnan(by_image).any(axis=0)]
    if not by_image.shape[1]:
        return Estimate(reason="no image was judged")
    noise = float(by_image.mean(axis=0).var() / by_image.shape[1])
    first = np.array([names.index(mixed.base) for mixed in members])
    # a model's halves are weighted by that model once: the second is one and the same for all, and cancels
    second = np.array([names.index(m.other) if m.other != m.base else len(names) for m in members])
    found = estimate(seed, by_image.mean(axis=1), first, second, noise, (-1.0, 1.0))
    if len(members) > 1 or found.mean is None:
        return found
    half = Z * noise**0.5
    low, high = max(-1.0, found.mean - half), min(1.0, found.mean + half)
    return Estimate(found.mean, low, high, "one pair: the interval is over images alone")
