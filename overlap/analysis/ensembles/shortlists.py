"""The largest stored logits of one model on each image, and some more: what ensembles are counted from.

Guarantees: values and classes are those of the stored logits, the lower class first among equals; every class that is
not kept has a logit from `least` to `tail`. The accepted classes are always known (`Answered.own`), and as many as fit
of those that other models say, without which a weak model and a strong one could seldom be told to be right together.
Probabilities are those of `calibration.probabilities`, bit for bit. What a row yields does not depend on the block it
lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration, truths
from overlap.analysis.ensembles.shortening import PAD, add, rank_votes, shorten

KEPT = 32
"""Largest logits kept of each image: 128 bytes a model and image."""

SAID = 16
"""Classes kept beside them that other models predict: 64 bytes."""


@dataclass(frozen=True)
class Shortlist:
    """The k largest logits of one model on each of n images, and those of up to e other classes.

    Attributes:
        logits: (n, k + e) float16; the first k are descending.
        classes: (n, k + e) uint16: whose they are; in the end `PAD`, where there are less.
        tail: (n,) float16, the largest logit that is not among the k; the least where all are.
        least: (n,) float16, the least logit.
        odds: (n,) float32, the sum of exp(z - max z) over all classes.
        sorted: k.
        among: K, all classes.
    """

    logits: NDArray[np.float16]
    classes: NDArray[Any]
    tail: NDArray[np.float16]
    least: NDArray[np.float16]
    odds: NDArray[np.float32]
    sorted: int
    among: int

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def complete(self) -> bool:
        """Whether all classes are kept."""
        return self.sorted == self.among

    def take(self, images: slice | NDArray[Any]) -> Shortlist:
        """Those of some images."""
        return Shortlist(
            self.logits[images],
            self.classes[images],
            self.tail[images],
            self.least[images],
            self.odds[images],
            self.sorted,
            self.among,
        )


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


def shortlist(
    logits: Sequence[NDArray[np.float16]], kept: int = KEPT, said: NDArray[np.uint16] | None = None
) -> Shortlist:
    """Of stored logits.

    Args:
        logits: blocks of (n_i, K) finite float16, in the order of the images.
        kept: largest logits to keep of each image; all where there are fewer.
        said: (n, e) further classes to keep, each once and padded with `PAD`; none where all are kept.

    Raises:
        ValueError: more classes than `PAD`.
    """
    n, among = sum(len(block) for block in logits), logits[0].shape[1] if logits else 0
    if among > PAD:
        raise ValueError(f"{among} classes; shortlists hold at most {PAD}")
    k = min(kept, among)
    further = np.empty((n, 0), np.uint16) if said is None or k == among else np.ascontiguousarray(said, np.uint16)
    found = Shortlist(
        np.zeros((n, k + further.shape[1]), np.float16),
        np.full((n, k + further.shape[1]), PAD, np.uint16),
        np.empty(n, np.float16),
        np.empty(n, np.float16),
        odds(logits, np.ones(n)),
        k,
        among,
    )
    start = 0
    for block in logits:
        some = slice(start, start + len(block))
        bits = [values[some].view(np.uint16) for values in (found.logits, found.tail, found.least)]
        shorten(np.ascontiguousarray(block).view(np.uint16), k, bits[0], found.classes[some], bits[1], bits[2])
        add(np.ascontiguousarray(block).view(np.uint16), k, further[some], bits[0], found.classes[some])
        start += len(block)
    return found


def answered(
    logits: Sequence[NDArray[np.float16]],
    labels: NDArray[Any],
    temperature: NDArray[np.float64],
    kept: int = KEPT,
    said: NDArray[np.uint16] | None = None,
) -> Answered:
    """Of stored logits under a truth; labels (n,) or (n, L), temperatures (n,). With `kept` = K everything is known."""
    return Answered(shortlist(logits, kept, said), own(logits, labels), temperature, odds(logits, temperature))


def most_said(prediction: NDArray[np.int32], among: int, most: int = SAID) -> NDArray[np.uint16]:
    """(n, most): of each image the classes that most of (M, n) predictions are, padded; -1 is no prediction."""
    found = np.full((prediction.shape[1], most), PAD, np.uint16)
    rank_votes(np.ascontiguousarray(prediction.T, np.int32), among, found)
    return found


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
