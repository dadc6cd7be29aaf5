"""Numbers as a reader is shown them; a dash where there is none."""

from __future__ import annotations

from typing import Any


def percent(value: Any) -> str:
    """A fraction as percent with one decimal, a dash where absent."""
    return "–" if value is None else f"{100 * float(value):.1f}%"


def points(value: Any) -> str:
    """A difference of fractions as signed percentage points with one decimal."""
    return "–" if value is None else f"{100 * float(value):+.1f}".replace("-", "−")


def number(value: Any, decimals: int = 2) -> str:
    """A plain number, a dash where absent."""
    return "–" if value is None else f"{float(value):.{decimals}f}".replace("-", "−")


def degrees(value: Any) -> str:
    """An angle with one decimal, a dash where absent."""
    return "–" if value is None else f"{float(value):.1f}°".replace("-", "−")


def amount(value: Any) -> str:
    """A positive quantity to three digits, in thousands, millions or billions where it is large."""
    if value is None:
        return "–"
    size = float(value)
    for bound, unit, scale in ((1e9, " billion", 1e9), (1e6, " million", 1e6), (1e4, " thousand", 1e3)):
        if size >= bound:
            return f"{size / scale:.3g}{unit}"
    return f"{size:.3g}" if size < 100 else f"{size:,.0f}"
