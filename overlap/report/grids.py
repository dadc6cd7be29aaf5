"""The tables of the page: columns by column, small enough to travel in one file, with what each column means.

The data are JSON by column (texts by dictionary, fractions to five decimals), compressed with gzip and written in
base64; the page's script unpacks them. Tables beyond `MOST_ROWS` are cut to their most telling rows, and the page
says so.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from overlap.report.columns import MEANINGS
from overlap.report.palette import in_order
from overlap.report.results import Results

MOST_ROWS = 120_000
"""Rows of one table a page carries: all pairs of 300 models twice over; beyond, small machines grow slow."""
DECIMALS = 5


@dataclass(frozen=True)
class Grid:
    """How one table appears."""

    name: str
    title: str
    first: tuple[str, ...]
    """Columns shown before 'all columns' is asked for."""
    sort: str
    """Column it is sorted by at first, with a minus for descending."""
    telling: str
    """Column whose ends are kept when the table is cut."""
    about: str


GRIDS = (
    Grid(
        "models",
        "Checkpoints",
        ("model", "accuracy", "top5", "nll", "ece", "temperature", "dataset", "framework", "architecture"),
        "-accuracy",
        "accuracy",
        "One row per complete checkpoint.",
    ),
    Grid(
        "pairs",
        "Pairs",
        ("model_a", "model_b", "category", "error_inconsistency", "kappa", "kappa_low", "kappa_high", "disagreement"),
        "kappa",
        "kappa",
        "One row per pair, from hard predictions on every image.",
    ),
    Grid(
        "pair_ensembles",
        "Ensembles of two",
        ("model_a", "model_b", "combiner", "accuracy", "gain_best", "gain_low", "gain_high", "conversion_rate"),
        "-gain_best",
        "gain_best",
        "One row per pair and combiner, out-of-fold calibrated.",
    ),
    Grid(
        "ensembles",
        "Greedy searches, step by step",
        ("search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"),
        "",
        "step",
        "One row per step; gains are over the best single model, on the test split.",
    ),
    Grid(
        "categories",
        "Categories of pairs",
        (
            "category",
            "pairs",
            "models",
            "error_inconsistency",
            "error_inconsistency_low",
            "error_inconsistency_high",
            "kappa",
            "kappa_low",
            "kappa_high",
            "kappa_matched",
            "gain_best",
        ),
        "",
        "error_inconsistency",
        "Means over pairs; intervals by bootstrap over models and images.",
    ),
)


def cut(table: pl.DataFrame, grid: Grid, most: int = MOST_ROWS) -> pl.DataFrame:
    """At most `most` rows: those at both ends of the telling column, in the table's own order."""
    if table.height <= most:
        return table
    half = most // 2
    order = table.with_row_index("_row").sort(grid.telling, nulls_last=True).filter(pl.col(grid.telling).is_not_null())
    rows = pl.concat([order.head(most - half), order.tail(half)])["_row"].unique().sort()
    return table[rows]


def packed(results: Results, most: int = MOST_ROWS) -> str:
    """All tables of the page, as base64 of gzip of JSON; equal tables give equal text."""
    shown = {}
    tables = results.shown()
    for grid in GRIDS:
        if grid.name in tables:
            whole = in_order(tables[grid.name]) if grid.name == "categories" else tables[grid.name]
            table = cut(whole, grid, most)
            shown[grid.name] = {
                "title": grid.title,
                "rows": table.height,
                "whole": whole.height,
                "first": [name for name in grid.first if name in table.columns],
                "sort": grid.sort,
                "columns": [_column(table[name]) for name in table.columns],
            }
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _column(column: pl.Series) -> dict[str, object]:
    about = {"name": column.name, "meaning": MEANINGS.get(column.name, "")}
    if column.dtype.is_integer():
        return about | {"kind": "integer", "values": column.to_list()}
    if column.dtype.is_float():
        rounded = column.cast(pl.Float64).round(DECIMALS)
        return about | {"kind": "number", "values": [_finite(value) for value in rounded]}
    texts = column.cast(pl.String)
    words: Mapping[str, int] = {word: code for code, word in enumerate(texts.drop_nulls().unique().sort())}
    return about | {"kind": "text", "words": list(words), "values": [words.get(value, -1) for value in texts]}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
