"""Choosing ensembles in plain Python: every candidate in full, one image and one class at a time (paper.md 1.8)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, permutations

from tests.reference.ensembles import Scores, arg_max

Truth = Sequence[Collection[int]]
"""The accepted classes of each image."""


def right_together(probabilities: Sequence[Scores], members: Sequence[int], truth: Truth) -> int:
    """Images whose accepted class has the largest sum, added up in the order of the members."""
    right = 0
    for image, accepted in enumerate(truth):
        sums = [0.0] * len(probabilities[0][image])
        for member in members:
            sums = [total + more for total, more in zip(sums, probabilities[member][image], strict=True)]
        right += arg_max(sums) in accepted
    return right


def forward(
    probabilities: Sequence[Scores],
    truth: Truth,
    size: int,
    *,
    anchor: int | None = None,
    pool: Sequence[int] | None = None,
    replacement: bool = True,
    costs: Sequence[float] | None = None,
    budget: float = math.inf,
    rate: bool = False,
) -> list[tuple[int, int]]:
    """(model, images right) of each step; stops where nothing can be added."""
    allowed = list(range(len(probabilities))) if pool is None else sorted(pool)
    members: list[int] = []
    steps: list[tuple[int, int]] = []
    while len(members) < size:
        tried = [anchor] if not members and anchor is not None else allowed
        best: tuple[float, int, int] | None = None
        for model in tried:
            if (model in members and not replacement) or (
                costs is not None and (members or anchor is None) and _cost(costs, [*members, model]) > budget
            ):
                continue
            right = right_together(probabilities, [*members, model], truth)
            value = float(right)
            if rate:
                gain = right - (steps[-1][1] if steps else 0)
                cost = 0.0 if model in members or costs is None else costs[model]
                value = gain / max(cost, 2.0**-60) if gain > 0 else gain
            if best is None or value > best[0]:
                best = (value, model, right)
        if best is None or (rate and steps and best[2] <= steps[-1][1]):
            break
        members.append(best[1])
        steps.append((best[1], best[2]))
    return steps


def within(
    probabilities: Sequence[Scores], truth: Truth, size: int, costs: Sequence[float], budget: float
) -> list[tuple[int, int]]:
    """Of the searches by images right and by images gained per cost the better, the first of equals."""
    found = [forward(probabilities, truth, size, costs=costs, budget=budget, rate=rate) for rate in (False, True)]
    return max(found, key=lambda steps: max(right for _, right in steps))


def _cost(costs: Sequence[float], members: Sequence[int]) -> float:
    return sum(costs[model] for model in sorted(set(members)))


def nlls(likelihoods: Sequence[Sequence[float]], members: Sequence[int]) -> list[float]:
    """The NLL of the mean of some members and one more, for each model that may be the one more."""
    return [_nll(likelihoods, [*members, model]) for model in range(len(likelihoods))]


def _nll(likelihoods: Sequence[Sequence[float]], members: Sequence[int]) -> float:
    images = range(len(likelihoods[0]))
    mean = [sum(likelihoods[member][image] for member in members) / len(members) for image in images]
    return -sum(math.log(max(value, 2.0**-149)) for value in mean) / len(mean)


def weighted_right(probabilities: Sequence[Scores], weights: Mapping[int, float], truth: Truth) -> int:
    """Images right under a weighted sum, added up in ascending order of models."""
    right = 0
    for image, accepted in enumerate(truth):
        sums = [0.0] * len(probabilities[0][image])
        for model in sorted(weights):
            row = probabilities[model][image]
            sums = [total + weights[model] * more for total, more in zip(sums, row, strict=True)]
        right += arg_max(sums) in accepted
    return right


def matched(weak: Mapping[int, float], own: Mapping[int, float], caliper: float) -> tuple[int, float]:
    """Most pairs one can match one to one within the caliper, and the least total difference of that many."""
    fewer, more = (weak, own) if len(weak) <= len(own) else (own, weak)
    for size in range(len(fewer), 0, -1):
        totals = [
            sum(abs(fewer[a] - more[b]) for a, b in zip(some, others, strict=True))
            for some in combinations(fewer, size)
            for others in permutations(more, size)
            if all(abs(fewer[a] - more[b]) <= caliper for a, b in zip(some, others, strict=True))
        ]
        if totals:
            return size, min(totals)
    return 0, 0.0


def sign_test(helped: int, hurt: int) -> float:
    """Two-sided exact binomial p-value of as many positive signs among those that are not zero."""
    n = helped + hurt
    likely = [math.comb(n, k) / 2**n for k in range(n + 1)]
    return min(1.0, sum(p for p in likely if p <= likely[helped] * (1 + 1e-9)))


def front(points: Sequence[tuple[float, float]]) -> set[tuple[float, float]]:
    """The (cost, accuracy) for which none costs at most as much and is at least as accurate, one of them strictly."""
    return {
        (cost, accuracy)
        for cost, accuracy in points
        if not any(c <= cost and a >= accuracy and (c < cost or a > accuracy) for c, a in points)
    }
