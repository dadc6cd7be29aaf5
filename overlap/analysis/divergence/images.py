"""The table of images by difficulty: those that every model gets right, none does, and those in between.

Guarantees: one row an image, in the order given; difficulty depends on the number of models that get it right alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.divergence.rasch import Rasch
from overlap.analysis.pairs import frame

SCHEMA: dict[str, pl.DataType] = {
    "key": pl.String(),
    "label": pl.Int64(),
    "right": pl.Int64(),
    "group": pl.String(),
    "difficulty": pl.Float64(),
}


def difficulty_table(
    keys: Sequence[str], labels: NDArray[Any], correct: NDArray[Any], fitted: Rasch | None
) -> pl.DataFrame:
    """One row per image, with the columns of `SCHEMA`.

    Args:
        keys: N names.
        labels: (N,) true classes or (N, L) accepted ones, of which the primary one is told.
        correct: (M, N) zeros and ones.
        fitted: of the same models and images; without it difficulties are null.

    Returns:
        `group` is `all`, `none` or `between` by how many models get the image right, null without models; `difficulty`
        is its posterior mean in logits: at zero a model of mean ability is right half the time.

    Raises:
        ValueError: arrays of different numbers of images.
    """
    models, n = correct.shape
    if not len(keys) == len(labels) == n:
        raise ValueError(f"{len(keys)} keys and {len(labels)} labels for answers to {n} images")
    right = correct.sum(axis=0, dtype=np.int64)
    group = np.select([right == models, right == 0], ["all", "none"], "between").astype(np.object_)
    return frame(
        {
            "key": list(keys),
            "label": truths.primary(labels).astype(np.int64),
            "right": right,
            "group": group if models else np.full(n, None),
            "difficulty": np.full(n, np.nan) if fitted is None else fitted.difficulty[right].round(12),
        },
        SCHEMA,
    )
