"""The figures of a report: which are drawn from which tables, where they stand, and what each says here.

A figure whose tables are absent or empty is not drawn; the page gives the reason that stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from overlap.report import readings
from overlap.report.drawings import by_category, gains, heatmap, timeline, trajectory
from overlap.report.findings import find
from overlap.report.measures import CHOICES
from overlap.report.plots import PLOTS, Plot
from overlap.report.results import Results
from overlap.report.schedule import balance
from overlap.report.sentences import divergence, ensembles
from overlap.report.sentences.sentence import Sentence

SEARCHES = 6
"""Greedy searches that are drawn, in the order of the table; the others are in the table alone."""

ORDER = (
    *("categories", "axes", "kappa", "difficulty", "gains", "conversion", "weak", "pools", "greedy", "optimism"),
    *("pareto", "theta", "specialisation", "groups", "mixing", "compression", "cka", "downstream", "schedule"),
)
"""Names of figures, before a dash, in the order of the page."""


@dataclass(frozen=True)
class Figure:
    """One drawing with its words."""

    name: str
    """File stem, unique in a report."""
    title: str
    svg: str
    """A standalone SVG document on a white ground."""
    reading: str
    """How to read it."""
    order: tuple[str, ...] = ()
    """Heat map only: models in order of rows and columns."""
    box: tuple[float, float, float, float] | None = None
    """Heat map only: left, top, width, height of the cells as fractions of the drawing."""
    says: Sentence | None = None
    """What it shows in this study."""
    choice: str = ""
    """Where several figures answer one question, what a reader chooses this one by."""


def draw_figures(results: Results) -> list[Figure]:
    """Every figure the tables allow, in the order of the page."""
    return sorted(_figures(results), key=lambda figure: ORDER.index(figure.name.split("-")[0]))


def left_out(results: Results) -> Mapping[str, str]:
    """Why figures of the page are not there: title -> reason."""
    return {plot.title: plot.absent for plot in PLOTS if not _drawable(plot, results)}


def _drawable(plot: Plot, results: Results) -> bool:
    return all(results.table(name).height for name in plot.needs) and plot.holds(results)


def _figures(results: Results) -> Iterator[Figure]:
    if results.pairs.height:
        drawn = heatmap.draw(results.pairs, results.models, "kappa")
        says = divergence.pairs(results)
        yield Figure("kappa", "Who errs with whom", drawn.svg, readings.KAPPA, drawn.order, drawn.box, says)
    if results.pairs.height and results.categories.height:
        yield from _by_category(results)
    if results.pairs.height and results.pair_ensembles.height:
        svg = gains.draw(results.pairs, results.pair_ensembles, results.table("gain_fits"), "gains")
        title = "Gain of a pair against its error inconsistency"
        yield Figure("gains", title, svg, readings.GAIN, says=ensembles.gains(results))
    for plot in PLOTS:
        if _drawable(plot, results):
            yield Figure(plot.name, plot.title, plot.draw(results), plot.reading, says=plot.says(results))
    if results.schedule is not None and balance(results.schedule) is not None:
        svg = timeline.draw(results.schedule, "schedule")
        yield Figure("schedule", "What every worker did when", svg, readings.SCHEDULE)
    searches = find(results).searches
    single = trajectory.baseline(searches)
    for number, search in enumerate(searches[:SEARCHES], start=1):
        svg = trajectory.draw(search, single, f"greedy-{number}")
        says = ensembles.greedy(results) if number == 1 else None
        yield Figure(f"greedy-{number}", f"Greedy ensemble: {search.name}", svg, readings.GREEDY, says=says)


def _by_category(results: Results) -> Iterator[Figure]:
    """The figure by category, once for each choice of two measures that the tables hold."""
    means = by_category.means(results.categories, results.table("divergence_categories"))
    pairs = results.pairs
    further = results.table("divergence")
    if further.height:
        added = [name for name in further.columns if name not in pairs.columns]
        pairs = pairs.join(further.select("model_a", "model_b", *added), on=["model_a", "model_b"], how="left")
    for number, (choice, columns) in enumerate(CHOICES.items()):
        if number and not any(_held(name, means) or _held(name, pairs) for name in columns):
            continue
        name = "categories" if not number else f"categories-{number}"
        svg = by_category.draw(pairs, means, columns, name)
        says: Callable[[], Sentence | None] = (
            (lambda: divergence.order(results)) if not number else lambda c=columns: divergence.choice(results, c)  # type: ignore[misc]
        )
        title = "Divergence by category of pair" + (f": {choice}" if number else "")
        yield Figure(name, title, svg, readings.CATEGORY, says=says(), choice=choice)


def _held(column: str, table: pl.DataFrame) -> bool:
    return column in table.columns and table[column].null_count() < table.height
