"""11-point average precision as the VOC 2007 development kit computes it, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence


def average_precision(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Mean over recalls 0, 0.1 … 1 of the best precision at that recall or above; None without a positive image."""
    total = sum(positive)
    if not total:
        return None
    points = []
    for threshold in sorted(set(scores), reverse=True):
        taken = [true for score, true in zip(scores, positive, strict=True) if score >= threshold]
        points.append((sum(taken), sum(taken) / len(taken)))
    best = [max((p for true, p in points if 10 * true >= tenth * total), default=0.0) for tenth in range(11)]
    return sum(best) / 11


def mean_average_precision(scores: Sequence[Sequence[float]], positive: Sequence[Sequence[bool]]) -> float | None:
    """Over the classes that have a positive image."""
    columns = zip(zip(*scores, strict=True), zip(*positive, strict=True), strict=True)
    found = [value for s, p in columns if (value := average_precision(s, p)) is not None]
    return sum(found) / len(found) if found else None
