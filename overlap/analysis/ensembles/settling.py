"""Which pairs of models are right together on an image, settled by few classes: the inner loops of `combining`.

Guarantees: exact. The candidates of an image are its accepted classes and all that any model predicts there. All other
classes are bounded: in floating point too, a sum of two products is monotone in both, so that none of them scores more
than the sum of the two models' bounds. Where that does not settle a pair, all classes are looked at. Pairs that predict
one class are skipped: with weights of at least 0, no class has a larger sum than the one that is largest in both, and
the one they predict is the lowest of these.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.candidates import largest, listed

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

LOG, PROBABILITY, WEIGHTED = 0, 1, 2
"""Kinds of scores: z / T; softmax(z / T); z times a weight that belongs to the pair."""

SLACK = 1 + 1e-12
"""Widens bounds that went through an exponential, whose last digit need not be monotone."""


@compiled
def count(
    z: NDArray[np.float32],
    predicted: NDArray[np.int32],
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    kinds: Counts,
    inverse: Fractions,
    normaliser: Fractions,
    weights: Fractions,
    right: Counts,
    group: Counts,
    lost: Counts,
    converted: Counts,
    recovered: Counts,
    gains: Counts,
) -> None:
    """Add n images to the counts of C combiners.

    Args:
        z: (n, M, K) logits less the largest of their row; written to, and restored.
        predicted: (n, M) class each model predicts.
        labels: (n, L) accepted classes, padded with -1.
        folds: (n,) calibration folds.
        kinds: (C,) of `LOG`, `PROBABILITY`, `WEIGHTED`.
        inverse: (C, n, M) 1 / T; 1 for `WEIGHTED`.
        normaliser: (C, n, M) log of the sum of exp(z / T).
        weights: (folds, M, M) of the model of the row in the pair of row and column; for `WEIGHTED`.
        right: (M,) right answers over all images.
        group: (M, M) number of the pair's category above the diagonal, 0..G-1.
        lost: (C, M, M) of images that both get right by different classes, and the ensemble wrong; i < j.
        converted: (C, M, M) of images that only the row's model gets right, and the ensemble.
        recovered: (C, M, M) of images that both get wrong, and the ensemble right; i < j.
        gains: (C, 2, G) sums over images of (ensemble right - better model right) over pairs, and of its square.
    """
    images, models, classes = z.shape
    place = np.full(classes, -1, np.int64)
    candidates = np.empty(min(classes, models + labels.shape[1]), np.int64)
    values = np.empty((len(candidates), models))
    scores = np.empty((len(candidates), models))
    rest, bound, second = np.empty(models), np.empty(models), np.empty(models)
    tops = np.empty(models, np.int64)
    for x in range(images):
        if (predicted[x] == predicted[x, 0]).all():
            continue
        accepted, found = listed(predicted[x], labels[x], place, candidates)
        for model in range(models):
            tops[model] = place[predicted[x, model]]
            for i in range(found):
                values[i, model] = z[x, model, candidates[i]]
                z[x, model, candidates[i]] = -np.inf
            rest[model] = largest(z[x, model])
            for i in range(found):
                z[x, model, candidates[i]] = np.float32(values[i, model])
        for k in range(len(kinds)):
            _score(kinds[k], values[:found], rest, inverse[k, x], normaliser[k, x], scores, bound)
            for model in range(models):
                second[model] = bound[model]
                for i in range(found):
                    if i != tops[model] and scores[i, model] > second[model]:
                        second[model] = scores[i, model]
            _pairs(
                scores[:found],
                bound,
                second,
                tops,
                candidates,
                accepted,
                z[x],
                kinds[k],
                inverse[k, x],
                normaliser[k, x],
                weights[folds[x]],
                right,
                group,
                lost[k],
                converted[k],
                recovered[k],
                gains[k],
            )
        for i in range(found):
            place[candidates[i]] = -1


@compiled
def _score(
    kind: int,
    values: Fractions,
    rest: Fractions,
    inverse: Fractions,
    normaliser: Fractions,
    scores: Fractions,
    bound: Fractions,
) -> None:
    for model in range(len(rest)):
        bound[model] = _scored(kind, rest[model], inverse[model], normaliser[model])
        if kind == PROBABILITY:
            bound[model] *= SLACK
    for i in range(len(values)):
        for model in range(len(rest)):
            scores[i, model] = _scored(kind, values[i, model], inverse[model], normaliser[model])


@compiled
def _scored(kind: int, value: float, inverse: float, normaliser: float) -> float:
    if kind == PROBABILITY:
        return exp(value * inverse - normaliser)
    return value * inverse


@compiled
def _pairs(
    scores: Fractions,
    bound: Fractions,
    second: Fractions,
    tops: Counts,
    candidates: Counts,
    accepted: int,
    z: NDArray[np.float32],
    kind: int,
    inverse: Fractions,
    normaliser: Fractions,
    weights: Fractions,
    right: Counts,
    group: Counts,
    lost: Counts,
    converted: Counts,
    recovered: Counts,
    gains: Counts,
) -> None:
    """Count the pairs that predict different classes on one image."""
    order = np.argsort(tops, kind="mergesort")  # by what they predict, models that are right before all others
    rights, end = (tops < accepted).sum(), 0
    gain = np.zeros(gains.shape[1], np.int64)
    first = other = 1.0
    for i in range(len(order)):
        a = order[i]
        while end < len(order) and tops[order[end]] == tops[a]:
            end += 1
        for j in range(end, len(order)):  # all that predict another class
            b = order[j]
            if kind == WEIGHTED:
                first, other = weights[a, b], weights[b, a]
            best = 0  # of the accepted classes
            own = first * scores[0, a] + other * scores[0, b]
            for c in range(1, accepted):
                value = first * scores[c, a] + other * scores[c, b]
                if value > own or (value == own and candidates[c] < candidates[best]):
                    best, own = c, value
            lead = _lead(scores, candidates, a, b, first, other, own, best, accepted, tops[a])
            lead = lead and _lead(scores, candidates, a, b, first, other, own, best, accepted, tops[b])
            if lead and not own > first * second[a] + other * second[b]:
                for c in range(accepted, len(scores)):
                    lead = lead and _lead(scores, candidates, a, b, first, other, own, best, accepted, c)
                if lead and not own > first * bound[a] + other * bound[b]:
                    lead = not _beaten(z, kind, inverse, normaliser, a, b, first, other, own, candidates[best])
            low, high = min(a, b), max(a, b)
            change = np.int64(lead)
            if j < rights:
                change -= 1
                lost[low, high] += not lead
            elif i < rights:
                converted[a, b] += lead
                change -= right[a] > right[b] or (right[a] == right[b] and a < b)
            else:
                recovered[low, high] += lead
            gain[group[low, high]] += change
    gains[0] += gain
    gains[1] += gain * gain


@compiled
def _lead(
    scores: Fractions,
    candidates: Counts,
    a: int,
    b: int,
    first: float,
    other: float,
    own: float,
    best: int,
    accepted: int,
    rival: int,
) -> bool:
    """Whether the accepted class is ahead of one candidate, or level with it and of the lower number."""
    value = first * scores[rival, a] + other * scores[rival, b]
    return rival < accepted or own > value or (own == value and candidates[best] < candidates[rival])


@compiled
def _beaten(
    z: NDArray[np.float32],
    kind: int,
    inverse: Fractions,
    normaliser: Fractions,
    a: int,
    b: int,
    first: float,
    other: float,
    own: float,
    label: int,
) -> bool:
    """Whether any class is ahead; an accepted one cannot be, as the label is the best and lowest of them."""
    ahead = 0
    if kind == PROBABILITY:  # one of the two probabilities is at least half the sum: few classes need exponentials
        least = log(own / 2) - 1e-9 if own > 0 else -np.inf
        for rival in range(z.shape[1]):
            one = np.float64(z[a, rival]) * inverse[a] - normaliser[a]
            two = np.float64(z[b, rival]) * inverse[b] - normaliser[b]
            if one > least or two > least:
                value = exp(one) + exp(two)
                ahead += value > own or (value == own and rival < label)
        return ahead > 0
    for rival in range(z.shape[1]):  # looks at all, so that it becomes vector instructions
        value = first * (np.float64(z[a, rival]) * inverse[a]) + other * (np.float64(z[b, rival]) * inverse[b])
        ahead += (value > own) | ((value == own) & (rival < label))
    return ahead > 0
