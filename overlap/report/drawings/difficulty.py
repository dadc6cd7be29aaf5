"""How many models get an image right, over all images: the images all get, none gets, and those in between."""

from __future__ import annotations

import numpy as np
import polars as pl

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.palette import ACCENT, CATEGORIES, MUTED

MOST_BARS = 60
TONES = {"all": CATEGORIES["architecture"][1], "none": CATEGORIES["dataset"][1], "between": ACCENT}
NAMES = {"none": "no model right", "between": "in between", "all": "all right"}


def draw(table: pl.DataFrame, models: int, name: str) -> str:
    """Bars over the number of models that are right; with many models, over ranges of that number."""
    right, group = table["right"].to_numpy(), table["group"].to_numpy()
    inner = max(1, models - 1)
    edges = np.unique(np.linspace(0.5, models - 0.5, min(inner, MOST_BARS) + 1)) if models > 1 else np.array([])
    with canvas(7.4, 2.9) as figure:
        axes = figure.add_axes((0.09, 0.17, 0.89, 0.68))
        axes.grid(axis="x", visible=False)
        total = max(1, len(right))
        for place, kind in ((0.0, "none"), (float(models), "all")):
            share = float((group == kind).sum()) / total
            axes.bar([place], [share], width=0.9 * max(1.0, models / MOST_BARS), color=TONES[kind].light)
        between = right[group == "between"]
        if len(edges) > 1:
            counts, _ = np.histogram(between, edges)
            axes.bar(edges[:-1], counts / total, width=0.9 * np.diff(edges), align="edge", color=TONES["between"].light)
        for kind, words in NAMES.items():
            axes.bar([0], [0], color=TONES[kind].light, label=f"{words} ({(group == kind).sum() / total:.1%})")
        axes.set_xlabel("models that get the image right")
        axes.set_ylabel("images (%)")
        percent_axis(axes, y=True)
        axes.tick_params(axis="y", colors=MUTED.light)
        figure.legend(loc="upper left", ncols=3, bbox_to_anchor=(0.07, 1.01), handlelength=0.9, handleheight=0.9)
        return to_svg(figure, name)
