"""How a data set compares with the others of its study, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overlap.report.wording import number

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


def _told(row: Mapping[str, Any]) -> str:
    if row["rank_correlation"] is None:
        return f"none ({row['reason']})"
    within = f"{number(row['low'])} – {number(row['high'])}" if row["low"] is not None else row["reason"]
    return f"{number(row['rank_correlation'])} ({within})"
