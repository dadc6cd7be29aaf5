"""95% intervals: of kappa, of a paired gain, and of the kappa that independent models would show.

Guarantees: each is a function of its own counts alone; neither other pairs nor the order of work can change it, and it
holds the point estimate. Coverage is shown by tests/analysis/test_intervals.py. Images are taken as the random sample;
that models were chosen too is the business of `categories`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from overlap.analysis.compiler import compiled
from overlap.analysis.posterior import kappa_quantiles

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 4000
"""Posterior draws of one kappa interval; the simulation error of its ends is then about 2% of its half-width."""

Z = float(ndtri((1 + LEVEL) / 2))


def kappa_interval(
    both_right: Counts, only_a: Counts, only_b: Counts, both_wrong: Counts
) -> tuple[Fractions, Fractions]:
    """Credible interval of kappa under a Dirichlet(1/2, 1/2, 1/2, 1/2) prior on the four cells.

    The random numbers of a pair are seeded by its own counts, whichever of the two models is called a.

    Args:
        both_right: int64 of any shape, as are the other three counts.
        only_a: images that only the first gets right.
        only_b: images that only the second gets right.
        both_wrong: images that both get wrong.

    Returns:
        Lower and upper ends, in the shape of the counts; NaN where kappa itself is undefined.
    """
    cells = np.stack([both_right, np.maximum(only_a, only_b), np.minimum(only_a, only_b), both_wrong], -1)
    low, high = np.empty(cells.shape[:-1]), np.empty(cells.shape[:-1])
    quantiles = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16))
    kappa_quantiles(cells.reshape(-1, 4).astype(np.int64), quantiles, DRAWS, low.reshape(-1), high.reshape(-1))
    return low, high


def independent_kappa(right_a: Counts, right_b: Counts, n: int) -> tuple[Fractions, Fractions]:
    """Between which values 95% of kappas fall when two models err independently at these accuracies on n images.

    Exact: given both accuracies, the images that both get right are hypergeometric in number, and kappa is linear in
    it. NaN where kappa is undefined.
    """
    a, b = (np.ascontiguousarray(right, np.int64) for right in np.broadcast_arrays(right_a, right_b))
    low, high = np.empty(a.shape), np.empty(a.shape)
    _independent(a.reshape(-1), b.reshape(-1), n, low.reshape(-1), high.reshape(-1))
    return low, high


def gain_interval(plus: Counts, minus: Counts, n: int) -> tuple[Fractions, Fractions]:
    """Interval of a paired gain in accuracy, (plus - minus) / n, after Agresti & Min (2005).

    Half an image is added to each cell of the paired two-by-two table, then the interval is Wald's: close to nominal
    coverage even for few changes, and never of zero width.

    Args:
        plus: images that the new predictor gets right and the old one wrong.
        minus: images that the new predictor gets wrong and the old one right.
        n: images; with none the interval is NaN.
    """
    plus, minus = np.asarray(plus, np.float64), np.asarray(minus, np.float64)
    if n == 0:
        nothing = np.full(np.broadcast(plus, minus).shape, np.nan)
        return nothing, nothing.copy()
    difference, changes = plus - minus, plus + minus + 1
    centre = difference / (n + 2)
    half = Z * np.sqrt(changes - difference * centre) / (n + 2)
    gain = difference / n
    return np.clip(np.minimum(centre - half, gain), -1, 1), np.clip(np.maximum(centre + half, gain), -1, 1)


@compiled
def _independent(right_a: Counts, right_b: Counts, n: int, low: Fractions, high: Fractions) -> None:
    for pair in range(len(right_a)):
        a, b = right_a[pair], right_b[pair]
        expected = a * (n - b) + b * (n - a)
        if expected == 0:
            low[pair], high[pair] = np.nan, np.nan
            continue
        first, last = max(0, a + b - n), min(a, b)
        both = min(max((a + 1) * (b + 1) // (n + 2), first), last)  # the mode
        weight, total = 1.0, 1.0
        while both > first and weight > 1e-20:  # down to where the lower tail no longer counts
            weight *= both * (n - a - b + both) / ((a - both + 1) * (b - both + 1))
            both -= 1
            total += weight
        start, smallest = both, weight
        above, both = 1.0, min(max((a + 1) * (b + 1) // (n + 2), first), last)
        while both < last and above > 1e-20:
            above *= (a - both) * (b - both) / ((both + 1) * (n - a - b + both + 1))
            both += 1
            total += above
        both, weight, below, found = start, smallest, smallest, False
        while True:
            if not found and below >= 0.025 * total:
                low[pair], found = 1 - n * (a + b - 2 * both) / expected, True
            if both == last or below >= 0.975 * total:
                high[pair] = 1 - n * (a + b - 2 * both) / expected
                break
            weight *= (a - both) * (b - both) / ((both + 1) * (n - a - b + both + 1))
            both += 1
            below += weight
