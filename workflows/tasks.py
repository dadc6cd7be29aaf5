"""The tasks of the reductions: one block each. What they return is small, or stays in Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis import greedy
from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, calibrate
from overlap.analysis.combining import EnsembleCounts, ensemble_counts
from overlap.analysis.consistency import PairCounts, pair_counts
from overlap.analysis.greedy import Members
from overlap.analysis.pairs import pairs_table
from overlap.store.ledger import Ledger, Record
from overlap.store.objects import Location, open_objects
from workflows.remote import remote

IMAGES = 1 << 15
"""Images of one task that counts pairs."""
PAIRS = 1 << 15
"""Rows of the table of pairs that one task makes."""


@remote(num_cpus=1)
def count_pairs(prediction: NDArray[np.int32], labels: NDArray[np.int32], start: int) -> PairCounts:
    """Joint counts of all pairs over one block of images."""
    images = slice(start, start + IMAGES)
    return pair_counts(prediction[:, images], labels[images])


@remote(num_cpus=1)
def pair_rows(held: tuple[Sequence[str], PairCounts, NDArray[np.object_]], start: int) -> pl.DataFrame:
    """One range of rows of the table of pairs."""
    return pairs_table(*held, rows=slice(start, start + PAIRS))


@remote(num_cpus=1)
def calibrate_model(
    where: Location, data: str, records: Sequence[Record], held: tuple[NDArray[np.int32], NDArray[np.int8]]
) -> Calibration:
    """Cross-fitted temperatures of one checkpoint, from its shards."""
    ledger = Ledger(open_objects(where), data)
    return calibrate([ledger.read(record).logits for record in records], *held)


@remote(num_cpus=1)
def load_block(
    where: Location,
    data: str,
    records: Sequence[Record],
    calibrations: Sequence[Calibration],
    images: tuple[Any, Any, Any],
) -> Block:
    """The logits of all checkpoints on one shard, verified."""
    ledger = Ledger(open_objects(where), data)
    labels, folds, selection = images
    return Block([np.array(ledger.read(record).logits) for record in records], calibrations, labels, folds, selection)


@remote(num_cpus=1)
def count_ensembles(block: Block, held: tuple[NDArray[np.int64], NDArray[np.object_]], combiner: str) -> EnsembleCounts:
    """What the ensembles of all pairs get right on one shard."""
    right, categories = held
    return ensemble_counts(
        block.logits,
        block.calibrations,
        block.labels,
        block.folds,
        combiner=combiner,
        right=right,
        categories=categories,
    )


@remote(num_cpus=1)
def score_block(block: Block, members: Members) -> NDArray[np.int64]:
    """Selection images of one shard that are right when each checkpoint is added to the members."""
    return greedy.score_block(block, members)


@remote(num_cpus=1)
def evaluate_block(block: Block, members: Members, reference: int) -> NDArray[np.int64]:
    """What each prefix of the members does on the test images of one shard."""
    return greedy.evaluate_block(block, members, reference)
