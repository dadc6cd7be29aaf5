"""Accuracy by step of a greedy search, on the images it was chosen on and on those it never saw.

The shaded interval is the paired 95% interval of the gain over the best single model, moved to that model's accuracy on
the test split. That accuracy is read off the first step of the search that starts there; where no search does, it is
taken as the middle of the interval below the accuracy, which is exact for a symmetric interval only.
"""

from __future__ import annotations

from math import nan

from overlap.report.canvas import canvas, percent_axis, to_svg
from overlap.report.findings import Search
from overlap.report.palette import ACCENT, BAND, GROUND, MUTED


def baseline(searches: tuple[Search, ...]) -> float | None:
    """Accuracy on the test split of the best single model, the one gains are over; None where no gain is known."""
    for search in searches:
        first = search.steps[0]
        if first.gain_low == 0 and first.gain_high == 0:
            return first.accuracy_test
    for search in searches:
        for step in search.steps:
            if step.accuracy_test is not None and step.gain_low is not None and step.gain_high is not None:
                return step.accuracy_test - (step.gain_low + step.gain_high) / 2
    return None


def draw(search: Search, single: float | None, name: str) -> str:
    """One search, members from top to bottom; `single` is the best single model's accuracy on the test split."""
    numbers = [step.number for step in search.steps]
    tall = 1.0 + 0.27 * len(numbers)
    with canvas(7.4, tall) as figure:
        axes = figure.add_axes((0.33, 0.56 / tall, 0.64, 1 - 0.94 / tall))
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        banded = [step for step in search.steps if step.gain_low is not None and step.gain_high is not None]
        if single is not None and banded:
            axes.fill_betweenx(
                [step.number for step in banded],
                [single + (step.gain_low or 0.0) for step in banded],
                [single + (step.gain_high or 0.0) for step in banded],
                color=BAND.light,
                linewidth=0,
                label="95% interval of the gain",
            )
            axes.axvline(single, color=MUTED.light, linewidth=0.9, linestyle=(0, (4, 3)), label="best single, test")
        select = [step.accuracy_select for step in search.steps]
        test = [nan if step.accuracy_test is None else step.accuracy_test for step in search.steps]
        axes.plot(select, numbers, "o-", color=MUTED.light, markersize=3.2, linewidth=1.0, label="selection split")
        axes.plot(test, numbers, "o-", color=ACCENT.light, markersize=5, linewidth=1.8, label="test split")
        axes.plot(
            [test[search.best - 1]],
            [search.chosen.number],
            "o",
            color=ACCENT.light,
            markerfacecolor=GROUND.light,
            markeredgewidth=2,
            markersize=9,
            label="chosen size",
        )
        axes.set_xlabel("accuracy of the ensemble so far (%)")
        percent_axis(axes, x=True)
        axes.set_ylim(numbers[-1] + 0.5, numbers[0] - 0.5)
        axes.set_yticks(numbers)
        axes.set_yticklabels([f"{_short(step.model)}\u00a0\u00a0{step.number}" for step in search.steps], fontsize=8)
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(0.01, 1.0),
            ncols=5,
            columnspacing=1.4,
            handlelength=1.6,
        )
        return to_svg(figure, name)


def _short(name: str, limit: int = 30) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
