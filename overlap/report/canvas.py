"""From a matplotlib figure to one SVG text: no pyplot, no display, no date, no external font or link.

Guarantees equal bytes for equal drawings. Text stays text, so that it can be searched, read aloud and set in the page's
own typeface; its measured widths are DejaVu Sans's, which is wider than what a browser usually has.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from overlap.report.palette import GROUND, INK, MUTED, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RASTER_DPI = 130
MANY = 2500
"""Marks beyond which a layer is drawn as one image inside the SVG: 45,000 vector marks make a browser crawl."""


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of that size in inches, drawn in the house style while the context lasts."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "overlap",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "text.color": INK.light,
        "axes.labelcolor": INK.light,
        "axes.edgecolor": MUTED.light,
        "axes.linewidth": 0.7,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.0,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": RULE.light,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED.light,
        "ytick.color": MUTED.light,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 8.0,
        "figure.facecolor": GROUND.light,
    }
    with matplotlib.rc_context(style):
        yield Figure(figsize=(width, height))


def to_svg(figure: Figure, name: str) -> str:
    """A figure as SVG; its ids begin with `name`, so that several can stand in one page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", dpi=RASTER_DPI, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)


def percent_axis(axes: Axes, *, x: bool = False, y: bool = False, signed: bool = False) -> None:
    """Label an axis of fractions in percent (or percentage points with a sign)."""
    from matplotlib.ticker import FuncFormatter

    def words(value: float, _: int | None) -> str:
        shown = round(100 * value, 6)
        return (f"{shown:+g}" if signed and shown else f"{shown:g}").replace("-", "−")

    formatter = FuncFormatter(words)
    if x:
        axes.xaxis.set_major_formatter(formatter)
    if y:
        axes.yaxis.set_major_formatter(formatter)
