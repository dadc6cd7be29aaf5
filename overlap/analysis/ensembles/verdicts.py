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

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.candidates import listed
from overlap.analysis.ensembles.floats import widened
from overlap.analysis.ensembles.questions import agreed, mark, question, told
from overlap.analysis.ensembles.settling import (
    PROBABILITY,
    SLACK,
    WEIGHTED,
    best,
    lead,
    of_listed,
    scored,
    settle,
)
from overlap.analysis.ensembles.shortening import PAD
from overlap.analysis.ensembles.shortlists import Answered

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


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
    """(P, n): by combiner, in bit c whether the pair is right, and in bit `questions.OPEN` + c whether that is open.

    Args:
        held: the models' shortlists.
        first, second: (P,) places of the pairs' models.
        weights: (P, 5, 2), >= 0: by fold, 1 / T of both models in this pair; for `WEIGHTED`.
        folds: (n,) calibration folds.
        accepted: (n, L) classes, as `truths.accepted` gives them.
        combiners: at most `questions.OPEN` many, each a kind of score and whether a model's own temperature
            calibrates it.
    """
    about = question(first, second, weights, folds, accepted, combiners)
    _judge_all(
        held.z,
        held.classes,
        held.own,
        held.tail,
        held.least,
        held.inverse,
        held.normaliser,
        held.sorted,
        held.among,
        *about,
    )
    return about[-1]


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
            found[:, x] = agreed(classes[x, 0, 0], len(kinds), accepted[x])
            continue
        scores[:] = -1.0
        mark(classes[x], ranks, True)
        truths, among_these = listed(classes[x, :, 0], accepted[x], place, candidates)
        for model in range(models):
            tops[model] = place[classes[x, model, 0]]
        some = candidates[:among_these]
        for c in range(len(kinds)):
            by = calibrated[c]
            _score(
                z[x], own[x], tail[x], least[x], inverse[by, x], normaliser[by, x], best_ranks, ranks, accepted[x],
                kinds[c], some, truths, scores[by], low[c], high[c], rest[c],
            )  # fmt: skip
        for pair in range(len(first)):
            a, b = first[pair], second[pair]
            verdict = ((1 << len(kinds)) - 1) * (tops[a] < truths)
            if tops[a] != tops[b]:
                verdict = 0
                for c in range(len(kinds)):
                    weight[:] = 1.0
                    if kinds[c] == WEIGHTED:
                        weight[:] = weights[pair, folds[x]]
                    label, own_sum = best(low[c], weight, a, b, some, truths)
                    said = lead(low[c], high[c], weight, a, b, tops[a], tops[b], some, truths, label, own_sum)
                    if said != 0 and (said < 0 or not own_sum > weight[0] * rest[c, a] + weight[1] * rest[c, b]):
                        by = calibrated[c]
                        said = settle(
                            z[x, a], z[x, b], classes[x, a], classes[x, b], ranks[a], ranks[b],
                            tail[x, a], tail[x, b], least[x, a], least[x, b],
                            inverse[by, x, a], inverse[by, x, b], normaliser[by, x, a], normaliser[by, x, b],
                            scores[by, a], scores[by, b], best_ranks, accepted[x], kinds[c], weight,
                            some[label], own_sum,
                        )  # fmt: skip
                    verdict |= told(said, c)
            found[pair, x] = verdict
        place[some] = -1
        mark(classes[x], ranks, False)


@compiled
def _score(
    z: NDArray[np.float32],
    own: NDArray[np.float32],
    tail: NDArray[np.float32],
    least: NDArray[np.float32],
    inverse: Fractions,
    normaliser: Fractions,
    best_ranks: int,
    ranks: NDArray[np.int32],
    accepted: NDArray[np.int32],
    kind: int,
    candidates: Counts,
    truths: int,
    scores: Fractions,
    low: Fractions,
    high: Fractions,
    rest: Fractions,
) -> None:
    """By one combiner, from which to which score each candidate has by each model, and the most of any but the top."""
    slack = SLACK if kind == PROBABILITY else 1.0
    for model in range(len(z)):
        one, log = inverse[model], normaliser[model]
        after = np.float64(z[model, 1] if best_ranks > 1 else tail[model])
        rest[model] = scored(kind, after, one, log) * slack
        for i in range(len(candidates)):
            rank = ranks[model, candidates[i]]
            if rank >= 0:
                low[i, model] = high[i, model] = of_listed(kind, z[model], rank, one, log, scores[model])
            elif i < truths:
                for column in range(len(accepted)):
                    if accepted[column] == candidates[i]:
                        low[i, model] = high[i, model] = scored(kind, np.float64(own[model, column]), one, log)
            else:
                low[i, model] = scored(kind, np.float64(least[model]), one, log) / slack
                high[i, model] = scored(kind, np.float64(tail[model]), one, log) * slack
