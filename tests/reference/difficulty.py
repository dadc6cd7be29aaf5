"""Expected agreement of two models under given difficulties, and counts by score, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp


def chance(ability: float, difficulty: float) -> float:
    return 1 / (1 + exp(difficulty - ability))


def posterior(
    answers: Sequence[bool], abilities: Sequence[float], nodes: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Of one image's difficulty, given who gets it right."""
    likelihoods = []
    for node, weight in zip(nodes, weights, strict=True):
        likelihood = weight
        for answer, ability in zip(answers, abilities, strict=True):
            p = chance(ability, node)
            likelihood *= p if answer else 1 - p
        likelihoods.append(likelihood)
    total = sum(likelihoods)
    return [likelihood / total for likelihood in likelihoods]


def both_right_by_score(correct: Sequence[Sequence[bool]], a: int, b: int) -> list[int]:
    """Images that both get right, by the number of all models that do."""
    found = [0] * (len(correct) + 1)
    for image in range(len(correct[0])):
        if correct[a][image] and correct[b][image]:
            found[sum(row[image] for row in correct)] += 1
    return found
