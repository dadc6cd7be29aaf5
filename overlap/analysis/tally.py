"""Verdicts of pairs of models, added up over the images: how many are right together, which, and what that gains.

Guarantees: integer counts. What a pair comes to depends on its two models alone, so that it can be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.questions import OPEN

Counts = NDArray[np.int64]

CELLS = ("neither", "second", "first", "both")
"""Which of a pair's models are right alone."""


@dataclass(frozen=True)
class Together:
    """What P pairs get right over n images; it depends on the two models of each alone.

    Attributes:
        counts: (P, combiners, 4) int64; images the ensemble gets right, by `CELLS`.
        bits: (B,) uint8; of each pair, whether the ensemble by the first combiner is right on the images on which the
            models predict different classes, in their order; a pair begins with a byte of its own.
        starts: (P + 1,) int64; where in `bits` each pair begins.
    """

    counts: Counts
    bits: NDArray[np.uint8]
    starts: Counts


class Tally:
    """Verdicts of P pairs, added up over blocks of images that come in order."""

    def __init__(self, first: Counts, second: Counts, combiners: int) -> None:
        self._first, self._second = first, second
        right, undecided = np.zeros((2, len(first), combiners, len(CELLS)), np.int64)
        self._right = right
        self.undecided = undecided
        """(P, combiners, 4) images that are open, by `CELLS`."""
        self._streams: list[list[NDArray[np.bool_]]] = [[] for _ in first]

    def add(self, found: NDArray[np.uint16], said: NDArray[np.int32], labels: NDArray[np.int32]) -> None:
        """Add the (P, n) verdicts (`verdicts.verdicts`) of n images, of which M models said (M, n)."""
        first, second = self._first, self._second
        _tally(found, truths.right(said, labels), first, second, self._right, self.undecided)
        different = said[first] != said[second]
        for pair, stream in enumerate(self._streams):
            stream.append((found[pair, different[pair]] & 1).astype(np.bool_))

    @property
    def together(self) -> Together:
        """What is certainly right; bits of open images are 0."""
        packed = [np.packbits(np.concatenate(stream)) if stream else np.empty(0, np.uint8) for stream in self._streams]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in packed])]).astype(np.int64)
        return Together(self._right, np.concatenate([np.empty(0, np.uint8), *packed]), starts)


@compiled
def _tally(
    found: NDArray[np.uint16],
    right: NDArray[np.bool_],
    first: Counts,
    second: Counts,
    counts: Counts,
    undecided: Counts,
) -> None:
    for pair in range(len(first)):
        one, two = right[first[pair]], right[second[pair]]
        for x in range(found.shape[1]):
            cell = 2 * one[x] + two[x]
            for c in range(counts.shape[1]):
                counts[pair, c, cell] += (found[pair, x] >> c) & 1
            if found[pair, x] >> OPEN:
                for c in range(counts.shape[1]):
                    undecided[pair, c, cell] += (found[pair, x] >> (OPEN + c)) & 1


def add_gains(
    held: Together,
    wanted: Counts,
    first: Counts,
    second: Counts,
    prediction: NDArray[np.int32],
    correct: NDArray[np.bool_],
    right: Counts,
    group: Counts,
    totals: NDArray[np.int32],
) -> None:
    """Add, by category and image, how many more of some pairs' ensembles are right than of their better models.

    Args:
        held: pairs, among them these.
        wanted: (W,) their places there.
        first, second: (W,) their models' rows.
        prediction: (M, n) classes, correct: (M, n) whether they are right.
        right: (M,) right answers of each model, which say who is the better of a pair (the first on ties).
        group: (W,) category of each pair, 0..G-1.
        totals: (G, n); added to.

    Raises:
        ValueError: bits that are not of these predictions.
    """
    better = np.where(right[first] >= right[second], first, second)
    different = np.array([(prediction[a] != prediction[b]).sum() for a, b in zip(first, second, strict=True)], np.int64)
    if (np.diff(held.starts)[wanted] != -(-different // 8)).any():
        raise ValueError("ensembles of pairs of other predictions")
    places = (np.array(held.starts[wanted], np.int64), np.array(first, np.int64), np.array(second, np.int64))
    arrays = (np.array(held.bits, np.uint8), np.ascontiguousarray(prediction), np.ascontiguousarray(correct))
    _add_gains(*places, better.astype(np.int64), np.array(group, np.int64), *arrays, totals)


@compiled
def _add_gains(
    starts: Counts,
    first: Counts,
    second: Counts,
    better: Counts,
    group: Counts,
    bits: NDArray[np.uint8],
    prediction: NDArray[np.int32],
    correct: NDArray[np.bool_],
    totals: NDArray[np.int32],
) -> None:
    for pair in range(len(first)):
        one, two = prediction[first[pair]], prediction[second[pair]]
        alone, total = correct[better[pair]], totals[group[pair]]
        place = starts[pair] * 8
        for x in range(len(one)):
            if one[x] != two[x]:
                total[x] += np.int32((bits[place >> 3] >> (7 - (place & 7))) & 1) - np.int32(alone[x])
                place += 1
