"""Zoos for searches: probabilities in memory, and parts that read them as a store would be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overlap.analysis import truths
from overlap.analysis.ensembles.largest import Largest, largest
from overlap.analysis.ensembles.listed import Listed, Lists
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.ensembles.shortlists import Answered, Shortlist


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

    def lists(self, kept: int) -> Lists:
        """What models list, if they list so many classes."""

        def listed(model: int, images: np.ndarray) -> Listed:
            held = from_probabilities(self.probabilities[model][images], self.labels[images], kept)
            accepted = truths.accepted(self.labels[images])
            own = np.take_along_axis(self.probabilities[model][images], np.maximum(accepted, 0), 1)
            return Listed(held.values, held.classes.astype(np.int32), own, held.tail)

        return listed

    def parts(self, pieces: int = 1, held: int = 0, listed: int | None = None) -> Parts:
        return Parts.here(
            [
                Part(
                    [one.take(images) for one in self.largest],
                    self.labels[images],
                    images,
                    self.full,
                    self.probabilities.shape[2],
                    held,
                    None if listed is None else self.lists(listed),
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


@dataclass(frozen=True)
class Given(Answered):
    """Complete shortlists of which the probabilities are given, whatever these are."""

    given: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> Given:
        n, classes = probabilities.shape
        numbers = np.tile(np.arange(classes, dtype=np.uint16), (n, 1))
        half, one = np.zeros(n, np.float16), np.ones(n, np.float32)
        short = Shortlist(np.zeros((n, classes), np.float16), numbers, half, half, one, classes, classes)
        own = np.zeros(truths.accepted(labels).shape, np.float16)
        return cls(short, own, np.ones(n), one, probabilities, labels)

    def take(self, images: slice | np.ndarray) -> Given:
        return Given.of(self.given[images], self.labels[images])

    def probabilities(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        own = np.take_along_axis(self.given, np.maximum(truths.accepted(self.labels), 0), 1)
        return self.given, own, np.zeros(len(self.given), np.float32)


def never(model: int, images: np.ndarray) -> np.ndarray:
    """A look-up of complete shortlists."""
    raise AssertionError(f"model {model} was looked up on {len(images)} images")
