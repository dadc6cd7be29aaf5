"""Temperature scaling in plain Python: one image at a time, and a search that only compares values."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log


def log_probabilities(logits: Sequence[float], temperature: float) -> list[float]:
    scaled = [z / temperature for z in logits]
    largest = max(scaled)
    normaliser = largest + log(sum(exp(z - largest) for z in scaled))
    return [z - normaliser for z in scaled]


def nll(logits: Sequence[Sequence[float]], labels: Sequence[int], temperature: float) -> float:
    """Mean negative log likelihood at one temperature."""
    return sum(-log_probabilities(z, temperature)[y] for z, y in zip(logits, labels, strict=True)) / len(labels)


def temperature(logits: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """The minimiser of the NLL within 0.01..100: golden-section search in log T, along which it has one valley."""
    ratio = (5**0.5 - 1) / 2
    low, high = log(0.01), log(100)
    while high - low > 1e-9:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if nll(logits, labels, exp(left)) <= nll(logits, labels, exp(right)):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def calibration_error(confidence: Sequence[float], right: Sequence[bool], bins: int = 15) -> float:
    """ECE with bins of equal mass, the first of them one larger where n does not divide; distinct confidences."""
    images = sorted(range(len(confidence)), key=lambda image: confidence[image])
    bins = min(bins, len(images))
    size, larger = divmod(len(images), bins)
    total, start = 0.0, 0
    for number in range(bins):
        members = images[start : start + size + (number < larger)]
        start += len(members)
        accuracy = sum(right[image] for image in members) / len(members)
        mean = sum(confidence[image] for image in members) / len(members)
        total += len(members) / len(images) * abs(accuracy - mean)
    return total


def in_top(logits: Sequence[float], label: int, k: int) -> bool:
    ranking = sorted(range(len(logits)), key=lambda c: (-logits[c], c))
    return label in ranking[:k]
