"""How benchmarks print what they measured: medians with their spread, and the peak memory of this process."""

from __future__ import annotations

import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measured quantity, once for each round."""

    name: str
    values: Sequence[float]
    unit: str


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table of medians, minima and maxima."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("median", "min", "max"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (statistics.median(row.values), min(row.values), max(row.values))
        table.add_row(row.name, *(f"{float(figure):.3g} {row.unit}" for figure in figures))
    Console(width=110).print(table)


def peak_memory() -> float:
    """Peak resident memory of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
