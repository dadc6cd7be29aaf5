"""The classes of an image that are looked at first: those that are accepted, and those that any model predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Counts = NDArray[np.int64]

LANES = 16
"""Numbers compared at once."""


@compiled
def listed(predicted: Any, labels: Any, place: Counts, candidates: Counts) -> tuple[int, int]:
    """List the accepted classes, then the others that are predicted, and say how many of each; `place` finds them."""
    found = 0
    for label in labels:
        if label >= 0 and place[label] < 0:
            place[label] = found
            candidates[found] = label
            found += 1
    accepted = found
    for chosen in predicted:
        if place[chosen] < 0:
            place[chosen] = found
            candidates[found] = chosen
            found += 1
    return accepted, found


@compiled
def largest(row: NDArray[np.float32]) -> float:
    """The largest of a row; the lanes become one vector instruction."""
    lanes = np.full(LANES, np.float32(-np.inf))
    whole = len(row) // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            value = row[start + lane]
            lanes[lane] = value if value > lanes[lane] else lanes[lane]
    found = lanes.max()
    for i in range(whole, len(row)):
        found = max(found, row[i])
    return float(found)
