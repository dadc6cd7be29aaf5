"""Ensembles and those that took their place, compared on the same images.

Guarantees: an interval is of one comparison alone, paired, at 95%; whether a difference is beyond chance is told after
Holm's correction over all comparisons that are made together, so that of changes that mean nothing one in twenty such
sets has any beyond chance. A gain may thus have an interval without zero and not be beyond chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.intervals import gain_interval
from overlap.analysis.paired import holm, sign_test

LEVEL = 0.05


@dataclass(frozen=True)
class Succession:
    """What the later of two ensembles reaches beside the earlier, on n images; fractions 0-1."""

    n: int
    accuracy_before: float
    accuracy_now: float
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    """Exact, two-sided, of this comparison alone."""
    p_adjusted: float
    """After Holm over the comparisons that were made with it."""

    @property
    def beyond(self) -> bool:
        """Whether they differ beyond chance."""
        return self.p_adjusted < LEVEL


def successions(before: NDArray[np.bool_], now: NDArray[np.bool_]) -> list[Succession]:
    """Compare E ensembles with their successors.

    Args:
        before: (E, n) whether each of the earlier ensembles gets each image right.
        now: (E, n) the same of the later ones.

    Returns:
        One for each; none where there is no image.

    Raises:
        ValueError: the shapes differ.
    """
    if before.shape != now.shape:
        raise ValueError(f"ensembles of shape {before.shape} do not fit successors of shape {now.shape}")
    number, n = before.shape
    if not number or not n:
        return []
    plus, minus = (now & ~before).sum(axis=1), (before & ~now).sum(axis=1)
    low, high = gain_interval(plus, minus, n)
    p_values = [float(p) for p in sign_test(plus, minus)]
    adjusted = holm(p_values)
    return [
        Succession(
            n,
            float(before[place].mean()),
            float(now[place].mean()),
            int(plus[place] - minus[place]) / n,
            float(low[place]),
            float(high[place]),
            p_values[place],
            float(adjusted[place] or 0.0),
        )
        for place in range(number)
    ]
