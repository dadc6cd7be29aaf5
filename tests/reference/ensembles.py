"""Ensembles of two in plain Python: one image, one class at a time (paper.md 1.2, 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

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
    scores_a: Scores,
    scores_b: Scores,
    predicted_a: Sequence[int],
    predicted_b: Sequence[int],
    accepted: Sequence[Sequence[int]],
) -> dict[str, int]:
    """Images by what the models are alone (11, 10, 01, 00), and how many of each the ensemble gets right."""
    counts = {kind + cell: 0 for kind in ("n", "right") for cell in ("11", "10", "01", "00")}
    for a, b, top_a, top_b, labels in zip(scores_a, scores_b, predicted_a, predicted_b, accepted, strict=True):
        cell = f"{int(top_a in labels)}{int(top_b in labels)}"
        decision = top_a if top_a == top_b else combined([a, b])
        counts["n" + cell] += 1
        counts["right" + cell] += decision in labels
    return counts


def softmax(values: Sequence[float]) -> list[float]:
    """Probabilities of one image."""
    odds = [exp(value - max(values)) for value in values]
    return [value / sum(odds) for value in odds]


def members(combiner: str, z: Sequence[float], temperature: float, weight: float) -> list[float]:
    """What one model brings to the sum on one image; `weight` is its own in this pair, by two temperatures."""
    if combiner == "two_temperatures":
        return [value * weight for value in z]
    scaled = [value / (1 if combiner.endswith("uncalibrated") else temperature) for value in z]
    return softmax(scaled) if combiner.startswith("mean_probability") else scaled


def ensemble(combiner: str, a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Probabilities of the pair on one image, from what both models bring."""
    if combiner.startswith("mean_probability"):
        return [(one + two) / 2 for one, two in zip(a, b, strict=True)]
    share = 1.0 if combiner == "two_temperatures" else 0.5
    return softmax([share * (one + two) for one, two in zip(a, b, strict=True)])


def nll(probabilities: Scores, accepted: Sequence[Sequence[int]]) -> float:
    """Mean negative log probability of the accepted classes together."""
    lost = [-log(sum(row[label] for label in labels)) for row, labels in zip(probabilities, accepted, strict=True)]
    return sum(lost) / len(lost)
