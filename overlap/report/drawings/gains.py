"""What an ensemble of two gains against how differently the two err: one mark per pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from overlap.report.canvas import MANY, canvas, percent_axis, to_svg
from overlap.report.palette import CATEGORIES, INK, MUTED, colour, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONVERSIONS = (0.6, 0.75, 0.9)
"""Conversion rates whose guide lines are drawn."""


def joined(pairs: pl.DataFrame, pair_ensembles: pl.DataFrame) -> pl.DataFrame:
    """One row per pair: the mean of probabilities (else the first combiner), with category and inconsistency."""
    combiners = pair_ensembles["combiner"].unique(maintain_order=True).to_list()
    combiner = "mean_probability" if "mean_probability" in combiners else combiners[0]
    return pair_ensembles.filter(pl.col("combiner") == combiner).join(
        pairs.select("model_a", "model_b", "category", "error_inconsistency"), on=["model_a", "model_b"]
    )


def fitted(fits: pl.DataFrame, combiner: str) -> dict[str, Any] | None:
    """The line through all pairs under that combiner, None where there is none."""
    if fits.is_empty():
        return None
    rows = fits.filter((pl.col("combiner") == combiner) & (pl.col("group") == "all")).drop_nulls(["slope", "intercept"])
    return rows.row(0, named=True) if rows.height else None


def draw(pairs: pl.DataFrame, pair_ensembles: pl.DataFrame, fits: pl.DataFrame, name: str) -> str:
    """Two panels: gain over the mean of the two (the paper's), and over the better of the two (what pays)."""
    table = joined(pairs, pair_ensembles).filter(pl.col("category").fill_null("") != "duplicate")
    table = table.drop_nulls(["error_inconsistency", "gain_mean", "gain_best"])
    with canvas(7.4, 4.0) as figure:
        left, right = figure.subplots(1, 2, sharex=True)
        figure.subplots_adjust(left=0.085, right=0.985, top=0.84, bottom=0.125, wspace=0.2)
        line = fitted(fits, str(table["combiner"][0])) if table.height else None
        _scatter(left, table, "gain_mean", guides=line is None)
        if line is not None:
            _lines(left, line, 1.06 * float(np.max(table["error_inconsistency"].to_numpy())))
        _scatter(right, table, "gain_best", guides=False)
        left.set_ylabel("gain (percentage points)")
        left.set_title("over the mean of the two", fontsize=9, pad=11)
        right.set_title("over the better of the two", fontsize=9, pad=11)
        right.axhline(0, color=MUTED.light, linewidth=0.9)
        handles, names = left.get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="upper left",
            ncols=max(1, len(names)),
            bbox_to_anchor=(0.06, 1.01),
            columnspacing=1.1,
            handletextpad=0.1,
        )
        return to_svg(figure, name)


def scatter(axes: Axes, table: pl.DataFrame, across: str, column: str) -> None:
    """A mark a row, coloured by category; named for a legend."""
    kinds = [*CATEGORIES, *sorted({*table["category"].drop_nulls()} - set(CATEGORIES)), None]
    many = table.height > MANY
    for kind in kinds:
        rows = table.filter(pl.col("category").eq_missing(pl.lit(kind, dtype=pl.String)))
        if rows.is_empty():
            continue
        axes.scatter(
            rows[across].to_numpy(),
            rows[column].to_numpy(),
            s=2.5 if many else 12,
            color=colour(kind).light,
            alpha=0.25 if many else 0.6,
            linewidths=0,
            rasterized=many,
        )
        axes.plot([], [], "o", color=colour(kind).light, markersize=4, label=label(kind))


def _scatter(axes: Axes, table: pl.DataFrame, column: str, *, guides: bool) -> None:
    scatter(axes, table, "error_inconsistency", column)
    axes.set_xlabel("error inconsistency (% of images)")
    percent_axis(axes, x=True, y=True)
    percent_axis(axes, y=True, signed=True)
    if guides and not table.is_empty():
        widest = float(np.max(table["error_inconsistency"].to_numpy()))
        _guides(axes, 1.06 * widest)


def _lines(axes: Axes, line: dict[str, Any], right: float) -> None:
    """The fitted line, and the one that the identity alone gives at the mean conversion rate."""
    from matplotlib.lines import Line2D

    right = right or 0.01  # pairs that never differ
    reach = np.array([0.0, right])
    axes.set_xlim(-0.02 * right, right)
    axes.plot(reach, line["intercept"] + line["slope"] * reach, color=INK.light, linewidth=1.4)
    if line["identity_slope"] is not None:
        axes.plot(reach, line["identity_slope"] * reach, color=INK.light, linewidth=1.1, linestyle=(0, (4, 3)))
    handles = [
        Line2D([], [], color=INK.light, linewidth=1.4, label="fitted"),
        Line2D([], [], color=INK.light, linewidth=1.1, linestyle=(0, (4, 3)), label="identity alone"),
    ]
    axes.add_artist(axes.legend(handles=handles, loc="upper left", fontsize=7.5))


def _guides(axes: Axes, right: float) -> None:
    """Lines of constant conversion, each named where it leaves the panel."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top)
    right = right or 0.01  # pairs that never differ
    axes.set_xlim(-0.02 * right, right)
    for conversion in CONVERSIONS:
        slope = conversion - 0.5
        end = min(right, top / slope) if top > 0 else right
        axes.plot([0, end], [0, end * slope], color=MUTED.light, linewidth=0.8, linestyle=(0, (4, 3)))
        leaves_above = end < right
        axes.annotate(
            f"{conversion:.0%}",
            (end, end * slope),
            xytext=(0, 2) if leaves_above else (2, 0),
            textcoords="offset points",
            ha="center" if leaves_above else "left",
            va="bottom" if leaves_above else "center",
            fontsize=7.5,
            color=MUTED.light,
            annotation_clip=False,
        )
