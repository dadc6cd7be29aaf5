"""One pair of models on one image: whether the best accepted class is ahead of all others, from two shortlists.

Guarantees: exact where it decides; see `verdicts`, whose inner steps these are.
"""

from __future__ import annotations

from math import exp

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

LOG, PROBABILITY, WEIGHTED = 0, 1, 2
"""Kinds of scores: z / T; softmax(z / T); z times a weight that belongs to the pair."""

SLACK = 1 + 1e-12
"""Widens bounds that went through an exponential, whose last digit need not be monotone."""


@compiled
def best(low: Fractions, weight: Fractions, a: int, b: int, candidates: Counts, truths: int) -> tuple[int, float]:
    """Which accepted class has the largest sum, the lowest of equals, and that sum."""
    first, own = 0, weight[0] * low[0, a] + weight[1] * low[0, b]
    for i in range(1, truths):
        value = weight[0] * low[i, a] + weight[1] * low[i, b]
        if value > own or (value == own and candidates[i] < candidates[first]):
            first, own = i, value
    return first, own


@compiled
def lead(
    low: Fractions,
    high: Fractions,
    weight: Fractions,
    a: int,
    b: int,
    top_a: int,
    top_b: int,
    candidates: Counts,
    truths: int,
    label: int,
    own: float,
) -> int:
    """Whether the accepted class is ahead of what both models predict: 1, 0, or -1 for open."""
    said = 1
    for i in (top_a, top_b):
        if i < truths or said == 0:
            continue
        from_, to = weight[0] * low[i, a] + weight[1] * low[i, b], weight[0] * high[i, a] + weight[1] * high[i, b]
        is_known = low[i, a] == high[i, a] and low[i, b] == high[i, b]
        if from_ > own or (is_known and from_ == own and candidates[i] < candidates[label]):
            said = 0
        elif not is_known and to >= own:
            said = -1
    return said


@compiled
def is_among(number: int, accepted: NDArray[np.int32]) -> bool:
    """Whether a class is accepted."""
    found = False
    for one in accepted:
        found = found or one == number
    return found


@compiled
def scored(kind: int, value: float, inverse: float, normaliser: float) -> float:
    """The score of a logit less the largest."""
    if kind == PROBABILITY:
        return exp(value * inverse - normaliser)
    return value * inverse


@compiled
def of_listed(
    kind: int, z: NDArray[np.float32], rank: int, inverse: float, normaliser: float, scores: Fractions
) -> float:
    """The score of a listed class; exponentials are computed once."""
    if kind == PROBABILITY:
        if scores[rank] < 0:
            scores[rank] = exp(np.float64(z[rank]) * inverse - normaliser)
        return float(scores[rank])
    return float(np.float64(z[rank]) * inverse)


@compiled
def settle(
    za: NDArray[np.float32],
    zb: NDArray[np.float32],
    classes_a: NDArray[np.int32],
    classes_b: NDArray[np.int32],
    place_a: NDArray[np.int32],
    place_b: NDArray[np.int32],
    tail_a: float,
    tail_b: float,
    least_a: float,
    least_b: float,
    inverse_a: float,
    inverse_b: float,
    normaliser_a: float,
    normaliser_b: float,
    scores_a: Fractions,
    scores_b: Fractions,
    best_ranks: int,
    accepted: NDArray[np.int32],
    kind: int,
    weight: Fractions,
    label: int,
    own: float,
) -> int:
    """1 right, 0 wrong, -1 open."""
    wa, wb = weight[0], weight[1]
    slack = SLACK if kind == PROBABILITY else 1.0
    # What an unlisted class may have at most, and at least. Scores below 0 are not widened: they are exact.
    high_a = scored(kind, np.float64(tail_a), inverse_a, normaliser_a) * slack
    high_b = scored(kind, np.float64(tail_b), inverse_b, normaliser_b) * slack
    low_a = scored(kind, np.float64(least_a), inverse_a, normaliser_a) / slack
    low_b = scored(kind, np.float64(least_b), inverse_b, normaliser_b) / slack
    complete = best_ranks == len(place_a)
    is_open = not complete and wa * high_a + wb * high_b >= own
    top_b = of_listed(kind, zb, 0, inverse_b, normaliser_b, scores_b) * slack
    for rank in range(best_ranks):
        one = of_listed(kind, za, rank, inverse_a, normaliser_a, scores_a)
        if wa * (one * slack) + wb * top_b < own:
            break  # nor has any class further down
        number = classes_a[rank]
        if not is_among(number, accepted):
            other = place_b[number]
            two = of_listed(kind, zb, other, inverse_b, normaliser_b, scores_b) if other >= 0 else low_b
            said = _against(wa * one + wb * two, wa * one + wb * high_b, other >= 0, own, number < label)
            if said == 0:
                return 0
            is_open = is_open or said < 0
    for rank in range(best_ranks):
        two = of_listed(kind, zb, rank, inverse_b, normaliser_b, scores_b)
        if complete or wa * high_a + wb * (two * slack) < own:
            break  # what is among the largest of both was looked at above
        number = classes_b[rank]
        other = place_a[number]
        if not (0 <= other < best_ranks or is_among(number, accepted)):
            one = of_listed(kind, za, other, inverse_a, normaliser_a, scores_a) if other >= 0 else low_a
            said = _against(wa * one + wb * two, wa * high_a + wb * two, other >= 0, own, number < label)
            if said == 0:
                return 0
            is_open = is_open or said < 0
    return -1 if is_open else 1


@compiled
def _against(value: float, most: float, is_known: bool, own: float, is_lower: bool) -> int:
    """Whether the accepted class is ahead of one that has this sum or, where it is not known, from this to the most."""
    if value > own or (is_known and value == own and is_lower):
        return 0
    return -1 if not is_known and most >= own else 1
