"""The tasks of the reductions: one block each. What they return is small, or stays in Ray's object store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import greedy
from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, calibrate
from overlap.analysis.combining import EnsembleCounts, ensemble_counts
from overlap.analysis.greedy import Members
from overlap.store.ledger import Ledger, Record
from overlap.store.objects import Location, open_objects
from workflows.remote import remote


@remote(num_cpus=1)
def calibrate_model(
    where: Location,
    data: str,
    records: Sequence[Record],
    held: tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int8]],
) -> Calibration:
    """Cross-fitted temperatures of one checkpoint, from its shards."""
    ledger = Ledger(open_objects(where), data)
    images, labels, folds = held
    parts, start = [], 0
    for record in records:
        parts.append(np.array(ledger.read(record).logits[images[start : start + record.rows]]))
        start += record.rows
    return calibrate(parts, labels, folds)


@remote(num_cpus=1)
def load_block(
    where: Location,
    data: str,
    records: Sequence[Record],
    calibrations: Sequence[Calibration],
    images: tuple[Any, Any, Any, Any],
) -> Block:
    """The logits of all checkpoints on the images of one shard that take part, verified."""
    ledger = Ledger(open_objects(where), data)
    rows, labels, folds, selection = images
    logits = [np.array(ledger.read(record).logits[rows]) for record in records]
    return Block(logits, calibrations, labels, folds, selection)


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
