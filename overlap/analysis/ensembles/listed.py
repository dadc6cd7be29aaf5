"""Probabilities of the classes that a model lists on each image, added to sums of which the rest is bounded.

Guarantees: sums of accepted classes are those of the full computation, bit for bit: float64, in the order of adding;
no class has less than its sum, nor more than that and what is above it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.certified import Above
from overlap.analysis.ensembles.shortening import PAD
from overlap.analysis.ensembles.shortlists import Answered

WIDER = np.float32(1 + 1e-4)
"""Widens tails: exponentials and sums in float32 are rounded, the latter some hundred times."""


@dataclass(frozen=True)
class Listed:
    """Probabilities of one model on n images.

    Attributes:
        values: (n, w) float32; the two largest first.
        classes: (n, w) int32, whose they are; -1 for none.
        own: (n, L) float32, of the accepted classes.
        tail: (n,) float32, no less than that of any class that is not listed; 0 where all are.
    """

    values: NDArray[np.float32]
    classes: NDArray[np.int32]
    own: NDArray[np.float32]
    tail: NDArray[np.float32]

    @classmethod
    def of(cls, held: Answered) -> Listed:
        """From a shortlist."""
        values, own, tail = held.probabilities()
        classes = np.where(held.short.classes == PAD, -1, held.short.classes.astype(np.int32))
        return cls(values, classes, own, np.zeros_like(tail) if held.short.complete else tail * WIDER)

    def padded(self) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Values and classes, (n, 1, w), where the largest stands for none, with nothing."""
        none = self.classes < 0
        classes = np.where(none, self.classes[:, :1], self.classes)
        return np.where(none, np.float32(0), self.values)[:, None], classes[:, None]


Lists = Callable[[int, NDArray[np.int64]], Listed]
"""From a model and m images (numbers within the whole data set, ascending) to what it lists there."""


def add(running: NDArray[np.float64], above: Above, accepted: NDArray[np.int32], one: Listed) -> None:
    """Add a model to sums (n, K), and to what is above them."""
    _add(running, above.each, above.most, accepted, one.values, one.classes, one.own, one.tail)


@compiled
def _add(
    running: NDArray[np.float64],
    each: NDArray[np.float32],
    most: NDArray[np.float64],
    accepted: NDArray[np.int32],
    values: NDArray[np.float32],
    classes: NDArray[np.int32],
    own: NDArray[np.float32],
    tail: NDArray[np.float32],
) -> None:
    is_own = np.zeros(running.shape[1] + 1, np.bool_)  # the last one stands for no class
    for x in range(len(running)):
        row, further = running[x], each[x]
        is_own[accepted[x]] = True
        is_own[-1] = True
        for place in range(accepted.shape[1]):
            if accepted[x, place] >= 0:
                row[accepted[x, place]] += np.float64(own[x, place])
        for place in range(values.shape[1]):
            if not is_own[classes[x, place]]:
                row[classes[x, place]] += np.float64(values[x, place])
        is_own[accepted[x]] = False
        if tail[x] > 0:
            _raise(further, classes[x], tail[x])
            for number in accepted[x]:
                if number >= 0:
                    further[number] = 0  # they are never in doubt
            most[x] += np.float64(tail[x])


@compiled
def _raise(further: NDArray[np.float32], classes: NDArray[np.int32], tail: np.float32) -> None:
    """Add the tail to all classes but those that are listed."""
    kept = np.empty(len(classes), np.float32)
    for place in range(len(classes)):
        kept[place] = further[max(0, classes[place])]
    for number in range(len(further)):
        further[number] += tail
    for place in range(len(classes)):
        if classes[place] >= 0:
            further[classes[place]] = kept[place]
