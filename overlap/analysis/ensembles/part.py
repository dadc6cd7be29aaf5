"""A range of the selection images as a search sees it: the largest probabilities of all models, and the members' sum.

Guarantees: every answer is a function of its arguments alone, and sums over parts; what a part holds of members and
probabilities only saves work, so that a lost part is made again and asked again. The sum is that of the full
computation, bit for bit: float64, in order of selection; of classes that not all members list, it is a bound of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles import weighted
from overlap.analysis.ensembles.certified import Above, certified, standing
from overlap.analysis.ensembles.largest import Largest
from overlap.analysis.ensembles.listed import Lists, add

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
        lists: Lists | None = None,
    ) -> None:
        """Hold a range of images.

        Args:
            found: of all M models, for these n images.
            labels: (n,) or (n, L) of these images.
            images: (n,) their numbers within the whole data set, ascending: what `full` is asked about.
            full: probabilities of all classes.
            classes: K.
            held: bytes of members' probabilities to keep.
            lists: what models list; with it members are added from their lists, and `full` is asked about the images
                alone that these leave open.

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
        self._lists = lists
        self._above = Above.nothing(len(images))
        if lists is not None:
            self._above = Above(np.zeros((len(images), classes), np.float32), self._above.most)
        self._standing = standing(self._running, self._accepted, self._above)
        self._rows: dict[tuple[int, int], NDArray[np.float32]] = {}
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
        right, unsure = int(low[0]), np.flatnonzero(doubt[:, 0])
        if len(unsure) and self._lists is not None:
            certain, unsure = self._narrow(model, unsure)
            right += certain
        if not len(unsure):
            return np.array([right, 0], np.int64)
        if self._lists is not None:
            return np.array([right + self._whole_right((*members, model), unsure), len(unsure)], np.int64)
        held = self._held.get(model)
        added = self._full(model, self._images[unsure]) if held is None else held[unsure]
        together = (self._running[unsure] + added).argmax(axis=1)
        return np.array([right + truths.right(together, self._labels[unsure]).sum(), len(unsure)], np.int64)

    def right(self, members: Members) -> Counts:
        """Images that the members get right together, (1,)."""
        self._go(members)
        unsure = np.flatnonzero(self._standing.open)
        further = self._whole_right(members, unsure) if len(unsure) else 0
        return np.array([self._standing.right + further], np.int64)

    def weighed(self, models: Counts, weights: NDArray[np.float64]) -> Counts:
        """Images right by the kept classes alone when D models are weighed by each of (V, D) weights: (V,)."""
        return weighted.right(self._values, self._classes, self._accepted, models, weights, self._running.shape[1])

    def _certify(self, candidates: Counts) -> tuple[Counts, NDArray[np.bool_]]:
        kept = self._values, self._classes, self._tail
        return certified(self._running, self._above, self._standing, *kept, self._accepted, candidates)

    def _narrow(self, model: int, images: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """Of images in doubt, how many are right by all that the model lists, and which are still in doubt."""
        assert self._lists is not None
        wide = self._lists(model, self._images[images])
        above, stand = self._above.take(images), self._standing.take(images)
        right, doubt = certified(
            self._running[images],
            above,
            stand,
            *wide.padded(),
            wide.tail[:, None],
            self._accepted[images],
            np.zeros(1, np.int64),
        )
        return int(right[0]), images[doubt[:, 0]]

    def _whole_right(self, members: Members, images: NDArray[np.int64]) -> int:
        """How many of some images the members get right, from all their probabilities there."""
        total = np.zeros((len(images), self._running.shape[1]))
        for model in members:
            total += self._looked_up(model, images)
        return int(truths.right(total.argmax(axis=1), self._labels[images]).sum())

    def _looked_up(self, model: int, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Probabilities of a model on some images; those that were asked for before are kept."""
        missing = [image for image in images.tolist() if (model, image) not in self._rows]
        if len(self._rows) + len(missing) > self._room * len(self._images):
            self._rows.clear()
            missing = images.tolist()
        if missing:
            found = self._full(model, self._images[missing])
            self._rows |= {(model, image): row for image, row in zip(missing, found, strict=True)}
        return np.stack([self._rows[model, image] for image in images.tolist()])

    def _go(self, members: Members) -> None:
        """Bring the sum to these members."""
        if members == self._stood:
            return
        if members[: len(self._members)] != self._members:
            self._members, self._running[:] = (), 0
            self._above.each[:], self._above.most[:] = 0, 0
        for model in members[len(self._members) :]:
            if self._lists is None:
                self._running += self._whole(model)
            else:
                add(self._running, self._above, self._accepted, self._lists(model, self._images))
            self._members = (*self._members, model)
        self._standing = standing(self._running, self._accepted, self._above, self._standing.leaders)
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
