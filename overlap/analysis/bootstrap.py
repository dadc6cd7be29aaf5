"""95% intervals of means over pairs, which resample models and images: pairs share both, and are no independent sample.

Models are resampled by the Bayesian bootstrap (each gets an exponential weight, a pair the product of its two; Rubin
1981, Owen 2007), and since they are few, their deviations are widened from the normal to Student's quantile. Images are
many, and to first order a mean over pairs is a mean over images of an influence function: normal, with a variance that
is computed exactly and takes no memory of images × pairs. The two parts are drawn independently and added.

Guarantees: an interval depends on the pairs it is given alone, not on blocks or threads; it holds the mean. One pair
has none. Coverage is tested from four models on (tests/analysis/test_categories.py): 91 to 99%.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.special import stdtrit

from overlap.analysis.intervals import LEVEL, Z

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

DRAWS = 4000
"""Bootstrap draws."""

IMAGES = 4096
"""Images whose influence is computed together."""

DENSE = 1024
"""Models up to which figures of pairs stand in a square whatever their number."""
SPARSE = 8
"""Beyond, they do where so many times them would fill it."""
TOGETHER = 512
"""Draws of a sparse square that are made together."""


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs with its interval; None where there is none, with the reason."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def estimate(
    name: str, values: Fractions, first: Indices, second: Indices, noise: float, bounds: tuple[float, float]
) -> Estimate:
    """Mean of the pairs' values, and its interval from resampled models and the noise of the images.

    Args:
        name: what the random numbers are seeded by, as the category.
        values: (P,) finite, P > 0.
        first: (P,) first model of each pair, any numbers.
        second: (P,) second model.
        noise: variance of the mean over samples of images, as `image_variance` gives it; 0 where images are no sample.
        bounds: the values a mean can take; the interval stays within.
    """
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean, reason="one pair has no interval over models")
    random = np.random.default_rng(crc32(name.encode()))
    models = model_deviations(values, first, second, random)
    images = np.sqrt(max(0.0, noise)) * random.standard_normal(DRAWS)
    low, high = ends(mean + models + images)
    least, greatest = bounds
    return Estimate(mean, max(least, min(low, mean)), min(greatest, max(high, mean)))


def model_deviations(
    values: Fractions, first: Indices, second: Indices, random: np.random.Generator, draws: int = DRAWS
) -> Fractions:
    """(draws,): by how much the pairs' mean changes as their models are resampled, widened to Student's quantile."""
    used, a, b = places(first, second)
    return weighted_deviations(random.standard_exponential((draws, used)), values, a, b)


def weighted_deviations(weight: Fractions, values: Fractions, first: Indices, second: Indices) -> Fractions:
    """(draws,): the same under given weights (draws, M), which means over other pairs can then share.

    Args:
        weight: of each model, exponential.
        values: (P,) finite, P > 0.
        first: (P,) first model of each pair, below M.
        second: (P,) second model.
    """
    above, below = (
        weighted_sums(weight, each, first, second) for each in (values - values.mean(), np.ones(len(values)))
    )
    return np.asarray(above / below * widening(places(first, second)[0]))


def weighted_sums(weight: Fractions, values: Fractions, first: Indices, second: Indices) -> Fractions:
    """(draws,): sums over pairs, each counted by the product of its models' weights; arguments as above."""
    models = weight.shape[1]
    if models > DENSE and len(values) * SPARSE < models * models:  # a full square would be zeros but for a few
        square = coo_array((values, (first, second)), shape=(models, models)).tocsc()
        total = np.zeros(len(weight))
        for start in range(0, len(weight), TOGETHER):
            drawn = weight[start : start + TOGETHER]
            total[start : start + TOGETHER] = ((drawn @ square) * drawn).sum(axis=1)
        return total
    value = np.zeros((models, models))
    value[first, second] = values
    return np.asarray(((weight @ value) * weight).sum(axis=1))


def widening(models: int) -> float:
    """By how much the deviations of so few models are widened: Student's over the normal quantile."""
    return float(stdtrit(models - 1, (1 + LEVEL) / 2) / Z)


def ends(draws: Fractions) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles; rounded, as a matrix product's last digits depend on the number of threads."""
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).round(12).tolist()
    return low, high


def places(first: Indices, second: Indices) -> tuple[int, Indices, Indices]:
    """How many models the pairs have, and each pair's two among them in ascending order."""
    used, a, b = _renumbered(first, second)
    return len(used), a, b


def _renumbered(first: Indices, second: Indices) -> tuple[Indices, Indices, Indices]:
    """The models that the pairs have, ascending, and each pair's two as places among them; nothing is sorted."""
    present = np.zeros(max(first.max(initial=-1), second.max(initial=-1)) + 1, np.bool_)
    present[first] = present[second] = True
    place = np.cumsum(present) - 1
    return np.flatnonzero(present), place[first], place[second]


def image_variance(
    correct: NDArray[Any], first: Indices, second: Indices, weight: Fractions, linear: Fractions
) -> float:
    """Variance, over samples of N images, of the mean of  sum over pairs of weight (z_a XOR z_b) + linear . z.

    With z a XOR z b = z_a + z_b - 2 z_a z_b it takes one product of matrices and no memory of images × pairs.

    Args:
        correct: (M, N) zeros and ones.
        first: (P,) first model of each pair.
        second: (P,) second model.
        weight: (P,).
        linear: (M,).
    """
    used, a, b = _renumbered(first, second)
    shape = (len(used), len(used))
    product: Any
    if len(used) > DENSE and len(weight) * SPARSE < len(used) ** 2:
        product = coo_array((weight, (a, b)), shape=shape).tocsr()
    else:
        product = np.zeros(shape)
        np.add.at(product, (a, b), weight)
    single = product.sum(axis=0) + product.sum(axis=1) + linear[used]
    influence = np.empty(correct.shape[1])
    for start in range(0, correct.shape[1], IMAGES):
        z = correct[used, start : start + IMAGES].astype(np.float64)
        influence[start : start + IMAGES] = single @ z - 2 * (z * (product @ z)).sum(axis=0)
    return float(influence.var() / len(influence))
