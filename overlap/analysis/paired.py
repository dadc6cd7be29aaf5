"""Two predictors on the same images: is one better by more than chance?

Guarantees: exact, two-sided and symmetric; depends only on the images of which exactly one of the two is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

Counts = NDArray[np.int64]


def sign_test(plus: Counts, minus: Counts) -> NDArray[np.float64]:
    """p-values of McNemar's test in its exact form: such a split of the changed images by a fair coin, or a rarer one.

    Args:
        plus: images that only the one gets right, of any shape.
        minus: images that only the other gets right.

    Returns:
        In the shape of the counts, 1 where nothing changed.
    """
    plus, minus = np.broadcast_arrays(np.asarray(plus), np.asarray(minus))
    tail = bdtr(np.minimum(plus, minus), plus + minus, 0.5)
    return np.asarray(np.where(plus == minus, 1.0, np.minimum(1.0, 2 * tail)), np.float64)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) adjustment of the p-values there are, in their places."""
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(tested):
        adjusted[place] = least = max(least, min(1.0, (len(tested) - rank) * p))
    return adjusted
