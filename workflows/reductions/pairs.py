"""Joint counts of all pairs and the table of pairs: what hard predictions alone give."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import bits
from overlap.analysis.consistency import PairCounts, disagreement_counts, narrow
from overlap.analysis.pairs import pairs_table
from overlap.panel import Panel
from workflows.nodes.cluster import fetch, nodes
from workflows.nodes.remote import remote

Categories = NDArray[np.object_]

MODELS = 256
"""Models on each side of one task that counts pairs: some hundred milliseconds of work at 50,000 images."""
IN_FLIGHT = 4
"""Tasks that count, by CPU of the cluster: what they return waits for the driver in as many blocks."""
ROWS = 1 << 15
"""Rows of the table of pairs that one task makes."""


def count(panel: Panel, models: int = MODELS) -> PairCounts:
    """Joint counts of all pairs, a task for each block of so many by so many models; the block changes no count.

    Memory: the driver holds the counts, 16 bytes for each two models; Ray's object store a bit and two bytes (four
    from class 32,768 on) for each model and image, once on a node; a task only its own block of counts.
    """
    held = ray.put((bits.packed(panel.correct), narrow(panel.prediction)))
    everyone = len(panel.models)
    both, different = np.empty((2, everyone, everyone), np.int64)
    starts = range(0, everyone, models)
    waiting = deque((row, column) for row in starts for column in starts if row <= column)
    begun: dict[Any, tuple[int, int]] = {}
    most = max(2, IN_FLIGHT * sum(node.cpus for node in nodes()))
    while waiting or begun:
        while waiting and len(begun) < most:
            place = waiting.popleft()
            begun[_count.remote(held, *place, models)] = place
        ready, _ = ray.wait(list(begun), num_returns=1)
        for reference in ready:
            row, column = begun.pop(reference)
            block = (slice(row, row + models), slice(column, column + models))
            for whole, found in zip((both, different), fetch(reference), strict=True):
                whole[block] = found
                whole[block[::-1]] = found.T
    return PairCounts(len(panel.labels), both, different)


def table(panel: Panel, counts: PairCounts, categories: Categories) -> pl.DataFrame:
    """The table of pairs, a task for each range of its rows."""
    held = ray.put((panel.models, counts, categories))
    tables: list[pl.DataFrame] = fetch([_rows.remote(held, start) for start in row_starts(len(panel.models))])
    return pl.concat(tables)


def row_starts(models: int, rows: int = ROWS) -> range:
    """The first rows of ranges of pairs; one empty range where there are no pairs."""
    return range(0, max(1, models * (models - 1) // 2), rows)


@remote(num_cpus=1)
def _count(
    held: tuple[bits.Words, NDArray[Any]], row: int, column: int, models: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images that both get right, and images to which they give different classes, of a block of pairs."""
    right, prediction = held
    rows, columns = slice(row, row + models), slice(column, column + models)
    first, given = right[rows], prediction[rows]
    if row == column:
        return bits.joint(first, first), disagreement_counts(given, given)
    return bits.joint(first, right[columns]), disagreement_counts(given, prediction[columns])


@remote(num_cpus=1)
def _rows(held: tuple[Sequence[str], PairCounts, Any], start: int) -> pl.DataFrame:
    return pairs_table(*held, rows=slice(start, start + ROWS))
