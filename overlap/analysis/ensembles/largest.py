"""The largest calibrated probabilities of one model on each image: what searches read instead of all classes.

Guarantees: values are those of `calibration.probabilities`, bit for bit, the lower class first among equals; no class
that is not kept has more than the tail. What a row yields does not depend on the block it lies in, so that the rows of
a checkpoint are made once, and again only where its temperatures, images or labels are others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration, truths
from overlap.analysis.compiler import compiled

KEPT = 16
"""Classes kept of each image: 100 bytes a model and image. Of 50 models on 1,000 classes (tests/benchmarks/greedy.py) 4
left 0.25% of candidates' images uncertified, 8 0.09%, 16 0.025%, 32 0.006%; sixteen leave a few rows to look up."""


@dataclass(frozen=True)
class Largest:
    """The k largest probabilities of one model on each of n images.

    Attributes:
        values: (n, k) float32, descending.
        classes: (n, k) int16, or int32 where there are more classes: whose they are.
        tail: (n,) float32, the largest probability of a class that is not kept; 0 where all are.
        right: (n,) whether the model alone is right.
    """

    values: NDArray[np.float32]
    classes: NDArray[Any]
    tail: NDArray[np.float32]
    right: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, images: slice | NDArray[Any]) -> Largest:
        """Those of some images."""
        return Largest(self.values[images], self.classes[images], self.tail[images], self.right[images])


def largest(
    logits: Sequence[NDArray[Any]], temperature: NDArray[np.float64], labels: NDArray[Any], kept: int = KEPT
) -> Largest:
    """What one model says of its images, from stored logits.

    Args:
        logits: blocks of (n_i, K) in the order of the images; n in all.
        temperature: (n,), of each image, out of fold (`Calibration.of`).
        labels: (n,) true classes, or (n, L) accepted ones (see `truths`).
        kept: classes to keep of each image; all where a model has fewer.

    Raises:
        ValueError: arrays that do not have the same number of images.
    """
    rows = sum(len(block) for block in logits)
    if not rows == len(temperature) == len(labels):
        raise ValueError(f"{rows} rows of logits for {len(temperature)} temperatures and {len(labels)} labels")
    classes = logits[0].shape[1] if logits else 0
    k = min(kept, classes)
    found = Largest(
        np.empty((rows, k), np.float32),
        np.empty((rows, k), np.int16 if classes <= np.iinfo(np.int16).max else np.int32),
        np.empty(rows, np.float32),
        np.empty(rows, np.bool_),
    )
    start = 0
    for block in logits:
        step = max(1, calibration.CHUNK // max(1, classes))
        for first in range(0, len(block), step):
            images = slice(start + first, start + min(first + step, len(block)))
            values = calibration.probabilities(block[first : first + step], temperature[images])
            _select(values, found.values[images], found.classes[images], found.tail[images])
            found.right[images] = truths.right(found.classes[images, 0], labels[images])
        start += len(block)
    return found


def joined(parts: Sequence[Largest]) -> Largest:
    """Those of several ranges of images as one, in their order."""
    return Largest(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.tail for part in parts]),
        np.concatenate([part.right for part in parts]),
    )


@compiled
def _select(
    scores: NDArray[np.float32], values: NDArray[np.float32], classes: NDArray[Any], tail: NDArray[np.float32]
) -> None:
    """Sort the largest scores of each row into place, one insertion after the other."""
    k = values.shape[1]
    best, of = np.empty(k + 1, np.float32), np.empty(k + 1, np.int64)
    for x in range(len(scores)):
        best[:], of[:] = np.float32(-1), 0
        row = scores[x]
        for number in range(len(row)):
            if row[number] > best[k]:
                place = k
                while place > 0 and row[number] > best[place - 1]:
                    best[place], of[place] = best[place - 1], of[place - 1]
                    place -= 1
                best[place], of[place] = row[number], number
        values[x], classes[x] = best[:k], of[:k]
        tail[x] = np.float32(0) if k == len(row) else best[k]
