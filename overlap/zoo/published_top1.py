"""Top-1 on ImageNet's validation images that timm publishes for its pretrained names: a table that ships as data.

`published_top1.csv` holds a row for each name and way of evaluating it, in percent, with its source: the table of
results in timm's repository (huggingface/pytorch-image-models, results/results-imagenet.csv) at the commit named. Of
it every row is taken whose name the installed timm has, with a head for ImageNet's 1,000 classes.

Guarantees: a figure is given for exactly the input size, crop and interpolation that it was measured with, never for
near ones. Not guaranteed: that every name has one; timm measures new weights later than it publishes them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from overlap.zoo.preprocessing import Preprocessing

CROP_DIGITS = 5e-4
"""The table's crops are rounded to three digits."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    input_size: int
    """Side in pixels."""
    crop_pct: float
    interpolation: str
    top1: float
    """In percent."""
    source: str

    def is_of(self, preprocessing: Preprocessing) -> bool:
        """Whether it was measured with this geometry; mean, deviation and crop mode are for the caller to compare."""
        return (
            preprocessing.input_size == (self.input_size, self.input_size)
            and preprocessing.resize is None
            and abs(preprocessing.crop_pct - self.crop_pct) <= CROP_DIGITS
            and preprocessing.interpolation == self.interpolation
        )


@cache
def table() -> dict[str, tuple[Figure, ...]]:
    """The table that ships with the package, by name; read once a process."""
    text = resources.files(__package__).joinpath("published_top1.csv").read_text(encoding="utf-8")
    found: dict[str, list[Figure]] = {}
    for row in csv.DictReader(text.splitlines()):
        figure = Figure(
            int(row["input_size"]),
            float(row["crop_pct"]),
            row["interpolation"],
            float(row["published_top1"]),
            row["source"],
        )
        found.setdefault(row["model"], []).append(figure)
    return {name: tuple(figures) for name, figures in found.items()}


def figure(name: str, preprocessing: Preprocessing) -> Figure | None:
    """What is published for a pretrained name of timm's, evaluated so; None where nothing is."""
    return next((one for one in table().get(name, ()) if one.is_of(preprocessing)), None)
