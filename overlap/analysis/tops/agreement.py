"""What bounds say beside what all logits say, on the audit sample: one checkpoint at a time, and in the tables.

Guarantees: a bound that does not hold is an error, never a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.pairs import frame
from overlap.analysis.tops.bounded import Bounded
from overlap.analysis.tops.counts import Disagreement

SCHEMA: dict[str, pl.DataType] = {
    "model": pl.String(),
    "audited": pl.Int64(),
    "width_mean": pl.Float64(),
    "width_max": pl.Float64(),
    "width_uncalibrated_max": pl.Float64(),
    "confidence_error_max": pl.Float64(),
}

WITHIN = 1e-10
"""Relative error of the sums over all logits that bounds are compared with."""


@dataclass(frozen=True)
class Agreement:
    """One checkpoint.

    Attributes:
        model: its name.
        audited: images whose bounds were compared with all logits; all held.
        width_mean, width_max: of the bounds of the log of the sum over all classes at the checkpoint's temperature,
            over all images; NaN without any.
        width_uncalibrated_max: the same at temperature 1.
        confidence_error_max: on the audited images, by how much the largest probability in the middle of its bounds is
            off.
    """

    model: str
    audited: int
    width_mean: float
    width_max: float
    width_uncalibrated_max: float
    confidence_error_max: float


def agreement(model: str, one: Bounded, logits: NDArray[np.float16], images: NDArray[np.int64]) -> Agreement:
    """Compare what is known of a model with all of its logits.

    Args:
        model: its name.
        one: of n images.
        logits: (a, K) of the audited images.
        images: (a,) which these are.

    Raises:
        Disagreement: a bound does not hold, or a listed logit is another.
    """
    few = one.take(images)
    z = logits.astype(np.float64)
    off = np.zeros(len(images))
    if (np.take_along_axis(logits, few.classes.astype(np.int64), axis=1) != few.largest).any():
        raise Disagreement(f"checkpoint '{model}': its largest logits are not those of all its logits")
    z -= z.max(axis=1, keepdims=True)
    for place, inverse in enumerate((np.ones(len(images)), 1 / few.temperature)):
        exact = np.log(np.exp(z * inverse[:, None]).sum(axis=1))
        outside = (exact < few.low[place] - WITHIN) | (exact > few.high[place] + WITHIN)
        if outside.any():
            raise Disagreement(f"checkpoint '{model}': bounds do not hold on {outside.sum()} audited images")
        off = np.abs(np.exp(-(few.low[place] + few.high[place]) / 2) - np.exp(-exact))
    width = one.high - one.low
    nothing = not len(one)
    return Agreement(
        model,
        len(images),
        np.nan if nothing else float(width[1].mean()),
        np.nan if nothing else float(width[1].max()),
        np.nan if nothing else float(width[0].max()),
        float(off.max()) if len(off) else np.nan,
    )


def agreement_table(found: Sequence[Agreement]) -> pl.DataFrame:
    """One row a checkpoint, with the columns of `SCHEMA`."""
    return frame({name: [getattr(one, name) for one in found] for name in SCHEMA}, SCHEMA)
