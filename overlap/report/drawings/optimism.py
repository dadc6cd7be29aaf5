"""What a search reports on the images it chose on, beside what it reaches on those it never saw."""

from __future__ import annotations

import polars as pl

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.drawings.intervals import short
from overlap.report.palette import ACCENT, GROUND, MUTED

MOST = 24


def draw(table: pl.DataFrame, name: str) -> str:
    """A row a search, the best on the selection split first: hollow where it chose, full where it is tested."""
    rows = table.drop_nulls(["accuracy_select", "accuracy_test"]).sort(
        ["accuracy_select", "search"], descending=[True, False]
    )
    rows = rows.head(MOST)
    tall = 0.95 + 0.26 * max(1, rows.height)
    with canvas(7.4, tall) as figure:
        axes = figure.add_axes((0.36, 0.56 / tall, 0.62, 1 - 0.9 / tall))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        for place, row in enumerate(rows.to_dicts()):
            select, test = row["accuracy_select"], row["accuracy_test"]
            axes.plot([test, select], [place, place], color=MUTED.light, linewidth=1.4)
            axes.plot([select], [place], "o", markersize=6, markerfacecolor=GROUND.light, markeredgecolor=MUTED.light)
            axes.plot([test], [place], "o", markersize=6.5, color=ACCENT.light)
        axes.plot([], [], "o", markersize=6, markerfacecolor=GROUND.light, markeredgecolor=MUTED.light,
                  label="selection split")  # fmt: skip
        axes.plot([], [], "o", markersize=6.5, color=ACCENT.light, label="test split")
        axes.set_yticks(range(rows.height))
        axes.set_yticklabels([short(f"{row['search']}") for row in rows.to_dicts()], fontsize=8)
        axes.set_ylim(rows.height - 0.4, -0.6)
        axes.set_xlabel("accuracy (%)")
        percent_axis(axes, x=True)
        figure.legend(loc="upper left", ncols=2, bbox_to_anchor=(0.01, 1.0), handletextpad=0.1, columnspacing=1.2)
        return to_svg(figure, name)
