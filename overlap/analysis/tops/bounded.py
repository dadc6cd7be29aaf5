"""What one model says of each image as far as its largest logits tell, with bounds of what they do not.

Guarantees: the logits of the listed classes are those of the stored ones; every other class has one from `least` to the
last of the list; the sum of exp((z - max z) / T) over all classes lies within the bounds, uncalibrated and calibrated.
What a row yields does not depend on the block it lies in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.floats import widened
from overlap.analysis.tops.moments import GRID
from overlap.analysis.tops.normaliser import FLOATING, Rest, bounds

Fractions = NDArray[np.float64]
Singles = NDArray[np.float32]

MARGIN = 2.0**-18
"""More than the relative error of the largest probability of an image as full computations make it in float32: 3e-7 of
the exponential, 1.5e-6 of the sum's additions, 1.3e-6 of what is summed, roundings of the quotient."""

SLOPE = 2e-7
"""What is added to it for a class whose logit less the largest, over T, is -1; likewise for less: 1.2e-7 of that number
are its roundings. Of a class below 1e-25 `TINY` is more than any error."""

TINY = 1e-25

WITHIN = 1e-9
"""By how much an inverse of an inverse may leave the grid."""


@dataclass(frozen=True)
class Bounded:
    """One model on n images of K classes.

    Attributes:
        largest: (n, k) float16, the k largest logits, descending; classes: (n, k) uint16, whose they are.
        least: (n,) float16, the least logit.
        temperature: (n,) float64, out of fold.
        low, high: (2, n) float64, between which the log of the sum of exp((z - max z) / T) over all classes lies, for
            T = 1 and for the temperature.
        among: K.
    """

    largest: NDArray[np.float16]
    classes: NDArray[np.uint16]
    least: NDArray[np.float16]
    temperature: Fractions
    low: Fractions
    high: Fractions
    among: int

    def __len__(self) -> int:
        return len(self.largest)

    @property
    def prediction(self) -> NDArray[np.int32]:
        """(n,): the class of the largest logit."""
        return self.classes[:, 0].astype(np.int32)

    @property
    def z(self) -> Singles:
        """(n, k) float32: the listed logits less the largest, as full computations have them."""
        wide = widened(self.largest)
        return np.asarray(wide - wide[:, :1].copy())

    @property
    def lowest(self) -> Singles:
        """(n,) float32: the least logit less the largest."""
        return np.asarray(widened(self.least[:, None])[:, 0] - widened(self.largest[:, :1])[:, 0])

    def take(self, images: slice | NDArray[Any]) -> Bounded:
        """Those of some images."""
        return Bounded(
            self.largest[images],
            self.classes[images],
            self.least[images],
            self.temperature[images],
            self.low[:, images],
            self.high[:, images],
            self.among,
        )


def bounded(
    largest: NDArray[np.float16],
    classes: NDArray[np.uint16],
    least: NDArray[np.float16],
    moments: Singles,
    temperature: Fractions,
    among: int,
) -> Bounded:
    """From what is stored of n images.

    Args:
        largest: (n, k) logits, descending, and classes: (n, k).
        least: (n,) least logits.
        moments: (n, G, 2) of the other classes (`moments.moments`).
        temperature: (n,) of each image.
        among: classes.

    Raises:
        ValueError: a temperature whose inverse is outside the grid of the moments.
    """
    exact = largest.astype(np.float64)
    top = exact[:, 0].copy()
    exact -= top[:, None]
    rest = Rest(
        moments[:, :, 0].astype(np.float64),
        moments[:, :, 1].astype(np.float64),
        exact[:, -1],
        least.astype(np.float64) - top,
    )
    low, high = np.empty((2, len(exact))), np.empty((2, len(exact)))
    for place, inverse in enumerate((np.ones(len(exact)), 1 / temperature)):
        for value in np.unique(inverse):
            some = inverse == value
            listed = np.exp(exact[some] * value).sum(axis=1)
            under, over = bounds(rest.take(some), _inside(float(value)))
            low[place, some] = np.log(listed + under) - FLOATING
            high[place, some] = np.log(listed + over) + FLOATING
    return Bounded(largest, classes, least, temperature, low, high, among)


def _inside(inverse: float) -> float:
    """The end of the grid where one is meant."""
    for end in (GRID[0], GRID[-1]):
        if abs(inverse - end) <= WITHIN * end:
            return end
    return inverse
