"""Greedy forward selection with replacement on the mean of calibrated probabilities (paper.md, 1.8).

Guarantees: selects on the selection split and reports on the test split, as does the best single model it is compared
with. Scores are integer counts, additive over blocks of images, and ties go to the lower model: neither the number of
blocks nor who counts them can change a choice. A block is scored from the members alone: a lost task is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import probabilities
from overlap.analysis.intervals import gain_interval
from overlap.analysis.pairs import check_axis, frame

Counts = NDArray[np.int64]
Members = tuple[int, ...]
Score = Callable[[Members], Counts]
"""From the members so far to (M,) int64: images of the selection split right when each model is added to them."""

MAX_SIZE = 20
"""Steps of a search."""

PATIENCE = 5
"""Steps without a new best selection accuracy after which a search ends."""

CHUNK = 1 << 22
"""Probabilities of one model looked at together."""

SCHEMA: dict[str, pl.DataType] = {
    "search": pl.String(),
    "step": pl.Int64(),
    "model": pl.String(),
    "accuracy_select": pl.Float64(),
    "accuracy_test": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
}


@dataclass(frozen=True)
class Search:
    """A search and what it found; step k is the ensemble of the first k members, a model once or several times.

    Attributes:
        name: what the table calls it.
        members: model indices in order of selection; empty when there was nothing to select by.
        right_select: per step, images of the selection split that the ensemble gets right.
        reference: the best single model on the selection split.
        outcome: (steps, 3) on the test split: right; right where the reference is wrong; wrong where it is right.
    """

    name: str
    members: Members
    right_select: tuple[int, ...]
    reference: int
    outcome: Counts

    @property
    def best(self) -> int:
        """Members of the best prefix: the first with the highest selection accuracy (0 when there are no steps)."""
        return int(np.argmax(self.right_select)) + 1 if self.members else 0


def score_candidates(
    running_sum: NDArray[np.float64], candidates: Sequence[NDArray[np.float32]], labels: NDArray[Any]
) -> Counts:
    """Images right when each candidate's probabilities (n, K) are added to the sum (n, K); lowest class on ties."""
    return np.array([_right(running_sum + candidate, labels).sum() for candidate in candidates], np.int64)


def score_block(block: Block, members: Members) -> Counts:
    """Selection images of a block that are right when each model is added to the members: (M,) int64; sums."""
    right = np.zeros(len(block.logits), np.int64)
    for images in _images(block, block.selection):
        running = _sum(block, members, images)
        for model in range(len(right)):
            right[model] += _right(running + _probabilities(block, model, images), block.labels[images]).sum()
    return right


def evaluate_block(block: Block, members: Members, reference: int) -> Counts:
    """What each prefix of the members does on a block's test images, (steps, 3) int64 as `Search.outcome`; sums."""
    outcome = np.zeros((len(members), 3), np.int64)
    for images in _images(block, ~block.selection):
        labels = block.labels[images]
        single = _right(_probabilities(block, reference, images), labels)
        running = _sum(block, (), images)
        for step, model in enumerate(members):
            running += _probabilities(block, model, images)
            together = _right(running, labels)
            outcome[step] += together.sum(), (together & ~single).sum(), (single & ~together).sum()
    return outcome


def search(name: str, score: Score, *, anchor: int | None = None, max_size: int = MAX_SIZE) -> Search:
    """Select members one by one, each the model that gets most selection images right together with those before it.

    Args:
        name: what the table calls it.
        score: counts for every candidate; over blocks, the sum of `score_block`.
        anchor: the first member; the best single model without it.
        max_size: steps at most. The search ends earlier when nothing improves for `PATIENCE` steps; its whole
            trajectory is kept, and `Search.best` says which prefix to use.

    Returns:
        A search without `outcome` (see `evaluated`); without members when no model gets any selection image right.
    """
    single = score(())
    if not single.any():
        return Search(name, (), (), 0, np.zeros((0, 3), np.int64))
    reference = int(np.argmax(single))  # the first of equals
    members: Members = (reference if anchor is None else anchor,)
    right = [int(single[members[0]])]
    while len(members) < max_size and len(right) - (int(np.argmax(right)) + 1) < PATIENCE:
        counts = score(members)
        members = (*members, int(np.argmax(counts)))
        right.append(int(counts[members[-1]]))
    return Search(name, members, tuple(right), reference, np.zeros((0, 3), np.int64))


def evaluated(found: Search, outcome: Counts) -> Search:
    """The search with its outcome on the test split: over blocks, the sum of `evaluate_block`."""
    return replace(found, outcome=outcome)


def search_blocks(name: str, blocks: Sequence[Block], *, anchor: int | None = None, max_size: int = MAX_SIZE) -> Search:
    """A whole search over blocks in memory."""
    models = len(blocks[0].logits) if blocks else 0

    def score(members: Members) -> Counts:
        return sum((score_block(block, members) for block in blocks), start=np.zeros(models, np.int64))

    found = search(name, score, anchor=anchor, max_size=max_size)
    nothing = np.zeros((len(found.members), 3), np.int64)
    outcomes = (evaluate_block(block, found.members, found.reference) for block in blocks)
    return evaluated(found, sum(outcomes, start=nothing))


def ensembles_table(models: Sequence[str], searches: Sequence[Search], selected: int, tested: int) -> pl.DataFrame:
    """One row per step of each search, with the columns of `SCHEMA`.

    The gain is over the best single model of the selection split, on the test split; its interval is paired. An
    ensemble that is that model alone gains exactly nothing.

    Args:
        models: M names in ascending order.
        searches: evaluated, in the order of the table.
        selected: images of the selection split.
        tested: images of the test split; with none the accuracy there and the gain are null.
    """
    check_axis(models, len(models))
    rows = []
    for found in searches:
        low, high = gain_interval(found.outcome[:, 1], found.outcome[:, 2], tested)
        for step, model in enumerate(found.members):
            alone = set(found.members[: step + 1]) == {found.reference} and tested > 0
            rows.append(
                {
                    "search": found.name,
                    "step": step + 1,
                    "model": models[model],
                    "accuracy_select": found.right_select[step] / selected,
                    "accuracy_test": int(found.outcome[step, 0]) / tested if tested else None,
                    "gain_low": 0.0 if alone else float(low[step]),
                    "gain_high": 0.0 if alone else float(high[step]),
                }
            )
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _images(block: Block, split: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Indices of a split's images, in pieces of bounded size."""
    indices = np.flatnonzero(split)
    step = max(1, CHUNK // max(1, block.logits[0].shape[1])) if len(block.logits) else len(indices) + 1
    return [indices[start : start + step] for start in range(0, len(indices), step)]


def _probabilities(block: Block, model: int, images: NDArray[np.int64]) -> NDArray[np.float32]:
    return probabilities(block.logits[model][images], block.calibrations[model].of(block.folds[images]))


def _sum(block: Block, members: Members, images: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the members' probabilities in float64, (n, K): exact enough that no order of blocks can matter."""
    total = np.zeros((len(images), block.logits[0].shape[1]))
    for model in members:
        total += _probabilities(block, model, images)
    return total


def _right(scores: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(scores.argmax(axis=1) == labels)
