"""The figures of a report: which are drawn from which tables, and how each is read.

A figure whose tables are absent is not drawn; the page says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from overlap.report import by_category, gains, heatmap, readings, trajectory
from overlap.report.findings import find
from overlap.report.results import Results

SEARCHES = 6
"""Greedy searches that are drawn, in the order of the table; the others are in the table alone."""


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


def draw_figures(results: Results) -> list[Figure]:
    """Every figure the tables allow, in the order of the page."""
    return list(_figures(results))


def _figures(results: Results) -> Iterator[Figure]:
    if results.pairs.height:
        drawn = heatmap.draw(results.pairs, results.models, "kappa")
        yield Figure("kappa", "Who errs with whom", drawn.svg, readings.KAPPA, drawn.order, drawn.box)
    if results.pairs.height and results.categories.height:
        svg = by_category.draw(results.pairs, results.categories, "categories")
        yield Figure("categories", "Divergence by category of pair", svg, readings.CATEGORY)
    if results.pairs.height and results.pair_ensembles.height:
        svg = gains.draw(results.pairs, results.pair_ensembles, "gains")
        yield Figure("gains", "Gain of a pair against its error inconsistency", svg, readings.GAIN)
    searches = find(results).searches
    single = trajectory.baseline(searches)
    for number, search in enumerate(searches[:SEARCHES], start=1):
        svg = trajectory.draw(search, single, f"greedy-{number}")
        yield Figure(f"greedy-{number}", f"Greedy ensemble: {search.name}", svg, readings.GREEDY)
