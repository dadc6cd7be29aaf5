"""One sentence about one figure, and the words its numbers are put in.

A sentence stands `beyond` chance where a test rejects (p < 0.05) or a 95% interval excludes the null, `within` where it
does not, and is `untested` where the tables hold neither: then it only describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

SIGNIFICANT = 0.05
Standing = Literal["beyond", "within", "untested"]


@dataclass(frozen=True)
class Sentence:
    """What a figure shows here."""

    text: str
    standing: Standing = "untested"


def joined(parts: Iterable[str]) -> str:
    """Parts as one text, empty ones left out."""
    return " ".join(part for part in parts if part)


def listed(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def chance(p_value: float | None) -> tuple[str, Standing]:
    """Words about a p-value, and what it makes of the sentence."""
    if p_value is None:
        return "not tested", "untested"
    below = p_value < SIGNIFICANT
    rounded = (f"{p_value:.{digits}g}" for digits in (2, 3, 17))
    shown = next(text for text in rounded if (float(text) < SIGNIFICANT) == below)
    return f"p = {shown}" if p_value >= 0.001 else "p < 0.001", "beyond" if below else "within"


def over(low: float | None, high: float | None, null: float = 0.0) -> Standing:
    """What an interval makes of a sentence that says a value is not `null`."""
    if low is None or high is None:
        return "untested"
    return "beyond" if low > null or high < null else "within"


def within(low: Any, high: Any, show: Any) -> str:
    """An interval in brackets; empty where there is none."""
    return "" if low is None or high is None else f" ({show(low)} to {show(high)})"


def row_where(table: pl.DataFrame, **wanted: str | None) -> Mapping[str, Any] | None:
    """The first row whose texts are these; None where there is none, or the table lacks a column."""
    if any(name not in table.columns for name in wanted):
        return None
    for name, value in wanted.items():
        table = table.filter(pl.col(name).eq_missing(pl.lit(value, dtype=pl.String)))
    return table.row(0, named=True) if table.height else None


def median(table: pl.DataFrame | pl.LazyFrame, column: str) -> float | None:
    """The median of a column's known values."""
    rows = table.lazy()
    if column not in rows.collect_schema():
        return None
    known = rows.select(column).filter(pl.col(column).is_not_nan())
    value = known.select(pl.col(column).median()).collect(engine="streaming").item()
    return None if value is None else float(str(value))


def most(table: pl.DataFrame | pl.LazyFrame, column: str, *, least: bool = False) -> Mapping[str, Any] | None:
    """The row with the largest (or least) known value, the first of equals."""
    rows = table.lazy()
    if column not in rows.collect_schema():
        return None
    known = rows.filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan())
    end = pl.col(column).min() if least else pl.col(column).max()
    value = known.select(end).collect(engine="streaming").item()
    if value is None:
        return None
    return known.filter(pl.col(column) == value).head(1).collect(engine="streaming").row(0, named=True)


def share(part: int, whole: int) -> str:
    """A share in words: counts and percent."""
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.0%})" if whole else "")
