"""Zoos for searches: probabilities in memory, and parts that read them as a store would be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overlap.analysis import truths
from overlap.analysis.ensembles.largest import Largest, largest
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts


class Zoo:
    """Models with probabilities (M, N, K) float32, whatever these are."""

    def __init__(self, probabilities: np.ndarray, labels: np.ndarray, kept: int) -> None:
        self.probabilities, self.labels = probabilities, labels
        self.largest = [from_probabilities(one, labels, kept) for one in probabilities]
        self.asked: list[tuple[int, int]] = []
        """(model, images) of every look-up."""

    def full(self, model: int, images: np.ndarray) -> np.ndarray:
        self.asked.append((model, len(images)))
        return self.probabilities[model][images]

    def parts(self, pieces: int = 1, held: int = 0) -> Parts:
        return Parts.here(
            [
                Part(
                    [one.take(images) for one in self.largest],
                    self.labels[images],
                    images,
                    self.full,
                    self.probabilities.shape[2],
                    held,
                )
                for images in np.array_split(np.arange(len(self.labels)), pieces)
            ]
        )

    @property
    def scores(self) -> list[list[list[float]]]:
        """For plain Python."""
        return [one.astype(float).tolist() for one in self.probabilities]

    @property
    def truth(self) -> list[set[int]]:
        return [set(row.tolist()) - {truths.NONE} for row in truths.accepted(self.labels)]


def from_probabilities(probabilities: np.ndarray, labels: np.ndarray, kept: int) -> Largest:
    """By sorting all classes of each image: what `largest` does for stored logits."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    values = np.take_along_axis(probabilities, order, 1)
    k = min(kept, probabilities.shape[1])
    tail = values[:, k] if k < probabilities.shape[1] else np.zeros(len(values), np.float32)
    right = truths.right(order[:, 0], labels)
    return Largest(values[:, :k].copy(), order[:, :k].astype(np.int16), tail.astype(np.float32), right)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray((odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32))


def several(labels: np.ndarray, classes: int, random: np.random.Generator) -> np.ndarray:
    """Some images accept a second class as well."""
    second = (labels + 1 + random.integers(0, max(1, classes - 1), len(labels))) % classes
    return np.stack([labels, np.where(random.random(len(labels)) < 0.4, second, truths.NONE)], 1).astype(np.int32)


def built(logits: Sequence[np.ndarray], labels: np.ndarray, kept: int) -> list[Largest]:
    """As a workflow makes them."""
    return [largest([z], np.ones(len(labels)), labels, kept) for z in logits]
