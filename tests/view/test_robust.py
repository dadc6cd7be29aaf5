"""Every table may be absent, empty, or full of nulls: the page is made all the same, and says what it lacks."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from overlap.report import Results, draw_figures, render_page, summary_text
from overlap.report.drawings import by_category, gains
from overlap.report.figures import left_out
from overlap.report.measures import CHOICES
from overlap.report.plots import PLOTS
from overlap.report.sentences import divergence, ensembles
from overlap.report.tables import FIRST, KINDS
from tests.view.ensemble_frames import whole

FURTHER = tuple(name for name in KINDS if name not in FIRST)
KEYS = {"model_a", "model_b", "model", "measure", "category", "selection", "test", "differs", "key", "rank", "combiner",
        "group", "split", "low", "high", "count", "bin", "class", "strong", "search", "kind", "cost", "base", "other",
        "control", "order", "data", "metric", "dimension", "rate", "right", "share", "pairs",
        "target", "reached"}  # fmt: skip


@pytest.fixture(scope="module")
def results() -> Results:
    return whole(7, 90, 5)


def but(results: Results, name: str, table: pl.DataFrame | None) -> Results:
    others = {other: held for other, held in results.more.items() if other != name}
    return dataclasses.replace(results, more=others if table is None else {**others, name: table})


def nulled(table: pl.DataFrame) -> pl.DataFrame:
    empty = [pl.lit(None, dtype=table[column].dtype).alias(column) for column in table.columns if column not in KEYS]
    return table.with_columns(empty)


def test_every_further_table_is_in_the_simulated_results(results: Results) -> None:
    assert set(results.more) == set(FURTHER)
    assert {figure.name for figure in draw_figures(results)} >= {plot.name for plot in PLOTS}
    assert left_out(results) == {}


def told(results: Results) -> list[str]:
    """Every sentence there would be."""
    say = (divergence.order, divergence.pairs, ensembles.gains, ensembles.greedy, *(plot.says for plot in PLOTS))
    found = [one(results) for one in say] + [divergence.choice(results, columns) for columns in CHOICES.values()]
    return [sentence.text for sentence in found if sentence is not None]


def draw(results: Results, name: str) -> None:
    """The figures that read that table."""
    for plot in PLOTS:
        if name in plot.needs and plot.title not in left_out(results):
            assert plot.draw(results).startswith("<svg")
    if name == "gain_fits":
        gains.draw(results.pairs, results.pair_ensembles, results.table(name), "x")
    if name == "divergence_categories":
        means = by_category.means(results.categories, results.table(name))
        by_category.draw(results.pairs, means, ("error_inconsistency", "capa"), "x")


@pytest.mark.parametrize("name", FURTHER)
def test_a_table_may_be_absent_or_have_no_rows(results: Results, name: str) -> None:
    for table in (None, results.table(name).clear()):
        less = but(results, name, table)
        absent = left_out(less)
        assert set(absent) == {plot.title for plot in PLOTS if name in plot.needs}
        assert told(less)
        summary_text(less)


@pytest.mark.parametrize("name", FURTHER)
def test_a_table_may_hold_one_row_or_nothing_but_nulls(results: Results, name: str) -> None:
    everything = results.table(name)
    for table in (everything.head(1), nulled(everything), nulled(everything.head(1))):
        odd = but(results, name, table)
        for text in told(odd):
            assert "nan" not in text, text
            assert "None" not in text, text
            assert "–" not in text.replace("Jensen–Shannon", ""), text
        draw(odd, name)
        summary_text(odd)


def test_pages_say_in_one_line_why_a_figure_is_left_out(results: Results) -> None:
    bare = dataclasses.replace(results, more={}, thumbnails={})
    text = render_page(bare)
    for plot in PLOTS:
        if plot.name != "conversion":
            assert f"“{plot.title}” is left out: " in text.replace("&#39;", "'"), plot.title
