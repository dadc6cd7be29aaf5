"""The demo's images: scikit-learn's handwritten digits, split once and for all, and the training sets made from them.

Guarantees: which digit is in which part depends on its number alone; no image that is evaluated on occurs in a
training set; the classes are balanced in both handwritten training parts.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from overlap.demo import fonts
from overlap.identity import digest
from overlap.images.packing import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = 10

PER_CLASS = 15
"""Handwritten training images of each class, in each of the two disjoint parts."""

NOISY_FRACTION = 0.2
"""Share of the labels of `digits-relabelled` that are replaced by another class."""


def evaluation() -> list[Sample]:
    """The handwritten digits that no recipe trains on."""
    return _handwritten()[2]


def training(name: str) -> list[Sample]:
    """The images of a training set.

    Args:
        name: one of `TRAINING_SETS`.
    """
    return TRAINING_SETS[name]()


def _handwritten() -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Two disjoint training parts, and the rest."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    samples = [
        Sample(f"digit-{number:04d}", png(counts.reshape(8, 8).astype(np.uint8)), "png", int(label))
        for number, (counts, label) in enumerate(zip(pixels, labels, strict=True))
    ]
    first: list[Sample] = []
    second: list[Sample] = []
    rest: list[Sample] = []
    for label in range(CLASSES):
        of_class = _shuffled((sample for sample in samples if sample.label == label), "split")
        first += of_class[:PER_CLASS]
        second += of_class[PER_CLASS : 2 * PER_CLASS]
        rest += of_class[2 * PER_CLASS :]
    return first, second, rest


def _relabelled() -> list[Sample]:
    samples = _shuffled(_handwritten()[0], "relabel")
    changed = round(NOISY_FRACTION * len(samples))
    return [
        Sample(sample.key, sample.image, sample.extension, _another(sample)) for sample in samples[:changed]
    ] + samples[changed:]


def _another(sample: Sample) -> int:
    return (sample.label + 1 + int(digest(f"another {sample.key}".encode()), 16) % (CLASSES - 1)) % CLASSES


def _drawn() -> list[Sample]:
    return [Sample(name, png(counts), "png", int(digit)) for name, counts, digit in fonts.drawings()]


def _shuffled(samples: Iterable[Sample], salt: str) -> list[Sample]:
    return sorted(samples, key=lambda sample: digest(f"{salt} {sample.key}".encode()))


def png(counts: NDArray[np.uint8]) -> bytes:
    """Counts (8, 8) from 0 to 16 as a greyscale PNG of 8x8 pixels, 0 to 255; the ink is white."""
    from PIL import Image

    grey = np.rint(counts * (255 / 16)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG")
    return buffer.getvalue()


TRAINING_SETS: Final[Mapping[str, Callable[[], list[Sample]]]] = {
    "digits": lambda: _handwritten()[0],
    "digits-disjoint": lambda: _handwritten()[1],
    "digits-relabelled": _relabelled,
    "fonts": _drawn,
    "fonts-and-digits": lambda: [*_drawn(), *_handwritten()[0]],
}
"""Training sets by the name they have on the dataset axis."""
