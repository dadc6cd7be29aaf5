"""Error inconsistency and kappa by category of pair: means with 95% intervals over the spread of the single pairs.

Where a category has many pairs the marks behind its mean are evenly spaced quantiles of them, not a random draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.palette import GROUND, MUTED, colour, in_order, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 240
"""Marks for single pairs per category and panel."""
GOLDEN = 0.6180339887498949


def draw(pairs: pl.DataFrame, categories: pl.DataFrame, name: str) -> str:
    """Two panels side by side; rows are the categories in the order in which training diverges."""
    rows = in_order(categories).to_dicts()
    with canvas(7.4, 1.15 + 0.5 * len(rows)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.2, right=0.98, top=1 - 0.3 / figure.get_figheight(), wspace=0.08)
        figure.subplots_adjust(bottom=0.62 / figure.get_figheight())
        _panel(left, pairs, rows, "error_inconsistency")
        _panel(right, pairs, rows, "kappa")
        left.set_xlabel("error inconsistency (% of images)")
        percent_axis(left, x=True)
        right.set_xlabel("error consistency κ")
        left.set_yticks(range(len(rows)))
        left.set_yticklabels([f"{label(row['category'])}\n{_count(row['pairs'])}" for row in rows], linespacing=1.25)
        left.set_ylim(len(rows) - 0.45, -0.55)
        left.set_title("further right: errors differ more", color=MUTED.light, fontsize=8)
        right.set_title("further left: errors differ more", color=MUTED.light, fontsize=8)
        return to_svg(figure, name)


def _count(pairs: int) -> str:
    return f"{pairs:,} pair" + ("" if pairs == 1 else "s")


def _panel(axes: Axes, pairs: pl.DataFrame, rows: list[dict[str, Any]], column: str) -> None:
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    for place, row in enumerate(rows):
        tone = colour(row["category"]).light
        values = np.sort(pairs.filter(pl.col("category") == row["category"])[column].drop_nulls().to_numpy())
        if len(values) > SHOWN:
            values = np.quantile(values, np.linspace(0, 1, SHOWN))
        spread = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.42
        axes.scatter(values, place + spread, s=7, color=tone, alpha=0.28, linewidths=0)
        _mean(axes, row, column, tone, place, "o", 7.0)
        _mean(axes, row, f"{column}_matched", tone, place + 0.32, "D", 4.0)


def _mean(axes: Axes, row: dict[str, Any], column: str, tone: str, height: float, marker: str, size: float) -> None:
    """A mean with its interval; hollow where it is the accuracy-matched one."""
    mean, low, high = row.get(column), row.get(f"{column}_low"), row.get(f"{column}_high")
    if mean is None:
        return
    hollow = marker == "D"
    if low is not None and high is not None:
        axes.plot([low, high], [height, height], color=tone, linewidth=1.1 if hollow else 2.6, solid_capstyle="butt")
    face, edge = (GROUND.light, tone) if hollow else (tone, GROUND.light)
    axes.plot(
        [mean], [height], marker, markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.2
    )
