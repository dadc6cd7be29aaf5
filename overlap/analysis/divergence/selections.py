"""Which pairs a comparison of categories is over: all, those within a band of accuracies, the accuracy-matched ones.

Guarantees: by accuracies alone; the ends of a band belong to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.categories import MATCHED
from overlap.analysis.divergence.measures import Compared

Band = tuple[float, float] | None
"""Least and greatest accuracy (the paper uses 0.74 to 0.78), or no band."""

MARGIN = 1e-12


def selections(compared: Compared, band: Band) -> dict[str, NDArray[np.bool_]]:
    """(P,) pairs of each selection; `band` is left out where there is none.

    Args:
        compared: gives the accuracies.
        band: within which both models of a pair lie.
    """
    first, second = compared.indices
    a, b = compared.accuracy[first], compared.accuracy[second]
    found = {"all": np.ones(len(a), np.bool_)}
    if band is not None:
        low, high = band
        inside = (compared.accuracy >= low - MARGIN) & (compared.accuracy <= high + MARGIN)
        found["band"] = inside[first] & inside[second]
    found["matched"] = np.abs(a - b) <= MATCHED + MARGIN
    return found
