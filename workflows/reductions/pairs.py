"""Joint counts of all pairs and the table of pairs: what hard predictions alone give."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import bits
from overlap.analysis.consistency import PairCounts, disagreement_counts, disagreements_of, narrow
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pairs import SCHEMA, pair_count, pair_indices, rows_of
from overlap.analysis.some_pairs import OfPairs, SomePairs
from overlap.panel import Panel
from overlap.store.long_tables import LongTable, Writer
from workflows.nodes.cluster import fetch, nodes
from workflows.nodes.remote import remote

MODELS = 256
"""Models on each side of one task that counts pairs: some hundred milliseconds of work at 50,000 images."""
IN_FLIGHT = 4
"""Tasks that count, by CPU of the cluster: what they return waits for the driver in as many blocks."""
ROWS = 1 << 13
"""Rows of the table of pairs that one task makes: a second or two of work, whatever the number of images."""


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


def count_some(panel: Panel, pairs: SomePairs, rows: int = ROWS) -> PairCounts:
    """Joint counts of some pairs, a task for each range of so many; nothing is held for each two models."""
    words = bits.packed(panel.correct)
    right = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    held = ray.put((words, narrow(panel.prediction), pairs))
    del words
    parts = [_count_some.remote(held, slice(start, start + rows)) for start in range(0, len(pairs), rows)]
    both, different = (np.concatenate(found) for found in zip(*fetch(parts), strict=True))
    n = len(panel.labels)
    return PairCounts(n, OfPairs(pairs, both, own=right), OfPairs(pairs, different, own=np.zeros(len(right), np.int64)))


def write(panel: Panel, categories: PairCategories, rows: int = ROWS) -> LongTable:
    """The table of pairs, a task for each range of so many rows, which counts its pairs itself; in a file.

    The range changes no byte of the file. Memory: no process holds anything for each two models. The driver holds,
    beside the panel, 2.2 bytes for each model and image until Ray's object store has them (4.2 from class 32,768 on),
    and the rows of `IN_FLIGHT` tasks for each CPU and of two row groups (some 200 bytes a row); the object store those
    bytes, once on a node; a task its own rows.
    """
    words = bits.packed(panel.correct)
    right = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    held = ray.put((panel.models, len(panel.labels), right, words, narrow(panel.prediction), categories))
    del words
    most = max(2, IN_FLIGHT * sum(node.cpus for node in nodes()))
    begun: deque[Any] = deque()
    with Writer(SCHEMA) as writer:
        for start in row_starts(len(panel.models), rows):
            begun.append(_rows.remote(held, start, rows))
            if len(begun) >= most:
                writer.add(fetch(begun.popleft()))
        while begun:
            writer.add(fetch(begun.popleft()))
    return writer.table


def row_starts(models: int, rows: int = ROWS, pairs: SomePairs | None = None) -> range:
    """The first rows of ranges of pairs, of all or of some; one empty range where there are no pairs."""
    return range(0, max(1, pair_count(models) if pairs is None else len(pairs)), rows)


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
def _count_some(
    held: tuple[bits.Words, NDArray[Any], SomePairs], rows: slice
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    words, prediction, pairs = held
    first, second = pairs.first[rows], pairs.second[rows]
    return bits.joint_of(words, first, second), disagreements_of(prediction, first, second)


@remote(num_cpus=1)
def _rows(held: tuple[Any, ...], start: int, rows: int) -> pl.DataFrame:
    models, n, right, words, prediction, categories = held
    first, second = pair_indices(len(models), slice(start, start + rows))
    both, different = bits.joint_of(words, first, second), disagreements_of(prediction, first, second)
    return rows_of(models, n, first, second, right, both, different, categories)
