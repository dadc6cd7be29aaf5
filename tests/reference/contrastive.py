"""NT-Xent, pair by pair (Chen et al. 2020, equation 1)."""

from __future__ import annotations

import math


def contrastive_loss(projected: list[list[float]], temperature: float) -> float:
    count = len(projected) // 2
    losses = []
    for row in range(2 * count):
        partner = (row + count) % (2 * count)
        others = [math.exp(cosine(projected[row], projected[k]) / temperature) for k in range(2 * count) if k != row]
        losses.append(-math.log(math.exp(cosine(projected[row], projected[partner]) / temperature) / sum(others)))
    return sum(losses) / len(losses)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
