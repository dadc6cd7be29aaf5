"""What the largest logits and moments of the rest come to, one class at a time, in exact-enough arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum


def total(z: Sequence[float], temperature: float) -> float:
    """Sum over all classes of exp((z - max z) / T)."""
    return fsum(exp((value - max(z)) / temperature) for value in z)


def listed(z: Sequence[float], kept: int) -> list[int]:
    """The classes of the largest logits, the lower first among equals."""
    return sorted(range(len(z)), key=lambda number: (-z[number], number))[:kept]
