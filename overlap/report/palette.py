"""Names and colours shared by the figures and the page, each colour with a light and a dark form.

Figures are drawn once, in the light colours; the page swaps every known colour for a CSS variable, so that one drawing
is legible on either ground. Colours alone never carry a distinction: labels and positions do too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Colour:
    """One role of colour on the two grounds."""

    variable: str
    """Name of the CSS variable, without dashes in front."""
    light: str
    """#rrggbb on a white ground; unique among all colours, since the page finds it by its digits."""
    dark: str
    """#rrggbb on a dark ground."""


INK = Colour("ink", "#1c2127", "#e4e7eb")
MUTED = Colour("muted", "#616a75", "#9ba5b1")
RULE = Colour("rule", "#d9dde2", "#353c45")
GROUND = Colour("ground", "#fffffe", "#14171b")
ACCENT = Colour("accent", "#1f5fa8", "#7db4f0")
BAND = Colour("band", "#c7d9ee", "#26405f")
BEYOND = Colour("beyond", "#17704f", "#63cfa8")
WITHIN = Colour("within", "#8a5a06", "#e8b35a")
"""Marks beside sentences: beyond chance, or not."""

CATEGORIES: Mapping[str, tuple[str, Colour]] = {
    "reinit": ("Re-initialisation", Colour("reinit", "#64748b", "#a3b3c9")),
    "hyper_parameters": ("Hyper-parameters", Colour("hyper-parameters", "#2878b5", "#6bb6ee")),
    "architecture": ("Architecture", Colour("architecture", "#23896a", "#5ccaa3")),
    "framework": ("Framework", Colour("framework", "#bb7a12", "#e9b252")),
    "dataset": ("Dataset", Colour("dataset", "#c03d43", "#f5868a")),
    "shared_lineage": ("Shared lineage", Colour("shared-lineage", "#8055ad", "#bd9be6")),
    "duplicate": ("Duplicate", Colour("duplicate", "#8b5e4f", "#c9a090")),
}
"""The kinds of pair in the order in which training diverges; the last two lie outside the paper's five."""

UNKNOWN = ("No category", Colour("unknown", "#8d949c", "#7f8791"))

STRIPS = ("#3f6fb0", "#d98032", "#4d9a5f", "#b5495b", "#8a6bb8", "#7c7f86")
"""Values of a training axis beside the heat map; the last stands for all further ones. Legible on both grounds."""

ON_IMAGE = "#222222"
"""Marks on cells whose colours are the same on both grounds."""


def every_colour() -> list[Colour]:
    """All roles, for the style sheet and for the swap."""
    return [
        INK,
        MUTED,
        RULE,
        GROUND,
        ACCENT,
        BAND,
        BEYOND,
        WITHIN,
        *(colour for _, colour in CATEGORIES.values()),
        UNKNOWN[1],
    ]


def label(category: str | None) -> str:
    """What a reader is shown for a category; the name itself where it is none of ours."""
    return CATEGORIES.get(category or "", (category or UNKNOWN[0], UNKNOWN[1]))[0]


def colour(category: str | None) -> Colour:
    """The colour of a category; grey where it is none of ours."""
    return CATEGORIES.get(category or "", UNKNOWN)[1]


def in_order(table: pl.DataFrame) -> pl.DataFrame:
    """Rows sorted by their `category`, in the order of `CATEGORIES`, others last."""
    rank = {name: place for place, name in enumerate(CATEGORIES)}
    places = [rank.get(name, len(rank)) for name in table["category"]]
    return table.with_columns(pl.Series("_place", places)).sort("_place", maintain_order=True).drop("_place")
