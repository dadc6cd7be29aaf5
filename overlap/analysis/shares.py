"""The interval of a share of images."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% score interval of a proportion (Wilson 1927): `share` in 0-1 of `n` images."""
    if n <= 0:
        return 0.0, 1.0
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
