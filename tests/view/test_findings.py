"""Findings against a slow reading of the tables, and the terminal's lines."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest

from overlap.analysis.notes import pair_notes
from overlap.report import Results, draw_figures, find, render_page, summary_text
from overlap.report.sentences import divergence
from overlap.store import long_tables
from overlap.store.long_tables import Writer
from tests.view.frames import simulated


@pytest.fixture(scope="module")
def results() -> Results:
    return simulated(14, images=300)


def test_findings_are_the_extremes_of_the_tables(results: Results) -> None:
    found = find(results)
    models, pairs, ensembles = results.models.to_dicts(), results.pairs.to_dicts(), results.pair_ensembles.to_dicts()
    assert found.best_single == max(models, key=lambda row: row["accuracy"])
    assert found.most_alike == max(pairs, key=lambda row: row["kappa"])
    assert found.most_unlike == min(pairs, key=lambda row: row["kappa"])
    assert found.best_pair == max(ensembles, key=lambda row: row["gain_best"])
    assert (found.models, found.pairs, found.images) == (14, 14 * 13 // 2, 300)


def test_pairs_that_are_too_many_to_hold_are_found_and_told_all_the_same(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Writer(dict(results.pairs.schema)) as writer:
        writer.add(results.pairs)
    monkeypatch.setattr(long_tables, "HELD", 1)
    long = dataclasses.replace(results, pairs=writer.table.frame(), files={"pairs": writer.table})
    assert long.pairs.is_empty()
    assert find(long) == find(results)
    assert divergence.pairs(long) == divergence.pairs(results)
    assert pair_notes(long.scan("pairs")) == pair_notes(results.pairs)
    figures = {figure.name for figure in draw_figures(long)}
    assert figures  # of what is held
    assert {figure.name for figure in draw_figures(results)} - figures >= {"kappa", "gains"}
    page = render_page(long)
    assert f"{results.pairs.height:,}" in page


def test_incomplete_models_and_duplicates_are_not_findings(results: Results) -> None:
    best = results.models.sort("accuracy", descending=True)["model"][0]
    models = results.models.with_columns(
        pl.when(pl.col("model") == best).then(None).otherwise("accuracy").alias("accuracy")
    )
    top = results.pairs["kappa"].arg_max()
    pairs = results.pairs.with_columns(
        pl.when(pl.int_range(pl.len()) == top).then(pl.lit("duplicate")).otherwise("category").alias("category")
    )
    found = find(dataclasses.replace(results, models=models, pairs=pairs))
    assert found.models == 13
    assert found.best_single["model"] != best
    assert found.most_alike["kappa"] < results.pairs["kappa"].max()


def test_the_size_of_an_ensemble_is_chosen_on_the_selection_split_alone(results: Results) -> None:
    table = pl.DataFrame(
        {
            "search": ["s"] * 4,
            "step": [1, 2, 3, 4],
            "model": list("abca"),
            "accuracy_select": [0.80, 0.85, 0.85, 0.84],
            "accuracy_test": [0.80, 0.81, 0.90, 0.95],
            "gain_low": [0.0, -0.01, 0.05, 0.1],
            "gain_high": [0.0, 0.03, 0.15, 0.2],
        }
    )
    search = find(dataclasses.replace(results, ensembles=table)).best_search
    assert (search.best, search.chosen.accuracy_test) == (
        2,
        0.81,
    )  # the smaller of equals, whatever the test split says
    text = summary_text(dataclasses.replace(results, ensembles=table))
    assert "2. b" in text
    assert "3. c" not in text


def test_the_terminal_says_what_a_person_wants_to_know(results: Results) -> None:
    text = summary_text(results, report="/somewhere/report.html", tracking="mlflow ui --backend-store-uri sqlite:///x")
    lines = text.splitlines()
    best = find(results).best_single
    assert any(best["model"] in line and f"{100 * best['accuracy']:.1f}%" in line for line in lines)
    for row in results.categories.to_dicts():
        shown = f"{100 * row['error_inconsistency']:.1f}%"
        assert any(shown in line and f"{row['kappa']:.2f}" in line for line in lines)
    assert "/somewhere/report.html" in text
    assert "mlflow ui --backend-store-uri sqlite:///x" in text
    assert "broken-net" in text
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in text


def test_the_terminal_does_without_tables() -> None:
    bare = simulated(3, images=40, logits=False)
    text = summary_text(dataclasses.replace(bare, categories=pl.DataFrame(), absent={}))
    assert "Best single model" in text
    assert "ensemble" not in text
