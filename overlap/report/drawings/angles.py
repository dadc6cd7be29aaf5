"""Histograms of the angle between the confidences of two models, by category, split by who is right."""

from __future__ import annotations

import polars as pl

from overlap.report.canvas import canvas, to_svg
from overlap.report.palette import ACCENT, CATEGORIES, MUTED, in_order, label

SPLITS = {
    "consistent": ("both right or both wrong", MUTED),
    "only_1": ("only the more accurate right", ACCENT),
    "only_2": ("only the less accurate right", CATEGORIES["framework"][1]),
}


def draw(table: pl.DataFrame, name: str) -> str:
    """A row of two panels a category: consistent images at the left, the two kinds of inconsistent at the right."""
    order = in_order(table.unique("category", maintain_order=True))["category"].to_list()
    tall = 0.75 + 0.85 * len(order)
    with canvas(7.4, tall) as figure:
        panels = figure.subplots(len(order), 2, sharex=True, squeeze=False)
        figure.subplots_adjust(left=0.17, right=0.98, top=1 - 0.32 / tall, bottom=0.46 / tall, hspace=0.25, wspace=0.08)
        for place, category in enumerate(order):
            own = table.filter(pl.col("category").eq_missing(pl.lit(category, dtype=pl.String)))
            for axes, kinds in zip(panels[place], (("consistent",), ("only_1", "only_2")), strict=True):
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                axes.grid(axis="y", visible=False)
                axes.axvline(0, color=MUTED.light, linewidth=0.8, linestyle=(0, (2, 2)))
                for kind in kinds:
                    rows = own.filter(pl.col("split") == kind).sort("low")
                    if rows.is_empty() or not rows["count"].sum():
                        continue
                    words, tone = SPLITS[kind]
                    edges = [*rows["low"], rows["high"][-1]]
                    axes.stairs(rows["count"] / rows["count"].sum(), edges, color=tone.light, fill=True, alpha=0.25)
                    axes.stairs(rows["count"] / rows["count"].sum(), edges, color=tone.light, linewidth=1.3)
                axes.set_ylim(bottom=0)
                axes.set_xlim(-45, 45)
                axes.set_xticks([-45, -30, -15, 0, 15, 30, 45])
            panels[place][0].set_ylabel(label(category), rotation=0, ha="right", va="center", labelpad=8)
        for axes in panels[-1]:
            axes.set_xlabel("θ (degrees)")
        for words, tone in SPLITS.values():
            panels[0][0].plot([], [], "s", color=tone.light, label=words)
        figure.legend(
            *panels[0][0].get_legend_handles_labels(), loc="upper left", ncols=3, bbox_to_anchor=(0.1, 1.0),
            handletextpad=0.2, columnspacing=1.2,
        )  # fmt: skip
        return to_svg(figure, name)
