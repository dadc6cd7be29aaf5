"""The demo's downstream images: capital letters drawn by typefaces, each with whatever holds of its shape.

They stand for what Pascal VOC is to ImageNet: other images than the zoo was trained on, with several labels or none.
What holds of a letter is what holds of its plain form, whatever a typeface adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from overlap.demo import fonts
from overlap.demo.digits import png
from overlap.images.packing import Sample

SHAPES: Final[Mapping[str, str]] = {
    "encloses": "ABDOPQR",
    "mirrors left to right": "AHIMOTUVWXY",
    "mirrors top to bottom": "BCDEHIKOX",
    "turns into itself": "HINOSXZ",
    "straight strokes only": "AEFHIKLMNTVWXYZ",
}
"""Class names in the order of their numbers, with the letters they hold of."""

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letters() -> list[Sample]:
    """Every capital in every typeface, upright, with the numbers of the shapes it has (none for G and J)."""
    return [
        Sample(name, png(counts), "png", -1, shapes_of(letter))
        for name, counts, letter in fonts.drawings(ALPHABET, angles=(0,))
    ]


def shapes_of(letter: str) -> tuple[int, ...]:
    """Numbers of the shapes a letter has, ascending."""
    return tuple(number for number, holds_of in enumerate(SHAPES.values()) if letter in holds_of)
