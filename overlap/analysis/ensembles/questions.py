"""What kernels are asked about pairs of models on images, and how they tell it, whatever is known of the models.

Guarantees: a verdict has a bit for each combiner that is right, and one for each that is left open; never both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.settling import is_among

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

OPEN = 8
"""In a verdict, the bit of the first combiner that is left open; that of the first that is right is 0."""

Question = tuple[NDArray[np.int32], NDArray[np.int8], Counts, Counts, Fractions, Counts, Counts, NDArray[np.uint16]]
"""What kernels are asked about pairs, as `question` gives it, and in the end where they answer."""


def question(
    first: Counts,
    second: Counts,
    weights: Fractions,
    folds: NDArray[np.int8],
    accepted: NDArray[np.int32],
    combiners: Sequence[tuple[int, bool]],
) -> Question:
    """As of `verdicts.verdicts`; copies, since read-only memory would be another type to compile for."""
    return (
        np.array(accepted, np.int32, order="C"),
        np.array(folds, np.int8),
        np.array(first, np.int64),
        np.array(second, np.int64),
        np.array(weights, np.float64, order="C"),
        np.array([kind for kind, _ in combiners], np.int64),
        np.array([int(own) for _, own in combiners], np.int64),
        np.zeros((len(first), len(accepted)), np.uint16),
    )


@compiled
def agreed(said: int, kinds: int, accepted: NDArray[np.int32]) -> int:
    """The verdict of a pair whose models predict one class, by so many combiners."""
    return ((1 << kinds) - 1) * is_among(said, accepted)


@compiled
def told(said: int, c: int) -> np.int64:
    """What one combiner adds to a verdict: 1 for right, 0 for wrong, -1 for open."""
    return (np.int64(said < 0) << (OPEN + c)) | (np.int64(said > 0) << c)


@compiled
def mark(classes: NDArray[np.int32], ranks: NDArray[np.int32], listed_: bool) -> None:
    """Write down where each model lists a class, or forget it."""
    for model in range(len(classes)):
        for rank in range(classes.shape[1]):
            if classes[model, rank] >= 0:
                ranks[model, classes[model, rank]] = rank if listed_ else -1
