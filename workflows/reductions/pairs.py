"""Joint counts of all pairs and the table of pairs: what hard predictions alone give."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis.consistency import PairCounts, pair_counts
from overlap.analysis.pairs import pairs_table
from overlap.panel import Panel
from workflows.cluster import fetch
from workflows.remote import remote

Categories = NDArray[np.object_]

IMAGES = 1 << 15
"""Images of one task that counts pairs."""
ROWS = 1 << 15
"""Rows of the table of pairs that one task makes."""


def count(panel: Panel) -> PairCounts:
    """Joint counts of all pairs, a task for each block of images."""
    prediction, labels = ray.put(panel.prediction), ray.put(panel.labels)
    starts = range(0, max(1, len(panel.labels)), IMAGES)
    counts: PairCounts = functools.reduce(
        operator.add, fetch([_count.remote(prediction, labels, start) for start in starts])
    )
    return counts


def table(panel: Panel, counts: PairCounts, categories: Categories) -> pl.DataFrame:
    """The table of pairs, a task for each range of its rows."""
    held = ray.put((panel.models, counts, categories))
    tables: list[pl.DataFrame] = fetch([_rows.remote(held, start) for start in row_starts(len(panel.models))])
    return pl.concat(tables)


def row_starts(models: int, rows: int = ROWS) -> range:
    """The first rows of ranges of pairs; one empty range where there are no pairs."""
    return range(0, max(1, models * (models - 1) // 2), rows)


@remote(num_cpus=1)
def _count(prediction: NDArray[np.int32], labels: NDArray[np.int32], start: int) -> PairCounts:
    images = slice(start, start + IMAGES)
    return pair_counts(prediction[:, images], labels[images])


@remote(num_cpus=1)
def _rows(held: tuple[Sequence[str], PairCounts, Any], start: int) -> pl.DataFrame:
    return pairs_table(*held, rows=slice(start, start + ROWS))
