"""A quantity of every pair against another, a mark a pair, coloured by category, with a fitted line if there is one."""

from __future__ import annotations

import numpy as np
import polars as pl

from overlap.report import measures
from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.drawings.gains import scatter
from overlap.report.palette import INK


def draw(
    table: pl.DataFrame,
    columns: tuple[str, str],
    labels: tuple[str, str],
    name: str,
    line: tuple[float, float] | None = None,
) -> str:
    """One panel; rows without either value are left out.

    Args:
        table: with `category` and both columns.
        columns: across and up.
        labels: names of the two axes.
        name: prefix of the drawing's ids.
        line: slope, and value at the mean of the column across.
    """
    across, up = columns
    known = table.drop_nulls([across, up]).filter(pl.col(across).is_not_nan() & pl.col(up).is_not_nan())
    with canvas(7.4, 3.4) as figure:
        axes = figure.add_axes((0.09, 0.15, 0.89, 0.74))
        scatter(axes, known, across, up)
        if line is not None and known.height:
            values = known[across].to_numpy()
            reach = np.array([values.min(), values.max()])
            axes.plot(reach, line[1] + line[0] * (reach - values.mean()), color=INK.light, linewidth=1.4)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        percent_axis(axes, x=measures.percent(across), y=up == "conversion_rate")
        handles, names = axes.get_legend_handles_labels()
        figure.legend(
            *(handles, names),
            loc="upper left",
            ncols=max(1, len(names)),
            bbox_to_anchor=(0.06, 1.01),
            columnspacing=1.1,
            handletextpad=0.1,
        )
        return to_svg(figure, name)
