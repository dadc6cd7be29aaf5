"""Models by groups of classes: where each is better or worse than the model and the group alone would give.

With many models, those with the largest differences are drawn, models of like profile beside each other.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from overlap.report.canvas import canvas, to_svg
from overlap.report.drawings.intervals import short
from overlap.report.palette import MUTED, ON_IMAGE

MOST_MODELS = 40
MOST_GROUPS = 24
SIGNIFICANT = 0.05


def draw(table: pl.DataFrame, name: str) -> str:
    """A cell a model and group; a mark where q < 0.05."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    size = pl.col("difference").abs()
    groups = table.group_by("group").agg(size.mean()).sort("difference", "group", descending=[True, False])
    chosen = sorted(groups["group"].head(MOST_GROUPS).to_list())
    table = table.filter(pl.col("group").is_in(chosen))
    models = table.group_by("model").agg(size.mean()).sort("difference", "model", descending=[True, False])
    names = sorted(models["model"].head(MOST_MODELS).to_list())
    rows, columns = {one: at for at, one in enumerate(names)}, {one: at for at, one in enumerate(chosen)}
    cells, marks = np.full((len(names), len(chosen)), np.nan), np.zeros((len(names), len(chosen)), bool)
    for model, group, value, q in table.select("model", "group", "difference", "q_value").iter_rows():
        if model in rows and value is not None:
            cells[rows[model], columns[group]] = value
            marks[rows[model], columns[group]] = q is not None and q < SIGNIFICANT
    if len(names) > 2:
        order = leaves_list(linkage(np.nan_to_num(cells), "average", optimal_ordering=True))
        cells, marks, names = cells[order], marks[order], [names[place] for place in order]
    reach = float(np.nanmax(np.abs(cells))) if np.isfinite(cells).any() else 1.0
    tall = 1.55 + 0.2 * len(names)
    with canvas(7.4, tall) as figure:
        axes = figure.add_axes((0.36, 0.5 / tall, 0.62, 0.2 * len(names) / tall))
        image = axes.imshow(100 * cells, cmap="RdBu_r", vmin=-100 * reach, vmax=100 * reach, aspect="auto")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(chosen)))
        axes.set_xticklabels([short(one, 18) for one in chosen], rotation=40, ha="left", fontsize=8)
        axes.set_yticks(range(len(names)))
        axes.set_yticklabels([short(one) for one in names], fontsize=8)
        y, x = np.nonzero(marks)
        axes.plot(x, y, ".", color=ON_IMAGE, markersize=3)
        bar = figure.add_axes((0.36, 0.3 / tall, 0.3, 0.09 / tall))
        figure.colorbar(image, cax=bar, orientation="horizontal")
        bar.grid(False)
        bar.tick_params(labelsize=7)
        figure.text(0.68, 0.31 / tall, "accuracy − expected (points)", fontsize=8, color=MUTED.light)
        return to_svg(figure, name)
