"""Values with their intervals, a row each, in one or more panels side by side: the plainest figure there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.palette import ACCENT, GROUND, MUTED

LONGEST = 44


@dataclass(frozen=True)
class Panel:
    """One panel: which columns hold the value and its ends, and how the axis is named."""

    column: str
    label: str
    percent: bool = False
    signed: bool = False
    low: str = ""
    high: str = ""

    @property
    def ends(self) -> tuple[str, str]:
        """Names of the columns with the interval's ends."""
        return self.low or f"{self.column}_low", self.high or f"{self.column}_high"


def draw(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    tones: Sequence[str] | None,
    panels: Sequence[Panel],
    name: str,
) -> str:
    """Rows from top to bottom, a value absent where it is None.

    Args:
        rows: one mapping a row, with the panels' columns.
        names: what stands at the left of each row.
        tones: colour of each row; the accent without one.
        panels: from left to right.
        name: prefix of the drawing's ids.
    """
    tall = 0.85 + 0.3 * len(rows)
    with canvas(7.4, tall) as figure:
        margin = min(0.46, 0.03 + 0.0098 * max((len(short(one)) for one in names), default=1))
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(left=margin, right=0.98, top=1 - 0.12 / tall, bottom=0.58 / tall, wspace=0.16)
        for axes, panel in zip(every, panels, strict=True):
            axes.grid(axis="y", visible=False)
            axes.spines["left"].set_visible(False)
            for place, row in enumerate(rows):
                tone = tones[place] if tones else ACCENT.light
                _mark(axes, row, panel, place, tone)
            axes.set_xlabel(panel.label, fontsize=8)
            axes.tick_params(axis="x", labelsize=8)
            if panel.percent:
                percent_axis(axes, x=True, signed=panel.signed)
            if panel.signed:
                axes.axvline(0, color=MUTED.light, linewidth=0.9)
        every[0].set_yticks(range(len(rows)))
        every[0].set_yticklabels([short(one) for one in names], fontsize=8)
        every[0].set_ylim(len(rows) - 0.4, -0.6)
        return to_svg(figure, name)


def _mark(axes: Any, row: Mapping[str, Any], panel: Panel, place: int, tone: str) -> None:
    value = row.get(panel.column)
    low, high = (row.get(end) for end in panel.ends)
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=tone, linewidth=2.4, solid_capstyle="butt")
    axes.plot([value], [place], "o", markersize=6.5, color=tone, markeredgecolor=GROUND.light, markeredgewidth=1.1)


def short(name: str, limit: int = LONGEST) -> str:
    """A name that fits beside a row."""
    return name if len(name) <= limit else name[: limit - 1] + "…"
