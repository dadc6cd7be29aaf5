"""What a row of logits says, by plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence


def arg_max(logits: Sequence[float]) -> int:
    """The class of the largest logit, the lowest on ties."""
    best = 0
    for k, value in enumerate(logits):
        if value > logits[best]:
            best = k
    return best


def max_softmax(logits: Sequence[float]) -> float:
    """The largest of exp(z_k) / sum_j exp(z_j)."""
    top = max(logits)
    exponentials = [math.exp(value - top) for value in logits]
    return max(exponentials) / math.fsum(exponentials)
