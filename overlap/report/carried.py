"""The tables a page carries: cut to what a reader can use where they are large, each packed by itself.

Guarantees that what is left out is said in the header of the packed table (`whole`, `kept`, `left_out`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from overlap.report.grids import GRIDS, SPARING, Grid
from overlap.report.meanings import meaning
from overlap.report.packing import packed
from overlap.report.palette import in_order
from overlap.report.results import Results

SIGNIFICANT = 0.05


def cut(table: pl.DataFrame, grid: Grid, most: int | None = None) -> tuple[pl.DataFrame, str]:
    """At most `most` rows (the grid's own number without one), in the table's order, and which they are in words.

    Scores of classes keep those that are significant or the best of the zoo; images that drive pairs keep whole ranks;
    other tables keep both ends of their telling column.
    """
    most = grid.most if most is None else most
    said = ""
    if grid.name == "class_scores":
        kept = table.filter((pl.col("q_value") < SIGNIFICANT) | pl.col("best_of_zoo").fill_null(False))
        said = "" if kept.height == table.height else "those that are significant (q < 0.05) or the best of the zoo"
        table = kept
        if table.height > most:
            table = table.with_row_index("_row").sort(pl.col("score").abs(), descending=True).head(most).sort("_row")
            return table.drop("_row"), "the furthest from expected of those"
        return table, said
    if table.height <= most:
        return table, ""
    if grid.name == "driving":
        counts = table["rank"].value_counts().sort("rank")
        ranks = counts.filter(pl.col("count").cum_sum() <= most)["rank"].to_list()
        if ranks:
            return table.filter(pl.col("rank").is_in(ranks)), f"the {len(ranks)} foremost of each pair"
    if not grid.telling:
        return table.head(most), "the first"
    half = most // 2
    order = table.with_row_index("_row").sort(grid.telling, nulls_last=True).filter(pl.col(grid.telling).is_not_null())
    rows = pl.concat([order.head(most - half), order.tail(half)])["_row"].unique().sort()
    return table[rows], f"both ends by {grid.telling.replace('_', ' ')}"


def carried(results: Results, most: int | None = None) -> Mapping[str, str]:
    """Every table of the page that has rows, packed, by name; `most` rows of each, for a smaller page."""
    return dict(_carried(results, most))


def _carried(results: Results, most: int | None) -> Iterator[tuple[str, str]]:
    tables = results.shown()
    for grid in GRIDS:
        if grid.name not in tables:
            continue
        whole = tables[grid.name]
        whole = in_order(whole) if "category" in whole.columns and whole.height <= 1000 else whole
        table, kept = cut(whole, grid, most)
        left_out = [name for name in grid.spare if name in table.columns] if table.height > SPARING else []
        table = table.drop(left_out)
        if grid.name == "driving":
            table = table.with_columns(pl.col("^confidence_[ab]$").round(2))
        about = {
            "title": grid.title,
            "whole": whole.height,
            "kept": kept,
            "left_out": left_out,
            "first": [name for name in grid.first if name in table.columns],
            "sort": grid.sort if grid.sort.removeprefix("-") in table.columns else "",
        }
        yield grid.name, packed(table, {name: meaning(name) for name in table.columns}, about)
