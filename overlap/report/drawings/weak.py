"""For every strong model, the share of weaker partners that make a better ensemble with it."""

from __future__ import annotations

import polars as pl

from overlap.report.canvas import MANY, canvas, percent_axis, to_svg
from overlap.report.palette import ACCENT, MUTED


def draw(table: pl.DataFrame, name: str) -> str:
    """Two panels over the strong model's accuracy: the share that helps, and the mean gain.

    Args:
        table: `weak_helps.parquet` without its last row.
        name: prefix of the drawing's ids.
    """
    known = table.drop_nulls(["accuracy", "share"])
    with canvas(7.4, 3.1) as figure:
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.95, bottom=0.16, wspace=0.22)
        for axes, column, words in ((left, "share", "weaker models that help (%)"),
                                    (right, "mean_gain", "mean gain over the strong (points)")):  # fmt: skip
            rows = known.drop_nulls([column])
            axes.scatter(
                rows["accuracy"].to_numpy(),
                rows[column].to_numpy(),
                s=16,
                color=ACCENT.light,
                alpha=0.65,
                linewidths=0,
                rasterized=rows.height > MANY,
            )
            axes.axhline(0.5 if column == "share" else 0.0, color=MUTED.light, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set_ylabel(words)
            axes.set_xlabel("accuracy of the strong model (%)")
            percent_axis(axes, x=True)
            percent_axis(axes, y=True, signed=column != "share")
        left.set_ylim(-0.04, 1.04)
        return to_svg(figure, name)
