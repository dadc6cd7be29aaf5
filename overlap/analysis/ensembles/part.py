"""A range of the selection images as a search sees it: the largest probabilities of all models, and the members' sum.

Guarantees: every answer is a function of its arguments alone, and sums over parts; what a part holds of members and
probabilities only saves work, so that a lost part is made again and asked again. The sum is that of the full
computation, bit for bit: float64, in order of selection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles import weighted
from overlap.analysis.ensembles.certified import certified, standing
from overlap.analysis.ensembles.largest import Largest

Counts = NDArray[np.int64]
Members = tuple[int, ...]
Full = Callable[[int, NDArray[np.int64]], NDArray[np.float32]]
"""From a model and m images (numbers within the whole data set, ascending) to its (m, K) calibrated probabilities, out
of fold: exactly `calibration.probabilities` of the stored logits. Asked about all images of a part when a model becomes
a member, and about few when images are not certified."""

HELD = 1 << 28
"""Bytes of members' probabilities that a part keeps, so that the next search need not read them again."""


class Part:
    """Some of the selection images."""

    def __init__(
        self,
        found: Sequence[Largest],
        labels: NDArray[Any],
        images: NDArray[np.int64],
        full: Full,
        classes: int,
        held: int = HELD,
    ) -> None:
        """Hold a range of images.

        Args:
            found: of all M models, for these n images.
            labels: (n,) or (n, L) of these images.
            images: (n,) their numbers within the whole data set, ascending: what `full` is asked about.
            full: probabilities of all classes.
            classes: K.
            held: bytes of members' probabilities to keep.

        Raises:
            ValueError: arrays that do not have the same number of images.
        """
        if {len(one) for one in found} | {len(labels)} != {len(images)}:
            raise ValueError(f"{sorted({len(one) for one in found})} images with {len(labels)} labels, {len(images)}")
        self._values = np.stack([one.values for one in found], axis=1)
        self._classes = np.stack([one.classes for one in found], axis=1)
        self._tail = np.stack([one.tail for one in found], axis=1)
        self._single = np.array([one.right.sum() for one in found], np.int64)
        self._labels, self._accepted = labels, truths.accepted(labels)
        self._images, self._full = images, full
        self._members: Members = ()
        self._stood: Members = ()
        self._running = np.zeros((len(images), classes))
        self._standing = standing(self._running, self._accepted)
        self._held: dict[int, NDArray[np.float32]] = {}
        self._room = held // max(1, 4 * len(images) * classes)

    def single(self) -> Counts:
        """Images that each model gets right alone, (M,)."""
        return self._single

    def bounds(self, members: Members, candidates: Counts) -> Counts:
        """Least and greatest number of images that are right with each candidate added: (2, C)."""
        self._go(members)
        low, doubt = self._certify(candidates)
        return np.stack([low, low + doubt.sum(axis=0)])

    def exact(self, members: Members, model: int) -> Counts:
        """Images that are right with one model added, and how many of them were looked up: (2,)."""
        self._go(members)
        low, doubt = self._certify(np.array([model]))
        unsure = np.flatnonzero(doubt[:, 0])
        if not len(unsure):
            return np.array([low[0], 0], np.int64)
        held = self._held.get(model)
        added = self._full(model, self._images[unsure]) if held is None else held[unsure]
        together = (self._running[unsure] + added).argmax(axis=1)
        return np.array([low[0] + truths.right(together, self._labels[unsure]).sum(), len(unsure)], np.int64)

    def right(self, members: Members) -> Counts:
        """Images that the members get right together, (1,)."""
        self._go(members)
        return np.array([self._standing.right], np.int64)

    def weighed(self, models: Counts, weights: NDArray[np.float64]) -> Counts:
        """Images right by the kept classes alone when D models are weighed by each of (V, D) weights: (V,)."""
        return weighted.right(self._values, self._classes, self._accepted, models, weights, self._running.shape[1])

    def _certify(self, candidates: Counts) -> tuple[Counts, NDArray[np.bool_]]:
        kept = self._values, self._classes, self._tail
        return certified(self._running, self._standing, *kept, self._accepted, candidates)

    def _go(self, members: Members) -> None:
        """Bring the sum to these members."""
        if members == self._stood:
            return
        if members[: len(self._members)] != self._members:
            self._members, self._running[:] = (), 0
        for model in members[len(self._members) :]:
            self._running += self._whole(model)
            self._members = (*self._members, model)
        self._standing = standing(self._running, self._accepted, self._standing.leaders)
        self._stood = members  # not before: a look-up that failed is asked again

    def _whole(self, model: int) -> NDArray[np.float32]:
        """Probabilities of all images and classes; those used last are kept."""
        found = self._held.pop(model, None)
        if found is None:
            found = self._full(model, self._images)
            if found.shape != self._running.shape or found.dtype != np.float32:
                raise ValueError(f"probabilities of model {model}: {found.dtype} {found.shape}")
        if self._room:
            while len(self._held) >= self._room:
                del self._held[next(iter(self._held))]
            self._held[model] = found
        return found
