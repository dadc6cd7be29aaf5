"""How a data set compares with the others of its study, as the page and MLflow tell it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from overlap.report import Results, render_page
from tests.view.across_frames import with_across
from tests.view.browser import chromium
from tests.view.frames import simulated
from tests.view.holdings import holdings, of_kind, sync, zoo

OVER = "of the pair's ensemble over the better model"
TOLD = [
    ["after", "κ", "300", "44,850", "0.91", "0.80 – 0.96", ""],
    ["after", "error inconsistency", "4", "6", "−0.50", "–", "no interval over 4 models"],
    [
        "after",
        "gain of the pair's ensemble over the better model",
        "300",
        "0",
        "–",
        "–",
        "0 pairs have no order to compare",
    ],
    ["before", "κ", "1,200", "719,400", "0.25", "−0.12 – 0.50", ""],
]
"""What the page says, by row."""


@pytest.mark.skipif(chromium() is None, reason="no Chromium with its driver (apt-get install chromium chromium-driver)")
def test_the_page_shows_it(driver: Any, large: Results) -> None:
    link = driver.find_element("css selector", "nav a[href='#across']")
    assert link.text == "Other data sets"
    driver.execute_script("arguments[0].click()", link)
    table = driver.find_element("css selector", "#across #across-summary")
    assert table.is_displayed()
    rows = driver.execute_script(
        "return [...arguments[0].tBodies[0].rows].map(row => [...row.cells].map(cell => cell.innerText))", table
    )
    assert rows == TOLD
    heads = driver.execute_script("return [...arguments[0].tHead.rows[0].cells].map(cell => cell.innerText)", table)
    assert heads == ["with", "of each pair", "models", "pairs", "rank correlation", "95%", ""]
    wide = driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "the table scrolls, not the page"


def test_without_other_data_sets_nothing_is_said() -> None:
    results = simulated(6, 60)
    for none in (results, dataclasses.replace(results, across=with_across(results).across.clear())):  # type: ignore[union-attr]
        page = render_page(none, [])
        assert 'id="across"' not in page
        assert "#across" not in page


def test_names_of_data_sets_become_no_markup() -> None:
    results = simulated(6, 60)
    table = with_across(results).across
    assert table is not None
    evil = dataclasses.replace(results, across=table.with_columns(data_y=pl.lit("<b>evil</b>")))
    assert "<b>evil</b>" not in render_page(evil, [])


def test_mlflow_is_told_once_and_anew_when_it_changes(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    alone = zoo("a study")
    results = with_across(alone)
    sync(uri, alone)
    second = sync(uri, results)
    assert (second.created, second.updated) == (0, 1), "the same run of the reduction, filled again"
    assert sync(uri, results).updated == 0
    client, runs, _, _ = holdings(uri, "a study")
    (run,) = of_kind(runs, "reduction")
    told = {name: value for name, value in run.data.metrics.items() if name.startswith("across/")}
    expected = {
        "across/after/kappa": 0.9125, "across/after/kappa_low": 0.8, "across/after/kappa_high": 0.96,
        "across/after/error_inconsistency": -0.5,
        "across/before/kappa": 0.25, "across/before/kappa_low": -0.125, "across/before/kappa_high": 0.5,
    }  # fmt: skip
    assert told.keys() == expected.keys()
    assert all(math.isclose(told[name], value) for name, value in expected.items())
    got = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert results.across is not None
    assert pl.read_parquet(got / "tables" / "across-summary.parquet").equals(results.across)
    assert pl.read_csv(got / "tables" / "across-summary.csv").height == results.across.height
    assert 'id="across-summary"' in (got / "report.html").read_text()
