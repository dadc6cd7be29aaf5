"""Ensembles in plain Python: one image, one class at a time (paper.md 1.2, 1.3, 1.8)."""

from __future__ import annotations

from collections.abc import Sequence

Scores = Sequence[Sequence[float]]


def arg_max(values: Sequence[float]) -> int:
    """The lowest class of the largest value."""
    best = 0
    for number, value in enumerate(values):
        if value > values[best]:
            best = number
    return best


def combined(scores: Sequence[Sequence[float]]) -> int:
    """The class of the members' summed scores on one image."""
    return arg_max([sum(values) for values in zip(*scores, strict=True)])


def pair(
    scores_a: Scores, scores_b: Scores, predicted_a: Sequence[int], predicted_b: Sequence[int], labels: Sequence[int]
) -> dict[str, int]:
    """Images by what the models are alone (11, 10, 01, 00), and how many of each the ensemble gets right."""
    counts = {kind + cell: 0 for kind in ("n", "right") for cell in ("11", "10", "01", "00")}
    for a, b, top_a, top_b, label in zip(scores_a, scores_b, predicted_a, predicted_b, labels, strict=True):
        cell = f"{int(top_a == label)}{int(top_b == label)}"
        decision = top_a if top_a == top_b else combined([a, b])
        counts["n" + cell] += 1
        counts["right" + cell] += decision == label
    return counts


def greedy(
    probabilities: Sequence[Scores], labels: Sequence[int], size: int, anchor: int | None = None
) -> list[tuple[int, int]]:
    """(model, images right) of each step: every model is tried at every step, and the first of the best is taken."""
    members: list[int] = [] if anchor is None else [anchor]
    steps = [] if anchor is None else [(anchor, right_together(probabilities, members, labels))]
    while len(members) < size:
        counts = [right_together(probabilities, [*members, model], labels) for model in range(len(probabilities))]
        best = arg_max(counts)
        members.append(best)
        steps.append((best, counts[best]))
    return steps


def right_together(probabilities: Sequence[Scores], members: Sequence[int], labels: Sequence[int]) -> int:
    right = 0
    for image, label in enumerate(labels):
        right += combined([probabilities[member][image] for member in members]) == label
    return right
