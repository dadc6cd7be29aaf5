"""Jensen-Shannon divergence of all pairs of models on one image: no product of matrices gives it.

With p >= q, d = (p - q) / p and g(d) = -log(1 - d / 2), a class contributes ((p + q) g(d) + q (log q - log p)) / 2: the
logarithms are known, and g is a polynomial, so that the loop over models becomes vector instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Singles = NDArray[np.float32]

DEGREE = 9


def _coefficients() -> Singles:
    """(DEGREE,) of g(d) / d, lowest power first: g itself is then exactly zero for equal probabilities."""
    slope = Chebyshev.interpolate(lambda d: -np.log1p(-d / 2) / d, DEGREE - 1, (0, 1))
    return np.asarray(slope.convert(kind=Polynomial).coef, np.float32)


COEFFICIENTS = _coefficients()
"""Of g(d) / d; the error of g is below 1e-7."""


@compiled
def add_jensen_shannon(probability: Singles, log_probability: Singles, coefficients: Singles, total: Singles) -> None:
    """Add to `total` (M, M), above the diagonal, the divergence of each two models on one image, in nats.

    Args:
        probability: (K, M), a column for each model.
        log_probability: (K, M), its natural logarithm, finite.
        coefficients: `COEFFICIENTS`.
        total: float32, changed in place.
    """
    classes, models = probability.shape
    half, least = np.float32(0.5), np.float32(1e-37)
    c0, c1, c2, c3, c4, c5, c6, c7, c8 = coefficients[:9]
    for c in range(classes):
        p, log_p = probability[c], log_probability[c]
        for a in range(models - 1):
            own, log_own = p[a], log_p[a]
            others, log_others, sums = p[a + 1 :], log_p[a + 1 :], total[a, a + 1 :]
            for b in range(len(others)):
                other = others[b]
                most = own if own > other else other
                fewest = other if own > other else own
                # of the smaller logarithm less the larger: never positive, whichever is which
                change = log_others[b] - log_own
                fall = change if change < 0 else -change
                d = (most - fewest) / (most if most > least else least)
                slope = c0 + d * (c1 + d * (c2 + d * (c3 + d * (c4 + d * (c5 + d * (c6 + d * (c7 + d * c8)))))))
                sums[b] += half * ((most + fewest) * (d * slope) + fewest * fall)
