"""Two measures of divergence by category of pair: means with 95% intervals over the spread of the single pairs.

Where a category has many pairs the marks behind its mean are evenly spaced quantiles of them, not a random draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from overlap.report import measures
from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.measures import MEASURES
from overlap.report.palette import GROUND, MUTED, colour, in_order, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 240
"""Marks for single pairs per category and panel."""
FEW = 60
"""Pairs of a category up to which they are drawn as vectors: six figures of thousands make a page heavy."""
GOLDEN = 0.6180339887498949


def means(categories: pl.DataFrame, further: pl.DataFrame) -> pl.DataFrame:
    """One row a category with `<measure>`, its ends, and `<measure>_matched`: both tables of means as one.

    Args:
        categories: `categories.parquet`, whose columns win.
        further: `divergence_categories.parquet`, long; may be empty.
    """
    if further.is_empty():
        return categories
    rows = {row["category"]: row for row in categories.to_dicts()}
    for row in further.filter(pl.col("selection").is_in(["all", "matched"])).to_dicts():
        held = rows.setdefault(row["category"], {"category": row["category"], "pairs": row["pairs"]})
        column = row["measure"] + ("_matched" if row["selection"] == "matched" else "")
        for name, value in ((column, row["mean"]), (f"{column}_low", row["low"]), (f"{column}_high", row["high"])):
            if held.get(name) is None:
                held[name] = value
    return pl.DataFrame(list(rows.values()), infer_schema_length=None)


def draw(pairs: pl.DataFrame, categories: pl.DataFrame, columns: tuple[str, str], name: str) -> str:
    """Two measures side by side; rows are the categories in the order in which training diverges.

    Args:
        pairs: with `category` and both columns; one that is absent leaves its panel to the means.
        categories: as `means` gives them.
        columns: names of the two measures.
        name: prefix of the drawing's ids.
    """
    rows = in_order(categories).to_dicts()
    with canvas(7.4, 1.15 + 0.5 * len(rows)) as figure:
        panels = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.2, right=0.98, top=1 - 0.3 / figure.get_figheight(), wspace=0.08)
        figure.subplots_adjust(bottom=0.62 / figure.get_figheight())
        for axes, column in zip(panels, columns, strict=True):
            _panel(axes, pairs, rows, column)
            axes.set_xlabel(measures.label(column))
            if measures.percent(column):
                percent_axis(axes, x=True)
            side = "right" if column not in MEASURES or MEASURES[column].differs > 0 else "left"
            axes.set_title(f"further {side}: errors differ more", color=MUTED.light, fontsize=8)
        left = panels[0]
        left.set_yticks(range(len(rows)))
        left.set_yticklabels([f"{label(row['category'])}\n{_count(row['pairs'])}" for row in rows], linespacing=1.25)
        left.set_ylim(len(rows) - 0.45, -0.55)
        return to_svg(figure, name)


def _count(pairs: int) -> str:
    return f"{pairs:,} pair" + ("" if pairs == 1 else "s")


def _panel(axes: Axes, pairs: pl.DataFrame, rows: list[dict[str, Any]], column: str) -> None:
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    for place, row in enumerate(rows):
        tone = colour(row["category"]).light
        held = pairs[column] if column in pairs.columns else pl.Series(column, [None] * pairs.height, pl.Float64)
        values = np.sort(held.filter(pairs["category"].eq_missing(row["category"])).drop_nulls().to_numpy())
        if len(values) > SHOWN:
            values = np.quantile(values, np.linspace(0, 1, SHOWN))
        spread = (np.arange(len(values)) * GOLDEN % 1 - 0.5) * 0.42
        axes.scatter(values, place + spread, s=7, color=tone, alpha=0.28, linewidths=0, rasterized=len(values) > FEW)
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
