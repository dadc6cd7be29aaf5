"""What every worker did when: a row a worker, a bar a lease, weights being loaded lighter than forward passes."""

from __future__ import annotations

import polars as pl

from overlap.report.canvas import MANY, canvas, to_svg
from overlap.report.palette import ACCENT, BAND, MUTED, RULE
from overlap.report.schedule import balance, began, workers

MOST = 64
"""Workers that are drawn: the busiest and the least busy ones, where there are more."""


def draw(schedule: pl.DataFrame, name: str) -> str:
    """Workers from top to bottom by name, seconds from the fan-out's beginning to the right, units at the end."""
    table = workers(schedule)
    if table.height > MOST:
        ranked = table.sort("work", "worker")
        table = pl.concat([ranked.head(MOST // 2), ranked.tail(MOST // 2)]).sort("worker")
    whole = balance(schedule)
    back = schedule.filter(~pl.col("lost"))
    start = began(schedule)
    tall = 0.95 + 0.22 * table.height
    with canvas(7.4, tall) as figure:
        axes = figure.add_axes((0.2, 0.5 / tall, 0.7, 1 - 0.82 / tall))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        for place, row in enumerate(table.to_dicts()):
            rows = back.filter(pl.col("worker") == row["worker"]).sort("finished")
            first = rows["started"].to_numpy() - start
            loaded = rows["loading"].to_numpy()
            computed = rows["computing"].to_numpy()
            stored = rows["storing"].to_numpy()
            for left, width, tone in (
                (first, loaded, BAND),
                (first + loaded, computed, ACCENT),
                (first + loaded + computed, stored, MUTED),
            ):
                bars = list(zip(left.tolist(), width.tolist(), strict=True))
                drawn = axes.broken_barh(bars, (place - 0.36, 0.72), facecolors=tone.light, linewidth=0)
                drawn.set_rasterized(back.height > MANY)
            last = row["last"]
            axes.annotate(
                f"{row['units']:,}", (last, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5
            )
        if whole is not None:
            axes.axvline(whole.ideal, color=MUTED.light, linewidth=0.9, linestyle=(0, (4, 3)))
            axes.set_xlim(0, whole.makespan * 1.02 or 1.0)
        for tone, text in ((BAND, "weights"), (ACCENT, "forward passes"), (MUTED, "storing")):
            axes.plot([], [], "s", color=tone.light, markeredgecolor=RULE.light, label=text)
        axes.plot([], [], color=MUTED.light, linewidth=0.9, linestyle=(0, (4, 3)), label="ideal end")
        axes.set_yticks(range(table.height))
        axes.set_yticklabels(table["worker"].to_list(), fontsize=7.5)
        axes.set_ylim(table.height - 0.4, -0.6)
        axes.set_xlabel("seconds since the fan-out began; units at the end of each row", fontsize=8)
        figure.legend(loc="upper left", ncols=4, bbox_to_anchor=(0.01, 1.0), handletextpad=0.2, columnspacing=1.2)
        return to_svg(figure, name)
