"""Which features of two models are the most diverse: those that covary least with the other model's.

The paper ranks the dimensions of both models' embeddings by "the covariance of each dimension", and takes them "from
most diverse to least diverse" (paper.md, 1.6); it says neither with what a dimension covaries nor how covariances are
put into one number. Here: features are standardised (else the scale of an embedding would decide), and a feature's
covariance is the root mean square of its covariances with all features of the *other* model; low is diverse. A feature
of noise is diverse in this sense too.

Guarantees: constant features come last; equal ones in the order of the columns; scale and sign of features are without
effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 8192
"""Images whose features are multiplied at a time, in float64."""


def covariance_with_other(
    a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean square covariance of each standardised feature with the other model's, (D_a,) and (D_b,).

    NaN for a constant feature; constant features of the other model do not count. Zero where the other has no others.

    Args:
        a: (N, D_a) features.
        b: (N, D_b) features of the same images.
    """
    product = np.zeros((a.shape[1], b.shape[1]))
    standard_a, standard_b = _standard(a), _standard(b)
    for start in range(0, len(a), CHUNK):
        rows = slice(start, start + CHUNK)
        product += ((a[rows] - standard_a[0]) / standard_a[1]).T @ ((b[rows] - standard_b[0]) / standard_b[1])
    square = (product / max(1, len(a))) ** 2
    varies_a, varies_b = np.isfinite(standard_a[1]), np.isfinite(standard_b[1])
    of_a = np.sqrt(square.sum(axis=1) / max(1, varies_b.sum()))
    of_b = np.sqrt(square.sum(axis=0) / max(1, varies_a.sum()))
    return np.where(varies_a, of_a, np.nan), np.where(varies_b, of_b, np.nan)


def most_diverse_first(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.int64]:
    """Columns of both models' features side by side, (D_a + D_b,), the least covariance with the other model first.

    Args:
        a: (N, D_a) features.
        b: (N, D_b) features of the same images.
    """
    # rounded, as the last digits of a product of matrices depend on the number of threads
    covariance = np.concatenate(covariance_with_other(a, b)).round(12)
    return np.argsort(covariance, kind="stable")  # NaN last


def _standard(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each feature, (D,); infinite where it is constant up to rounding."""
    if not len(features):
        return np.zeros(features.shape[1]), np.full(features.shape[1], np.inf)
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = features.std(axis=0, dtype=np.float64)
    return mean, np.where(deviation > 1e-5 * np.abs(features).max(axis=0), deviation, np.inf)
