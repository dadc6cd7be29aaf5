"""What the benchmarks say, as rows: overlap beside what its user would run instead, beside the limit; and growth.

A ratio is made of two figures of one round, so that what slows the machine for a while slows both; its spread is that
of the rounds. A figure that was taken once stands beside every round.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

WIDTH = 170


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def show(self) -> str:
        if self.low == self.high:
            return number(self.median)
        return f"{number(self.median)} ({number(self.low)}–{number(self.high)})"

    def as_time(self) -> str:
        """Of seconds."""
        scale, unit = next((each for each in ((1.0, "s"), (1e3, "ms")) if self.median * each[0] >= 1), (1e6, "µs"))
        return f"{Spread(*(value * scale for value in (self.median, self.low, self.high))).show()} {unit}"


def number(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(over: Sequence[float], under: Sequence[float]) -> Spread | None:
    """Quotients of figures of the same rounds; None where either side has none."""
    if not over or not under:
        return None
    rounds = max(len(over), len(under))
    assert {len(over), len(under)} <= {1, rounds}, "figures of different rounds"
    first, second = ([*values] * (rounds if len(values) == 1 else 1) for values in (over, under))
    return Spread.of([one / other for one, other in zip(first, second, strict=True)])


@dataclass(frozen=True)
class Comparison:
    """One stage of overlap beside one thing that is run instead, or beside its limit alone."""

    stage: str
    what: str
    ours: Sequence[float] = ()
    """Seconds, of each round."""
    beside: str = ""
    """What is run instead."""
    settings: str = ""
    """How: the best that is reasonable."""
    theirs: Sequence[float] = ()
    """Seconds, of the same rounds or once."""
    limit: str = ""
    """The bare arithmetic, or the bare bytes."""
    bare: Sequence[float] = ()
    wanted: str = ""
    """What must be reached: `faster`, `of the limit`, or `seconds`."""
    bound: float = 0.0
    absent: str = ""
    """Why a baseline has no figure, and what would give it one."""

    @property
    def faster(self) -> Spread | None:
        """How often overlap is done while the other is at it."""
        return ratio(self.theirs, self.ours)

    @property
    def of_limit(self) -> Spread | None:
        """Time over that of the limit."""
        return ratio(self.ours, self.bare)

    @property
    def reached(self) -> bool | None:
        """Whether the median is what is wanted; None where nothing is, or nothing was measured."""
        if not self.wanted or not self.ours:
            return None
        if self.wanted == "faster":
            return None if self.faster is None else self.faster.median >= self.bound
        found = self.of_limit if self.wanted == "of the limit" else Spread.of(self.ours)
        return None if found is None else found.median <= self.bound

    def record(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        spreads = {"faster": self.faster, "of_limit": self.of_limit}
        told = {name: None if found is None else asdict(found) for name, found in spreads.items()}
        return {"kind": "comparison", **_plain(asdict(self)), **told, "reached": self.reached}


@dataclass(frozen=True)
class Growth:
    """How one figure grows with one size."""

    stage: str
    what: str
    axis: str
    sizes: Sequence[float]
    figures: Sequence[float]
    unit: str
    expected: str = ""
    """The exponent that theory gives, in words."""

    @property
    def exponent(self) -> tuple[float, float]:
        """Slope of the least-squares line through the logarithms, and its standard error."""
        x, y = np.log(np.array(self.sizes, float)), np.log(np.array(self.figures, float))
        x = x - x.mean()
        slope = float((x * y).sum() / (x * x).sum())
        left = y - y.mean() - slope * x
        freedom = len(x) - 2
        error = float(np.sqrt((left * left).sum() / freedom / (x * x).sum())) if freedom > 0 else float("nan")
        return slope, error

    def record(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        slope, error = self.exponent
        return {
            "kind": "growth",
            **_plain(asdict(self)),
            "exponent": slope,
            "standard_error": error if math.isfinite(error) else None,
        }


@dataclass(frozen=True)
class Said:
    """A figure that is neither: a count that was checked, a share, a peak of memory."""

    stage: str
    what: str
    value: str
    numbers: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {"kind": "said", **asdict(self)}


Found = Comparison | Growth | Said


def read(record: dict[str, Any]) -> Found:
    """A row as `record` wrote it."""
    kinds: dict[str, type[Any]] = {"comparison": Comparison, "growth": Growth, "said": Said}
    kind = kinds[record["kind"]]
    row: Found = kind(**{name: record[name] for name in kind.__dataclass_fields__})
    return row


def show(found: Sequence[Found]) -> None:
    """Print all rows: one table of comparisons with its notes, one of growth, and lines for the rest."""
    console = Console(width=WIDTH)
    compared = [row for row in found if isinstance(row, Comparison)]
    if compared:
        console.print(_comparisons(compared))
        for number, settings in enumerate(_notes(compared), 1):
            console.print(f"[{number}] {settings}", markup=False, highlight=False)
    grown = [row for row in found if isinstance(row, Growth)]
    if grown:
        console.print(_growths(grown))
    for row in found:
        if isinstance(row, Said):
            console.print(f"{row.stage}: {row.what}: {row.value}", markup=False, highlight=False)


def _comparisons(rows: Sequence[Comparison]) -> Table:
    title = "overlap beside what is run instead; medians of rounds (least–greatest)"
    table = Table(title=title, title_justify="left", expand=True, show_lines=True)
    table.add_column("stage", ratio=5)
    for column, share in (("overlap", 3), ("beside", 4), ("its time", 3), ("overlap is × faster", 3)):
        table.add_column(column, ratio=share)
    for column, share in (("limit", 2), ("× limit", 2), ("wanted", 2)):
        table.add_column(column, ratio=share)
    notes = _notes(rows)
    last = ("", "")
    for row in rows:
        name = f"{row.stage}: {row.what}" if (row.stage, row.what) != last else ""
        last = (row.stage, row.what)
        note = f" [{notes.index(row.settings) + 1}]" if row.settings else ""
        table.add_row(
            name,
            Spread.of(row.ours).as_time() if row.ours else "",
            f"{row.beside}{note}".replace("[", r"\["),
            row.absent or (Spread.of(row.theirs).as_time() if row.theirs else ""),
            row.faster.show() if row.faster else "",
            row.limit,
            row.of_limit.show() if row.of_limit else "",
            _wanted(row),
        )
    return table


def _wanted(row: Comparison) -> str:
    if not row.wanted:
        return ""
    text = {"faster": f"≥ {row.bound:g} ×", "of the limit": f"≤ {row.bound:g} × limit", "seconds": f"≤ {row.bound:g} s"}
    told = {True: "yes", False: "NO", None: "not measured"}
    return f"{text[row.wanted]}: {told[row.reached]}"


def _growths(rows: Sequence[Growth]) -> Table:
    table = Table(title="growth: exponent of the size, with its standard error", title_justify="left", show_lines=True)
    for column in ("stage", "against", "sizes", "figures", "exponent", "in theory"):
        table.add_column(column, overflow="fold")
    for row in rows:
        slope, error = row.exponent
        table.add_row(
            f"{row.stage}: {row.what}",
            row.axis,
            ", ".join(f"{size:,g}" for size in row.sizes),
            ", ".join(f"{figure:.3g}" for figure in row.figures) + f" {row.unit}",
            f"{slope:.2f} ± {error:.2f}",
            row.expected,
        )
    return table


def _notes(rows: Sequence[Comparison]) -> list[str]:
    return [*dict.fromkeys(row.settings for row in rows if row.settings)]


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: [float(one) for one in value] if _is_figures(value) else value for name, value in fields.items()}


def _is_figures(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
