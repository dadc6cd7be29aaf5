"""Overlap, symmetric KL and Jensen-Shannon divergence of some pairs of models on one image, a pair at a time.

Where pairs are few among very many models, products of matrices would be made for the others. Guarantees: the figures
of a pair depend on its two models alone. Sums over classes are of single precision in `LANES` parts, and those of
double.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.divergence.rounding import COARSE, FINE

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]
Singles = NDArray[np.float32]

LANES: Final = 16
"""Classes that are added side by side: one vector instruction or two."""


@compiled
def add_some(
    probability: Singles,
    log_probability: Singles,
    options: Singles,
    u: Fractions,
    first: Indices,
    second: Indices,
    coefficients: Singles,
    overlap: Fractions,
    symmetric_kl: Fractions,
    jensen_shannon: Fractions,
    squares: Fractions,
    with_a: Fractions,
    with_b: Fractions,
    likelihoods: Fractions,
) -> None:
    """Add one image to the sums of P pairs of M models.

    Args:
        probability: (M, K).
        log_probability: (M, K), its natural logarithm, finite.
        options: (M, K), `probability` with the accepted classes as one.
        u: (M,) probability of these.
        first: (P,) first model of each pair.
        second: (P,) second model.
        coefficients: `jensen.COEFFICIENTS`.
        overlap: (P,); this and the following are those of `soft.SoftSums`, of the image's group, changed in place.
        symmetric_kl: (P,).
        jensen_shannon: (P,).
        squares: (3, P).
        with_a: (P,).
        with_b: (P,).
        likelihoods: (P,).
    """
    found = np.empty((3, LANES), np.float32)
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        _compare(
            probability[a],
            probability[b],
            log_probability[a],
            log_probability[b],
            options[a],
            options[b],
            coefficients,
            found,
        )
        g, j, d = 0.0, 0.0, 0.0
        for lane in range(LANES):
            g += np.float64(found[0, lane])
            j += np.float64(found[1, lane])
            d += np.float64(found[2, lane])
        d = max(d, 0.0)
        overlap[pair] += np.rint(g * FINE) / FINE
        symmetric_kl[pair] += np.rint(j * COARSE) / COARSE
        jensen_shannon[pair] += np.rint(d * FINE) / FINE
        squares[0, pair] += np.rint(g * g * FINE) / FINE
        squares[1, pair] += np.rint(j * j * COARSE) / COARSE
        squares[2, pair] += np.rint(d * d * FINE) / FINE
        with_a[pair] += np.rint(g * u[a] * FINE) / FINE
        with_b[pair] += np.rint(g * u[b] * FINE) / FINE
        likelihoods[pair] += np.rint(u[a] * u[b] * FINE) / FINE


@compiled
def _compare(
    p: Singles,
    q: Singles,
    log_p: Singles,
    log_q: Singles,
    options_p: Singles,
    options_q: Singles,
    coefficients: Singles,
    found: Singles,
) -> None:
    """Sums over classes, in lanes: products of options; (p - q) (log p - log q); the divergence, as in `jensen`."""
    c0, c1, c2, c3, c4, c5, c6, c7, c8 = coefficients[:9]
    half, least, nothing = np.float32(0.5), np.float32(1e-37), np.float32(0)
    found[:] = nothing
    for start in range(0, len(p), LANES):
        for lane in range(min(LANES, len(p) - start)):
            c = start + lane
            found[0, lane] += options_p[c] * options_q[c]
            change = log_q[c] - log_p[c]
            found[1, lane] += (q[c] - p[c]) * change
            most = p[c] if p[c] > q[c] else q[c]
            fewest = q[c] if p[c] > q[c] else p[c]
            fall = change if change < nothing else -change
            d = (most - fewest) / (most if most > least else least)
            slope = c0 + d * (c1 + d * (c2 + d * (c3 + d * (c4 + d * (c5 + d * (c6 + d * (c7 + d * c8)))))))
            found[2, lane] += half * ((most + fewest) * (d * slope) + fewest * fall)
