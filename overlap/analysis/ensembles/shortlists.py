"""The largest stored logits of one model on each image: what ensembles are counted from without reading all classes.

Guarantees: values and classes are those of the stored logits, the lower class first among equals; every class that is
not kept has a logit from `least` to `tail`. The accepted classes are always known (`Answered.own`). Probabilities are
those of `calibration.probabilities`, bit for bit. What a row yields does not depend on the block it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration, truths
from overlap.analysis.compiler import compiled

KEPT = 32
"""Classes kept of each image, 128 bytes a model and image. Of six models of tests/benchmarks/large_store.py on 3,125
images, all pairs by five combiners, 16 already left no image of any pair open; the searches' sums have half the tail."""

SIGN, SIZE = 0x8000, 0x7FFF
"""Of the bits of a float16."""


@dataclass(frozen=True)
class Shortlist:
    """The k largest logits of one model on each of n images; it depends on nothing but the logits.

    Attributes:
        logits: (n, k) float16, descending.
        classes: (n, k) uint16, or int32 where there are more classes: whose they are.
        tail: (n,) float16, the largest logit that is not kept; the least where all are.
        least: (n,) float16, the least logit.
        odds: (n,) float32, the sum of exp(z - max z) over all classes.
        among: K, all classes.
    """

    logits: NDArray[np.float16]
    classes: NDArray[Any]
    tail: NDArray[np.float16]
    least: NDArray[np.float16]
    odds: NDArray[np.float32]
    among: int

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def complete(self) -> bool:
        """Whether all classes are kept."""
        return self.logits.shape[1] == self.among

    def take(self, images: slice | NDArray[Any]) -> Shortlist:
        """Those of some images."""
        rows = (self.logits, self.classes, self.tail, self.least, self.odds)
        logits, classes, tail, least, odds = (values[images] for values in rows)
        return Shortlist(logits, classes, tail, least, odds, self.among)


@dataclass(frozen=True)
class Answered:
    """A shortlist under a truth.

    Attributes:
        short: of n images.
        own: (n, L) float16, the logits of the accepted classes; 0 where there is none.
        temperature: (n,) float64, out of fold.
        odds: (n,) float32, the sum of exp((z - max z) / T) over all classes.
    """

    short: Shortlist
    own: NDArray[np.float16]
    temperature: NDArray[np.float64]
    odds: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.short)

    def take(self, images: slice | NDArray[Any]) -> Answered:
        """Those of some images."""
        return Answered(self.short.take(images), self.own[images], self.temperature[images], self.odds[images])

    def probabilities(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Calibrated probabilities of the kept classes (n, k), of the accepted ones (n, L), and of the tail (n,)."""
        top = self.short.logits[:, :1].astype(np.float32)
        divisor = self.temperature.astype(np.float32)[:, None]

        def of(logits: NDArray[np.float16]) -> NDArray[np.float32]:
            scaled = np.ascontiguousarray(logits, np.float32)
            scaled = (scaled - top) / divisor
            np.exp(scaled, out=scaled)
            scaled /= self.odds[:, None]
            return scaled

        return of(self.short.logits), of(self.own), of(self.short.tail[:, None])[:, 0]


def shortlist(logits: Sequence[NDArray[np.float16]], kept: int = KEPT) -> Shortlist:
    """Of stored logits.

    Args:
        logits: blocks of (n_i, K) finite float16, in the order of the images.
        kept: classes to keep of each image; all where there are fewer.
    """
    n, among = sum(len(block) for block in logits), logits[0].shape[1] if logits else 0
    k = min(kept, among)
    found = Shortlist(
        np.empty((n, k), np.float16),
        np.empty((n, k), np.uint16 if among <= 1 << 16 else np.int32),
        np.empty(n, np.float16),
        np.empty(n, np.float16),
        odds(logits, np.ones(n)),
        among,
    )
    start = 0
    for block in logits:
        some = slice(start, start + len(block))
        bits = [values[some].view(np.uint16) for values in (found.logits, found.tail, found.least)]
        _shorten(np.ascontiguousarray(block).view(np.uint16), bits[0], found.classes[some], bits[1], bits[2])
        start += len(block)
    return found


def answered(
    logits: Sequence[NDArray[np.float16]], labels: NDArray[Any], temperature: NDArray[np.float64], kept: int = KEPT
) -> Answered:
    """Of stored logits under a truth; labels (n,) or (n, L), temperatures (n,). With `kept` = K everything is known."""
    return Answered(shortlist(logits, kept), own(logits, labels), temperature, odds(logits, temperature))


def own(logits: Sequence[NDArray[np.float16]], labels: NDArray[Any]) -> NDArray[np.float16]:
    """(n, L): logits of the accepted classes; 0 where there is none."""
    accepted = truths.accepted(labels)
    found = np.zeros(accepted.shape, np.float16)
    start = 0
    for block in logits:
        classes = accepted[start : start + len(block)]
        taken = block[np.arange(len(block))[:, None], np.maximum(classes, 0)]
        found[start : start + len(block)] = np.where(classes == truths.NONE, np.float16(0), taken)
        start += len(block)
    return found


def odds(logits: Sequence[NDArray[np.float16]], temperature: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n,) float32: sums of exp((z - max z) / T) as `calibration.probabilities` divides by."""
    found = np.empty(len(temperature), np.float32)
    start = 0
    for block in logits:
        step = max(1, calibration.CHUNK // max(1, block.shape[1]))
        for first in range(0, len(block), step):
            rows = block[first : first + step]
            some = slice(start + first, start + first + len(rows))
            found[some] = calibration.odds(rows, temperature[some]).sum(axis=1)
        start += len(block)
    return found


@compiled
def _shorten(
    halves: NDArray[np.uint16],
    logits: NDArray[np.uint16],
    classes: NDArray[Any],
    tail: NDArray[np.uint16],
    least: NDArray[np.uint16],
) -> None:
    """Insert the bits of each logit in order: as numbers that are sorted like them, with the class below."""
    k, among = classes.shape[1], halves.shape[1]
    best = np.empty(k + 1, np.int64)
    for x in range(len(halves)):
        best[:] = np.int64(-1) << np.int64(60)
        smallest = np.int64(1) << np.int64(60)
        for number in range(among):
            bits = np.int64(halves[x, number])
            size = bits & SIZE
            value = -size if bits & SIGN else size
            smallest = min(smallest, value)
            value = (value << np.int64(32)) - number
            if value > best[k]:
                place = k
                while place > 0 and value > best[place - 1]:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = value
        for place in range(k + 1):
            # what is above the class, rounded up, since the class was taken off
            value = -((-best[place]) >> np.int64(32))
            if place == k and k == among:
                value = smallest
            bits = value if value >= 0 else SIGN - value
            if place < k:
                logits[x, place] = bits
                classes[x, place] = (value << np.int64(32)) - best[place]
            else:
                tail[x] = bits
        least[x] = smallest if smallest >= 0 else SIGN - smallest
