"""Images that weighted sums of the kept classes get right: what a search over weights climbs.

Guarantees: integer counts, additive over images; the arg-max is that of the weighted sums of the kept probabilities,
the lowest class on ties. Not guaranteed: that the classes not kept would change nothing; outcomes are computed in full.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled


def right(
    values: NDArray[np.float32],
    classes: NDArray[Any],
    accepted: NDArray[np.int32],
    models: NDArray[np.int64],
    weights: NDArray[np.float64],
    among: int,
) -> NDArray[np.int64]:
    """Images right under each row of weights, (V,).

    Args:
        values: (n, M, k), classes: (n, M, k): as in `Largest`, of all models.
        accepted: (n, L), as `truths.accepted` gives them.
        models: (D,) the models that are weighed.
        weights: (V, D), not negative; rows of zeros get nothing right.
        among: K, classes in all.
    """
    found = np.zeros(len(weights), np.int64)
    usable = np.flatnonzero(weights.any(axis=1))
    counted = np.zeros(len(usable), np.int64)
    _count(values, classes, accepted, models, np.ascontiguousarray(weights[usable]), np.zeros(among), counted)
    found[usable] = counted
    return found


@compiled
def _unanimous(values: NDArray[np.float32], classes: NDArray[Any], models: NDArray[np.int64]) -> bool:
    """Whether all models say the same class, and that alone: whatever the weights, it has the largest sum."""
    second = min(1, values.shape[1] - 1)
    first = classes[models[0], 0]
    unanimous = True
    for model in models:
        unanimous = unanimous and classes[model, 0] == first and values[model, 0] > values[model, second]
    return unanimous


@compiled
def _winner(
    values: NDArray[np.float32],
    classes: NDArray[Any],
    models: NDArray[np.int64],
    weights: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> int:
    """The lowest class of the largest sum; leaves the sums at zero."""
    best, winner = -1.0, 0
    for place in range(len(models)):
        model, weight = models[place], weights[place]
        for rank in range(values.shape[1]):
            number = classes[model, rank]
            total = sums[number] + weight * np.float64(values[model, rank])
            sums[number] = total
            if total > best or (total == best and number < winner):
                best, winner = total, number
    for model in models:
        for rank in range(values.shape[1]):
            sums[classes[model, rank]] = 0
    return winner


@compiled
def _count(
    values: NDArray[np.float32],
    classes: NDArray[Any],
    accepted: NDArray[np.int32],
    models: NDArray[np.int64],
    weights: NDArray[np.float64],
    sums: NDArray[np.float64],
    counted: NDArray[np.int64],
) -> None:
    for x in range(len(values)):
        if _unanimous(values[x], classes[x], models):
            for number in accepted[x]:
                if number == classes[x, models[0], 0]:
                    counted += 1
                    break
            continue
        for row in range(len(weights)):
            winner = _winner(values[x], classes[x], models, weights[row], sums)
            for number in accepted[x]:
                if number == winner:
                    counted[row] += 1
                    break
