"""The most accurate ensemble within a budget, a panel for each kind of cost: accuracy against cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.palette import ACCENT, BAND, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNITS = {"parameters": "parameters", "gflops": "GFLOPs an image", "milliseconds": "milliseconds an image"}


def draw(table: pl.DataFrame, name: str) -> str:
    """Budgets in ascending order; steps, since between two budgets the cheaper ensemble stays the best known."""
    costs = [cost for cost in UNITS if cost in set(table["cost"])]
    costs += sorted(set(table["cost"].drop_nulls()) - set(costs))
    with canvas(7.4, 2.9) as figure:
        panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(left=0.085, right=0.98, top=0.94, bottom=0.17, wspace=0.08)
        for axes, cost in zip(panels, costs, strict=True):
            _panel(axes, table.filter(pl.col("cost") == cost).drop_nulls(["total", "accuracy_test"]).sort("total"))
            axes.set_xlabel(UNITS.get(cost, cost))
        panels[0].set_ylabel("accuracy, test split (%)")
        percent_axis(panels[0], y=True)
        return to_svg(figure, name)


def _panel(axes: Axes, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        return
    from matplotlib.ticker import EngFormatter, NullFormatter

    cost, test = rows["total"].to_numpy(), rows["accuracy_test"].to_numpy()
    # The single model that gains are over has the same accuracy for every row: the gain's middle lies above it.
    known = rows.drop_nulls(["gain_low", "gain_high"])
    if known.height:
        middle = (known["gain_low"] + known["gain_high"]).to_numpy() / 2
        low = known["accuracy_test"].to_numpy() - middle + known["gain_low"].to_numpy()
        high = known["accuracy_test"].to_numpy() - middle + known["gain_high"].to_numpy()
        axes.fill_between(known["total"].to_numpy(), low, high, step="post", color=BAND.light, linewidth=0)
    axes.step(cost, test, where="post", color=ACCENT.light, linewidth=1.6)
    axes.plot(cost, test, "o", color=ACCENT.light, markersize=4.5)
    if rows["total"].min() and cost.max() / max(cost.min(), 1e-12) > 20:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(axis="x", colors=MUTED.light, labelsize=8)
