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

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.candidates import listed
from overlap.analysis.ensembles.floats import widened
from overlap.analysis.ensembles.shortlists import PAD, Answered

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
        classes: (n, m, k) int32; -1 where there is none.
        own: (n, m, L).
        tail, least: (n, m).
        inverse: (2, n, m) float64; 1, and 1 / T.
        normaliser: (2, n, m) float64; log of the sum of exp(z), and of exp(z / T).
        sorted: how many of k are the largest, in descending order.
        among: classes in all.
    """

    z: NDArray[np.float32]
    classes: NDArray[np.int32]
    own: NDArray[np.float32]
    tail: NDArray[np.float32]
    least: NDArray[np.float32]
    inverse: Fractions
    normaliser: Fractions
    sorted: int
    among: int


def stacked(models: Sequence[Answered]) -> Stacked:
    """Of at least one model.

    Raises:
        ValueError: models of different images or classes.
    """
    if len({(one.short.logits.shape, one.short.sorted, one.short.among, one.own.shape) for one in models}) != 1:
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
        classes[:, place] = np.where(short.classes == PAD, -1, short.classes.astype(np.int32))
        own[:, place] = widened(one.own) - top
        tail[:, place] = widened(short.tail[:, None])[:, 0] - top[:, 0]
        least[:, place] = widened(short.least[:, None])[:, 0] - top[:, 0]
        inverse[1, :, place] = 1 / one.temperature
        normaliser[0, :, place] = np.log(short.odds, dtype=np.float64)
        normaliser[1, :, place] = np.log(one.odds, dtype=np.float64)
    return Stacked(z, classes, own, tail, least, inverse, normaliser, first.short.sorted, first.short.among)


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
    _judge_all(*fields, held.sorted, held.among, *arrays, *pairs, kinds, calibrated, found)
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
    best_ranks: int,
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
    """Most pairs are settled by the accepted classes and those that the models predict; the others are looked into."""
    images, models, k = z.shape
    ranks = np.full((models, among), -1, np.int32)
    place = np.full(among, -1, np.int64)
    candidates = np.empty(min(among, models + accepted.shape[1]), np.int64)
    low, high = np.empty((len(kinds), len(candidates), models)), np.empty((len(kinds), len(candidates), models))
    rest = np.empty((len(kinds), models))
    tops = np.empty(models, np.int64)
    scores = np.empty((2, models, k))
    weight = np.ones(2)
    for x in range(images):
        if (classes[x, :, 0] == classes[x, 0, 0]).all():
            found[:, x] = ((1 << len(kinds)) - 1) * _is_among(classes[x, 0, 0], accepted[x])
            continue
        scores[:] = -1.0
        for model in range(models):
            for rank in range(k):
                if classes[x, model, rank] >= 0:
                    ranks[model, classes[x, model, rank]] = rank
        truths, listed_ = listed(classes[x, :, 0], accepted[x], place, candidates)
        for model in range(models):
            tops[model] = place[classes[x, model, 0]]
        for c in range(len(kinds)):
            kind, by = kinds[c], calibrated[c]
            slack = SLACK if kind == PROBABILITY else 1.0
            for model in range(models):
                one, log = inverse[by, x, model], normaliser[by, x, model]
                least_, tail_ = np.float64(least[x, model]), np.float64(tail[x, model])
                after = np.float64(z[x, model, 1]) if best_ranks > 1 else tail_
                rest[c, model] = _scored(kind, after, one, log) * slack
                for i in range(listed_):
                    rank = ranks[model, candidates[i]]
                    if rank >= 0:
                        low[c, i, model] = _listed(kind, z[x, model], rank, one, log, scores[by, model])
                        high[c, i, model] = low[c, i, model]
                    elif i < truths:
                        for column in range(accepted.shape[1]):
                            if accepted[x, column] == candidates[i]:
                                low[c, i, model] = _scored(kind, np.float64(own[x, model, column]), one, log)
                                high[c, i, model] = low[c, i, model]
                    else:
                        low[c, i, model] = _scored(kind, least_, one, log) / slack
                        high[c, i, model] = _scored(kind, tail_, one, log) * slack
        for pair in range(len(first)):
            a, b = first[pair], second[pair]
            verdict = 0
            if tops[a] == tops[b]:
                verdict = ((1 << len(kinds)) - 1) * (tops[a] < truths)
            else:
                for c in range(len(kinds)):
                    wa = wb = 1.0
                    if kinds[c] == WEIGHTED:
                        wa, wb = weights[pair, folds[x], 0], weights[pair, folds[x], 1]
                    best, best_own = 0, wa * low[c, 0, a] + wb * low[c, 0, b]
                    for i in range(1, truths):
                        value = wa * low[c, i, a] + wb * low[c, i, b]
                        if value > best_own or (value == best_own and candidates[i] < candidates[best]):
                            best, best_own = i, value
                    said = 1
                    for i in (tops[a], tops[b]):
                        if i >= truths and said != 0:
                            least_ = wa * low[c, i, a] + wb * low[c, i, b]
                            most = wa * high[c, i, a] + wb * high[c, i, b]
                            if least_ > best_own:
                                said = 0
                            elif most >= best_own:
                                is_known = low[c, i, a] == high[c, i, a] and low[c, i, b] == high[c, i, b]
                                if is_known:  # level
                                    said = said if candidates[best] < candidates[i] else 0
                                else:
                                    said = -1
                    if said != 0 and (said < 0 or not best_own > wa * rest[c, a] + wb * rest[c, b]):
                        weight[0], weight[1] = wa, wb
                        by = calibrated[c]
                        said = _settle(
                            z[x, a], z[x, b], classes[x, a], classes[x, b], ranks[a], ranks[b],
                            tail[x, a], tail[x, b], least[x, a], least[x, b],
                            inverse[by, x, a], inverse[by, x, b], normaliser[by, x, a], normaliser[by, x, b],
                            scores[by, a], scores[by, b], best_ranks, accepted[x], kinds[c], weight,
                            candidates[best], best_own,
                        )  # fmt: skip
                    if said < 0:
                        verdict |= 1 << (OPEN + c)
                    elif said > 0:
                        verdict |= 1 << c
            found[pair, x] = verdict
        for i in range(listed_):
            place[candidates[i]] = -1
        for model in range(models):
            for rank in range(k):
                if classes[x, model, rank] >= 0:
                    ranks[model, classes[x, model, rank]] = -1


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
    best: int,
    own: float,
) -> int:
    """1 right, 0 wrong, -1 open."""
    wa, wb = weight[0], weight[1]
    slack = SLACK if kind == PROBABILITY else 1.0
    # What an unlisted class may have at most, and at least. Scores below 0 are not widened: they are exact.
    high_a = _scored(kind, np.float64(tail_a), inverse_a, normaliser_a) * slack
    high_b = _scored(kind, np.float64(tail_b), inverse_b, normaliser_b) * slack
    low_a = _scored(kind, np.float64(least_a), inverse_a, normaliser_a) / slack
    low_b = _scored(kind, np.float64(least_b), inverse_b, normaliser_b) / slack
    complete = best_ranks == len(place_a)
    is_open = not complete and wa * high_a + wb * high_b >= own
    top_b = _listed(kind, zb, 0, inverse_b, normaliser_b, scores_b) * slack
    for rank in range(best_ranks):
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
    for rank in range(best_ranks):
        two = _listed(kind, zb, rank, inverse_b, normaliser_b, scores_b)
        if complete or wa * high_a + wb * (two * slack) < own:
            break  # what is among the largest of both was looked at above
        number = classes_b[rank]
        other = place_a[number]
        if 0 <= other < best_ranks or _is_among(number, accepted):
            continue
        if other >= 0:
            value = wa * _listed(kind, za, other, inverse_a, normaliser_a, scores_a) + wb * two
            if value > own or (value == own and number < best):
                return 0
        elif wa * low_a + wb * two > own:
            return 0
        elif wa * high_a + wb * two >= own:
            is_open = True
    return -1 if is_open else 1
