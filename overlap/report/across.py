"""How a data set compares with the others of its study, as a terminal, the page and MLflow show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from overlap.report.wording import number

if TYPE_CHECKING:
    import polars as pl

STATISTICS = {
    "kappa": "κ",
    "error_inconsistency": "error inconsistency",
    "gain_best": "gain of the pair's ensemble over the better model",
}
"""What is compared of each pair."""
NAMES = {"kappa": "κ", "error_inconsistency": "EI", "gain_best": "gain"}


def across_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rank correlations of pairs between data sets, a line for each two; empty without rows.

    Args:
        rows: of the summary table (`analysis.across.SUMMARY_SCHEMA`).
    """
    told: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        told.setdefault((row["data_x"], row["data_y"]), []).append(f"{NAMES[row['statistic']]} {_told(row)}")
    return "\n".join(f"Rank correlation of pairs, {x} and {y}:  {';  '.join(parts)}" for (x, y), parts in told.items())


def across_rows(data: str, table: pl.DataFrame | None) -> list[dict[str, str]]:
    """What the page shows, a row for each other data set and statistic; nothing where nothing was compared.

    Args:
        data: the data set that the page is about.
        table: rows of the summary table that name it.
    """
    return [
        {
            "other": _other(data, row),
            "statistic": STATISTICS[row["statistic"]],
            "models": f"{row['models']:,}",
            "pairs": f"{row['pairs']:,}",
            "correlation": number(row["rank_correlation"]),
            "interval": "–" if row["low"] is None else f"{number(row['low'])} – {number(row['high'])}",
            "reason": row["reason"] or "",
        }
        for row in _rows(table)
    ]


def across_scalars(data: str, table: pl.DataFrame | None) -> dict[str, float]:
    """Rank correlations and their intervals by name, what is null left out."""
    return {
        f"across/{_other(data, row)}/{row['statistic']}{suffix}": row[column]
        for row in _rows(table)
        for suffix, column in (("", "rank_correlation"), ("_low", "low"), ("_high", "high"))
        if row[column] is not None
    }


def _rows(table: pl.DataFrame | None) -> list[dict[str, Any]]:
    return [] if table is None else table.to_dicts()


def _other(data: str, row: Mapping[str, Any]) -> str:
    return str(row["data_y"] if row["data_x"] == data else row["data_x"])


def _told(row: Mapping[str, Any]) -> str:
    if row["rank_correlation"] is None:
        return f"none ({row['reason']})"
    within = f"{number(row['low'])} – {number(row['high'])}" if row["low"] is not None else row["reason"]
    return f"{number(row['rank_correlation'])} ({within})"
