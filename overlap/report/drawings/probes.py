"""Accuracy of linear probes on the features of two models: mixed at fixed dimension, or ranked and cut short.

A faint line is one pair (draws averaged), a strong one the mean over the pairs of a category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.palette import MUTED, colour, in_order, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTROLS = {"pair": "two models", "halves": "two halves of one", "reinit": "re-initialised", "shuffled": "shuffled"}
ORDERS = {"covariance": "ranked by covariance", "random": "in random order", "base": "the base model alone"}
FAINT = 60
"""Single pairs drawn behind a panel's means."""


def mixing(table: pl.DataFrame, name: str) -> str:
    """Accuracy against the share of the other model's features, a panel a control."""
    kinds = [kind for kind in CONTROLS if kind in set(table["control"])]
    panels = [(CONTROLS[kind], table.filter(pl.col("control") == kind)) for kind in kinds]
    return _draw(panels, "rate", "share of the other (%)", name, percent=True)


def compression(table: pl.DataFrame, name: str) -> str:
    """Accuracy against the number of features kept, a panel for each way of ranking them."""
    kinds = [kind for kind in ORDERS if kind in set(table["order"])]
    panels = [(ORDERS[kind], table.filter(pl.col("order") == kind)) for kind in kinds]
    return _draw(panels, "dimension", "features kept", name, percent=False)


def _draw(panels: list[tuple[str, pl.DataFrame]], across: str, words: str, name: str, *, percent: bool) -> str:
    with canvas(7.4, 3.2) as figure:
        every = figure.subplots(1, max(1, len(panels)), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(left=0.085, right=0.98, top=0.82, bottom=0.16, wspace=0.08)
        seen: dict[str, str] = {}
        for axes, (title, table) in zip(every, panels, strict=False):
            seen |= _panel(axes, table, across)
            axes.set_title(title, fontsize=8.5)
            axes.set_xlabel(words)
            if percent:
                axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
                percent_axis(axes, x=True)
        _frame(every[0], pl.concat([table for _, table in panels]) if panels else pl.DataFrame())
        every[0].set_ylabel("accuracy of the probe (%)")
        percent_axis(every[0], y=True)
        every[0].tick_params(axis="y", colors=MUTED.light)
        for category, tone in seen.items():
            every[0].plot([], [], "o-", color=tone, markersize=4, label=category)
        figure.legend(
            *every[0].get_legend_handles_labels(),
            loc="upper left",
            ncols=max(1, len(seen)),
            bbox_to_anchor=(0.06, 1.01),
            columnspacing=1.1,
        )
        return to_svg(figure, name)


def _frame(axes: Axes, table: pl.DataFrame) -> None:
    """Leave the depth to which shuffled features fall outside the frame: it would flatten all that matters."""
    if "control" not in table.columns:
        return
    told = table.filter(pl.col("control") != "shuffled")["accuracy"].drop_nulls().to_numpy()
    if told.size and float(told.max()) > float(told.min()):
        reach = float(told.max() - told.min())
        axes.set_ylim(told.min() - 0.35 * reach, told.max() + 0.08 * reach)


def _panel(axes: Axes, table: pl.DataFrame, across: str) -> dict[str, str]:
    """Draw one panel; what its colours stand for."""
    seen = {}
    single = table.group_by("base", "other", "category", across, maintain_order=True).agg(pl.col("accuracy").mean())
    pairs = single.select("base", "other").unique(maintain_order=True).head(FAINT)
    for base, other in pairs.iter_rows():
        rows = single.filter((pl.col("base") == base) & pl.col("other").eq_missing(other)).sort(across)
        axes.plot(rows[across], rows["accuracy"], color=colour(rows["category"][0]).light, linewidth=0.7, alpha=0.3)
    order = in_order(single.select("category").unique(maintain_order=True))["category"].to_list()
    for category in order:
        own = single.filter(pl.col("category").eq_missing(pl.lit(category, dtype=pl.String)))
        means = own.group_by(across).agg(pl.col("accuracy").mean()).sort(across)
        tone = colour(category).light
        marks = "o-" if means.height <= 8 else "-"
        axes.plot(means[across], means["accuracy"], marks, color=tone, markersize=4, linewidth=1.7)
        seen[label(category)] = tone
    return seen
