"""Specialisation of pairs, image by image: theta, its analysis of variance, expected scores, driving images."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import atan2, degrees, exp


def theta(first: float, second: float) -> float:
    """Degrees from the diagonal of the confidence plane; positive where the first is more confident."""
    return degrees(atan2(first, second)) - 45


def split(right_one: bool, right_two: bool) -> str:
    if right_one == right_two:
        return "consistent"
    return "only_1" if right_one else "only_2"


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def variance(values: Sequence[float]) -> float:
    centre = sum(values) / len(values)
    return sum((value - centre) ** 2 for value in values) / (len(values) - 1)


def by_level(levels: Sequence[Hashable], values: Sequence[float]) -> dict[Hashable, list[float]]:
    """Values of each level that has at least two."""
    found: dict[Hashable, list[float]] = {}
    for level, value in zip(levels, values, strict=True):
        found.setdefault(level, []).append(value)
    return {level: held for level, held in found.items() if len(held) > 1}


def variance_between(found: Mapping[Hashable, Sequence[float]]) -> tuple[float, float, float, float] | None:
    """Variance between levels (not truncated), ratio of Brown and Forsythe, and Mehrotra's degrees of freedom."""
    if len(found) < 2:
        return None
    n = sum(len(values) for values in found.values())
    grand = sum(sum(values) for values in found.values()) / n
    q = sum(len(values) * (sum(values) / len(values) - grand) ** 2 for values in found.values())
    share = {level: len(values) / n for level, values in found.items()}
    s2 = {level: variance(values) for level, values in found.items()}
    w = sum((1 - share[level]) * s2[level] for level in found)
    between = (q - w) / (n - sum(len(values) ** 2 for values in found.values()) / n)
    if w == 0:
        return between, float("nan"), float("nan"), float("nan")
    top = (
        sum(s2[level] ** 2 for level in found)
        + sum(share[level] * s2[level] for level in found) ** 2
        - 2 * sum(share[level] * s2[level] ** 2 for level in found)
    )
    bottom = sum(((1 - share[level]) * s2[level]) ** 2 / (len(found[level]) - 1) for level in found)
    return between, q / w, w**2 / top, w**2 / bottom


def poisson_binomial(chances: Sequence[float]) -> list[float]:
    """Probability of each number of successes of independent trials."""
    found = [1.0]
    for chance in chances:
        found = [
            (found[k] * (1 - chance) if k < len(found) else 0) + (found[k - 1] * chance if k else 0)
            for k in range(len(found) + 1)
        ]
    return found


def additive(correct: Sequence[Sequence[bool]], rounds: int = 3000) -> list[list[float]]:
    """(M, N) chances of being right: logistic in ability of the model plus ease of the image, with both margins met.

    One parameter after the other by bisection; images that all or none get right have chances 1 and 0.
    """
    models, images = len(correct), len(correct[0])
    scores = [sum(row[x] for row in correct) for x in range(images)]
    inside = [x for x in range(images) if 0 < scores[x] < models]
    ability = [0.0] * models
    ease = dict.fromkeys(inside, 0.0)

    def solve(others: Sequence[float], wanted: float) -> float:
        low, high = -30.0, 30.0
        for _ in range(60):
            middle = (low + high) / 2
            if sum(1 / (1 + exp(-middle - other)) for other in others) < wanted:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    for _ in range(rounds):
        by_score = {score: solve(ability, score) for score in {scores[x] for x in inside}}
        ease = {x: by_score[scores[x]] for x in inside}
        before = list(ability)
        ability = [solve([ease[x] for x in inside], sum(row[x] for x in inside)) for row in correct]
        if max(abs(a - b) for a, b in zip(before, ability, strict=True)) < 1e-9:
            break
    return [
        [1 / (1 + exp(-ability[m] - ease[x])) if x in ease else float(scores[x] > 0) for x in range(images)]
        for m in range(models)
    ]


def discovery_rates(p: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjusted values."""
    ranked = sorted(p)
    return [
        min(
            min(1.0, other * len(p) / (max(i for i, v in enumerate(ranked) if v == other) + 1))
            for other in ranked
            if other >= own
        )
        for own in p
    ]


def driving(
    keys: Sequence[str], right_a: Sequence[bool], right_b: Sequence[bool], score: Sequence[float], count: int
) -> list[str]:
    """Images of the highest score among those that exactly one gets right; equal ones by key."""
    divided = [x for x in range(len(keys)) if right_a[x] != right_b[x]]
    return [keys[x] for x in sorted(divided, key=lambda x: (-score[x], keys[x]))[:count]]
