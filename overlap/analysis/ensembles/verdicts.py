"""Which pairs of models are right together on an image, from their shortlists: the inner loop of `combining`.

Guarantees: exact where it decides. An ensemble's class is the arg-max of the summed scores, the lowest class on ties.
Scores of listed and of accepted classes are known; any other class of a model lies between its least logit and its
tail, and a sum of two products is monotone in both, in floating point too. What this does not settle is left open, and
nothing is where shortlists are complete. Pairs that predict one class keep it: with weights of at least 0, no class has
a larger sum than the one that is largest in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.floats import widened
from overlap.analysis.ensembles.shortlists import Answered

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

LOG, PROBABILITY, WEIGHTED = 0, 1, 2
"""Kinds of scores: z / T; softmax(z / T); z times a weight that belongs to the pair."""

SLACK = 1 + 1e-12
"""Widens bounds that went through an exponential, whose last digit need not be monotone."""

OPEN = 8
"""In a verdict, the bit of the first combiner that is left open; that of the first that is right is 0."""


@dataclass(frozen=True)
class Stacked:
    """Shortlists of m models on the same n images, as the kernel takes them; logits are less the largest, float32.

    Attributes:
        z: (n, m, k).
        classes: (n, m, k) int32.
        own: (n, m, L).
        tail, least: (n, m).
        inverse: (2, n, m) float64; 1, and 1 / T.
        normaliser: (2, n, m) float64; log of the sum of exp(z), and of exp(z / T).
        complete: whether nothing is unknown.
        among: classes in all.
    """

    z: NDArray[np.float32]
    classes: NDArray[np.int32]
    own: NDArray[np.float32]
    tail: NDArray[np.float32]
    least: NDArray[np.float32]
    inverse: Fractions
    normaliser: Fractions
    complete: bool
    among: int


def stacked(models: Sequence[Answered]) -> Stacked:
    """Of at least one model.

    Raises:
        ValueError: models of different images or classes.
    """
    if len({(len(one), one.short.among, one.own.shape, one.short.complete) for one in models}) != 1:
        raise ValueError("shortlists of different images, classes or truths")
    first = models[0]
    n, m, k = len(first), len(models), first.short.logits.shape[1]
    z, classes = np.empty((n, m, k), np.float32), np.empty((n, m, k), np.int32)
    own = np.empty((n, m, first.own.shape[1]), np.float32)
    tail, least = np.empty((2, n, m), np.float32)
    inverse, normaliser = np.ones((2, n, m)), np.empty((2, n, m))
    for place, one in enumerate(models):
        short = one.short
        row = widened(short.logits)
        top = row[:, :1].copy()
        z[:, place] = row - top
        classes[:, place] = short.classes
        own[:, place] = widened(one.own) - top
        tail[:, place] = widened(short.tail[:, None])[:, 0] - top[:, 0]
        least[:, place] = widened(short.least[:, None])[:, 0] - top[:, 0]
        inverse[1, :, place] = 1 / one.temperature
        normaliser[0, :, place] = np.log(short.odds, dtype=np.float64)
        normaliser[1, :, place] = np.log(one.odds, dtype=np.float64)
    return Stacked(z, classes, own, tail, least, inverse, normaliser, first.short.complete, first.short.among)


def verdicts(
    held: Stacked,
    first: Counts,
    second: Counts,
    weights: Fractions,
    folds: NDArray[np.int8],
    accepted: NDArray[np.int32],
    combiners: Sequence[tuple[int, bool]],
) -> NDArray[np.uint16]:
    """(P, n): by combiner, in bit c whether the pair is right, and in bit `OPEN` + c whether that is open.

    Args:
        held: the models' shortlists.
        first, second: (P,) places of the pairs' models.
        weights: (P, 5, 2), >= 0: by fold, 1 / T of both models in this pair; for `WEIGHTED`.
        folds: (n,) calibration folds.
        accepted: (n, L) classes, as `truths.accepted` gives them.
        combiners: at most `OPEN` many, of a kind of score and whether each model's own temperature calibrates it.
    """
    found = np.zeros((len(first), len(accepted)), np.uint16)
    kinds = np.array([kind for kind, _ in combiners], np.int64)
    calibrated = np.array([int(own) for _, own in combiners], np.int64)
    fields = (held.z, held.classes, held.own, held.tail, held.least, held.inverse, held.normaliser)
    # copies, since read-only memory would be another type to compile for
    arrays = (np.array(accepted, np.int32, order="C"), np.array(folds, np.int8))
    pairs = (np.array(first, np.int64), np.array(second, np.int64), np.array(weights, np.float64, order="C"))
    _judge_all(*fields, held.complete, held.among, *arrays, *pairs, kinds, calibrated, found)
    return found


@compiled
def _judge_all(
    z: NDArray[np.float32],
    classes: NDArray[np.int32],
    own: NDArray[np.float32],
    tail: NDArray[np.float32],
    least: NDArray[np.float32],
    inverse: Fractions,
    normaliser: Fractions,
    complete: bool,
    among: int,
    accepted: NDArray[np.int32],
    folds: NDArray[np.int8],
    first: Counts,
    second: Counts,
    weights: Fractions,
    kinds: Counts,
    calibrated: Counts,
    found: NDArray[np.uint16],
) -> None:
    images, models, k = z.shape
    place = np.full((models, among), -1, np.int32)
    scores = np.empty((2, models, k))
    one = np.ones(2)
    for x in range(images):
        scores[:] = -1.0
        for model in range(models):
            for rank in range(k):
                place[model, classes[x, model, rank]] = rank
        for pair in range(len(first)):
            a, b = first[pair], second[pair]
            verdict = 0
            if classes[x, a, 0] == classes[x, b, 0]:
                if _is_among(classes[x, a, 0], accepted[x]):
                    verdict = (1 << len(kinds)) - 1
            else:
                for c in range(len(kinds)):
                    own_t = calibrated[c]
                    said = _settle(
                        z[x, a], z[x, b], classes[x, a], classes[x, b], place[a], place[b],
                        own[x, a], own[x, b], tail[x, a], tail[x, b], least[x, a], least[x, b],
                        inverse[own_t, x, a], inverse[own_t, x, b], normaliser[own_t, x, a], normaliser[own_t, x, b],
                        scores[own_t, a], scores[own_t, b], complete, accepted[x], kinds[c],
                        weights[pair, folds[x]] if kinds[c] == WEIGHTED else one,
                    )  # fmt: skip
                    if said < 0:
                        verdict |= 1 << (OPEN + c)
                    elif said > 0:
                        verdict |= 1 << c
            found[pair, x] = verdict
        for model in range(models):
            for rank in range(k):
                place[model, classes[x, model, rank]] = -1


@compiled
def _is_among(number: int, accepted: NDArray[np.int32]) -> bool:
    found = False
    for one in accepted:
        found = found or one == number
    return found


@compiled
def _scored(kind: int, value: float, inverse: float, normaliser: float) -> float:
    if kind == PROBABILITY:
        return exp(value * inverse - normaliser)
    return value * inverse


@compiled
def _listed(
    kind: int, z: NDArray[np.float32], rank: int, inverse: float, normaliser: float, scores: Fractions
) -> float:
    """The score of a listed class; exponentials are computed once."""
    if kind == PROBABILITY:
        if scores[rank] < 0:
            scores[rank] = exp(np.float64(z[rank]) * inverse - normaliser)
        return scores[rank]
    return np.float64(z[rank]) * inverse


@compiled
def _settle(
    za: NDArray[np.float32],
    zb: NDArray[np.float32],
    classes_a: NDArray[np.int32],
    classes_b: NDArray[np.int32],
    place_a: NDArray[np.int32],
    place_b: NDArray[np.int32],
    own_a: NDArray[np.float32],
    own_b: NDArray[np.float32],
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
    complete: bool,
    accepted: NDArray[np.int32],
    kind: int,
    weight: Fractions,
) -> int:
    """1 right, 0 wrong, -1 open."""
    wa, wb = weight[0], weight[1]
    slack = SLACK if kind == PROBABILITY else 1.0
    best, own = -1, -np.inf
    for place in range(len(accepted)):
        number = accepted[place]
        if number >= 0:
            one = _scored(kind, np.float64(own_a[place]), inverse_a, normaliser_a)
            two = _scored(kind, np.float64(own_b[place]), inverse_b, normaliser_b)
            value = wa * one + wb * two
            if best < 0 or value > own or (value == own and number < best):
                best, own = number, value
    # What an unlisted class may have at most, and at least. Scores below 0 are not widened: they are exact.
    high_a = _scored(kind, np.float64(tail_a), inverse_a, normaliser_a) * slack
    high_b = _scored(kind, np.float64(tail_b), inverse_b, normaliser_b) * slack
    low_a = _scored(kind, np.float64(least_a), inverse_a, normaliser_a) / slack
    low_b = _scored(kind, np.float64(least_b), inverse_b, normaliser_b) / slack
    is_open = not complete and wa * high_a + wb * high_b >= own
    top_b = _listed(kind, zb, 0, inverse_b, normaliser_b, scores_b) * slack
    for rank in range(len(za)):
        one = _listed(kind, za, rank, inverse_a, normaliser_a, scores_a)
        if wa * (one * slack) + wb * top_b < own:
            break  # nor has any class further down
        number = classes_a[rank]
        other = place_b[number]
        if _is_among(number, accepted):
            continue
        if other >= 0:
            value = wa * one + wb * _listed(kind, zb, other, inverse_b, normaliser_b, scores_b)
            if value > own or (value == own and number < best):
                return 0
        elif wa * one + wb * low_b > own:
            return 0
        elif wa * one + wb * high_b >= own:
            is_open = True
    for rank in range(len(zb)):
        two = _listed(kind, zb, rank, inverse_b, normaliser_b, scores_b)
        if complete or wa * high_a + wb * (two * slack) < own:
            break  # what both list was looked at above
        number = classes_b[rank]
        if place_a[number] >= 0 or _is_among(number, accepted):
            continue
        if wa * low_a + wb * two > own:
            return 0
        if wa * high_a + wb * two >= own:
            is_open = True
    return -1 if is_open else 1
