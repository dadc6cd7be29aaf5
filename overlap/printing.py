"""How verbs print what was asked for: as text, or as JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl


def show(value: Any, as_json: bool, text: Callable[[], str]) -> None:
    """Print a value as JSON, or else its text, which is made only then."""
    click.echo(json.dumps(value) if as_json else text())


def as_text(table: pl.DataFrame) -> str:
    """A frame as text: every row, and every column that says anything."""
    import polars as pl

    told = table.select(column for column in table if column.null_count() < len(column))
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=10_000,
        fmt_str_lengths=200,
        tbl_formatting="NOTHING",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(told)
