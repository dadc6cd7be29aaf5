"""Figures: what they are drawn from, that they stand alone, and that odd tables do not break them."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from overlap.report import Results, draw_figures, palette
from overlap.report.drawings import by_category, heatmap, trajectory
from overlap.report.drawings.gains import joined
from overlap.report.findings import find
from tests.view.ensemble_frames import whole
from tests.view.frames import simulated

BARE = ["categories", "categories-3", "categories-4", "kappa", "gains", "conversion", "greedy-1", "greedy-2"]
"""What pairs, their ensembles, categories and searches alone give."""


@pytest.fixture(scope="module")
def results() -> Results:
    return simulated(20, images=400)


@pytest.fixture(scope="module")
def full() -> Results:
    return whole(9, 120, 6)


def test_every_figure_is_drawn_once_and_says_the_same_bytes_again(results: Results) -> None:
    figures = draw_figures(results)
    assert [figure.name for figure in figures] == BARE
    assert [figure.svg for figure in draw_figures(results)] == [figure.svg for figure in figures]
    for figure in figures:
        assert ElementTree.fromstring(figure.svg).tag.endswith("svg")
        assert len(figure.reading) > 200


def test_figures_refer_to_nothing_outside_and_share_no_id(full: Results) -> None:
    figures = draw_figures(full)
    ids = [found for figure in figures for found in re.findall(r'\bid="([^"]+)"', figure.svg)]
    assert len(set(ids)) == len(ids)
    for figure in figures:
        targets = re.findall(r'href="([^"]+)"', figure.svg) + re.findall(r"url\(([^)]+)\)", figure.svg)
        assert targets
        assert all(target.startswith("data:") or target.removeprefix("#") in ids for target in targets)


def test_every_colour_of_text_and_lines_is_one_that_the_page_can_swap(full: Results) -> None:
    known = {colour.light for colour in palette.every_colour()} | {*palette.STRIPS, palette.ON_IMAGE}
    for figure in draw_figures(full):
        used = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", figure.svg))
        assert used <= known, figure.name


def test_heat_map_rows_are_the_models_and_neighbours_are_alike(results: Results) -> None:
    drawn = heatmap.draw(results.pairs, results.models, "x")
    assert sorted(drawn.order) == sorted(results.models["model"])
    kappa = heatmap.matrix(results.pairs, list(drawn.order))
    slow = {frozenset((row["model_a"], row["model_b"])): row["kappa"] for row in results.pairs.to_dicts()}
    for a, one in enumerate(drawn.order):
        for b, other in enumerate(drawn.order):
            if a == b:
                assert np.isnan(kappa[a, b])
            else:
                assert kappa[a, b] == slow[frozenset((one, other))]
    clustered = np.mean([kappa[row, row + 1] for row in range(len(kappa) - 1)])
    assert clustered > np.nanmean(kappa) + 0.1
    left, top, width, height = drawn.box
    assert 0 < left < left + width <= 1
    assert 0 < top < top + height < 1


def test_means_of_both_tables_are_joined_and_the_categories_win(full: Results) -> None:
    means = by_category.means(full.categories, full.table("divergence_categories"))
    assert means.height == full.categories.height
    kappa = dict(full.categories.select("category", "kappa").iter_rows())
    further = full.table("divergence_categories").filter(
        (pl.col("measure") == "capa") & (pl.col("selection") == "matched")
    )
    capa = dict(further.select("category", "mean").iter_rows())
    for row in means.to_dicts():
        assert row["kappa"] == kappa[row["category"]]
        assert row["capa_matched"] == capa[row["category"]]


def test_gains_use_one_combiner(results: Results) -> None:
    table = joined(results.pairs, results.pair_ensembles)
    assert table.height == results.pairs.height
    assert table["combiner"].unique().to_list() == ["mean_probability"]


def test_baseline_is_the_best_single_on_the_test_split(results: Results) -> None:
    searches = find(results).searches
    start = results.ensembles.filter((pl.col("search") == "best single") & (pl.col("step") == 1))
    assert trajectory.baseline(searches) == start["accuracy_test"][0]
    assert trajectory.baseline(searches[1:]) == pytest.approx(start["accuracy_test"][0])


def emptied(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return table.with_columns(pl.lit(None, dtype=table[column].dtype).alias(column) for column in columns)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: {"pairs": emptied(one.pairs, "kappa", "kappa_low", "kappa_high")},
        lambda one: {"pairs": emptied(one.pairs, "category"), "categories": one.categories.clear()},
        lambda one: {"pairs": one.pairs.clear(), "pair_ensembles": one.pair_ensembles.clear()},
        lambda one: {"categories": emptied(one.categories, "kappa", "kappa_low", "kappa_matched")},
        lambda one: {"ensembles": emptied(one.ensembles, "accuracy_test", "gain_low", "gain_high")},
        lambda one: {"ensembles": one.ensembles.filter(pl.col("step") == 1)},
        lambda one: {"models": emptied(one.models, "dataset", "framework")},
        lambda one: {"pair_ensembles": emptied(one.pair_ensembles, "gain_mean", "gain_best")},
        lambda one: {"pairs": one.pairs.with_columns(pl.lit(1.0).alias("kappa"))},
    ],
    ids=[
        "no kappa",
        "no category",
        "no pairs",
        "no means",
        "no test split",
        "one step",
        "no training",
        "no gains",
        "all 1",
    ],
)
def test_tables_with_gaps_are_drawn_all_the_same(results: Results, change) -> None:
    holed = dataclasses.replace(results, **change(results))
    expected = set(BARE)
    if not holed.pairs.height:
        expected = {"greedy-1", "greedy-2"}
    if not holed.categories.height:
        expected -= {"categories", "categories-3", "categories-4"}
    assert {figure.name for figure in draw_figures(holed)} == expected


def test_two_models_are_enough_and_one_is_no_error() -> None:
    names = [figure.name for figure in draw_figures(simulated(2, images=50, logits=False))]
    assert names == ["categories", "categories-3", "categories-4", "kappa"]
    one = simulated(2, images=50, logits=False)
    alone = dataclasses.replace(one, models=one.models[:1], pairs=one.pairs.clear(), categories=pl.DataFrame())
    assert draw_figures(alone) == []


def test_many_pairs_become_an_image() -> None:
    many = simulated(80, images=60)
    drawn = {figure.name: figure.svg for figure in draw_figures(many)}
    assert many.pairs.height > 2500
    assert "data:image/png" in drawn["gains"]
    assert len(drawn["gains"]) < 1_000_000
    assert "vit-" not in drawn["kappa"]  # too many for names
