"""The page as text: what it says, what it carries, and that nothing of the study can become markup."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re

import polars as pl
import pytest

from overlap.report import Results, render_page
from overlap.report.columns import MEANINGS, absences
from overlap.report.grids import GRIDS, cut, packed
from overlap.report.page import number, percent, points, prose
from tests.view.frames import simulated


@pytest.fixture(scope="module")
def results() -> Results:
    return simulated(12, images=300)


def unpacked(text: str) -> dict:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def rows(table: dict) -> list[dict]:
    columns = {}
    for column in table["columns"]:
        held = column["values"]
        columns[column["name"]] = (
            [None if v == -1 else column["words"][v] for v in held] if column["kind"] == "text" else held
        )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_the_tables_travel_whole(results: Results) -> None:
    carried = unpacked(packed(results))
    assert list(carried) == ["models", "pairs", "pair_ensembles", "ensembles", "categories"]
    for name, table in results.tables().items():
        got = rows(carried[name])
        key = [column for column in table.columns if table[column].dtype == pl.String]
        expected = sorted(table.to_dicts(), key=lambda row: [str(row[column]) for column in [*key, table.columns[1]]])
        got = sorted(got, key=lambda row: [str(row[column]) for column in [*key, table.columns[1]]])
        for one, other in zip(got, expected, strict=True):
            for column, value in other.items():
                assert one[column] == (pytest.approx(value, abs=6e-6) if isinstance(value, float) else value), column
    assert packed(results) == packed(results)


def test_nan_and_null_both_travel_as_absent(results: Results) -> None:
    holed = results.pairs.with_columns(pl.Series("kappa", [float("nan"), None, *results.pairs["kappa"].to_list()[2:]]))
    carried = rows(unpacked(packed(dataclasses.replace(results, pairs=holed)))["pairs"])
    assert [row["kappa"] for row in carried].count(None) == 2
    found = {(table, column): (absent, of) for table, column, absent, of, _ in absences({"pairs": holed})}
    assert found == {("pairs", "kappa"): (2, holed.height)}


def test_a_large_table_keeps_its_two_ends(results: Results) -> None:
    grid = next(grid for grid in GRIDS if grid.name == "pairs")
    kept = cut(results.pairs, grid, 10)
    ordered = results.pairs.sort("kappa")
    assert sorted(kept["kappa"]) == [*ordered["kappa"].head(5), *ordered["kappa"].tail(5)]
    assert cut(results.pairs, grid, results.pairs.height) is results.pairs
    about = unpacked(packed(results, most=10))["pairs"]
    assert (about["rows"], about["whole"]) == (10, results.pairs.height)


def test_the_page_asks_for_nothing_outside(results: Results) -> None:
    html = render_page(results)
    assert "default-src 'none'" in html
    addresses = set(re.findall(r"""https?://[^\s"'<>)]+""", html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a language, not a place
    for attribute in re.findall(r'\b(?:src|href)="([^"]*)"', html):
        assert attribute.startswith(("#", "data:"))
    assert render_page(results) == html


def test_the_page_says_what_was_found_and_what_is_missing(results: Results) -> None:
    html = render_page(results)
    best = results.models.sort("accuracy", descending=True).row(0, named=True)
    assert f"<code>{best['model']}</code>" in html
    assert percent(best["accuracy"]) in html
    assert "broken-net" in html
    assert "head.weight is (5, 64)" in html
    assert "<code>allow_missing_shards</code>" in html
    assert results.inputs_digest[:16] in html
    assert "float32, TF32 off" in html
    assert html.count("How to read this") == 4  # once for the searches, which all read alike


def test_every_column_of_the_design_has_a_meaning(results: Results) -> None:
    for table in results.tables().values():
        assert {
            name for name in table.columns if not name.startswith(("error_inconsistency_", "kappa_m", "gain_best_"))
        } <= set(MEANINGS)


def test_no_text_of_a_study_becomes_markup(results: Results) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    name = results.models["model"][0]
    swap = pl.col(pl.String).replace(name, evil)
    html = render_page(
        Results(
            study=evil,
            data=evil,
            dataset_digest="0" * 64,
            inputs_digest="1" * 64,
            models=results.models.with_columns(swap),
            pairs=results.pairs.with_columns(swap),
            pair_ensembles=results.pair_ensembles.with_columns(swap),
            ensembles=results.ensembles.with_columns(swap).with_columns(pl.lit(evil).alias("search")),
            categories=results.categories,
            absent={evil: evil},
            notes=[f"`{evil}` {evil}"],
            provenance={evil: evil},
        )
    )
    assert "<img" not in html
    assert html.count("</script>") == 3


def test_a_study_without_logits_or_without_pairs_has_a_page() -> None:
    bare = simulated(5, images=60, logits=False)
    assert "so there is nothing to average" in render_page(bare)
    alone = dataclasses.replace(bare, models=bare.models[:1], pairs=bare.pairs.clear(), categories=pl.DataFrame())
    assert alone.models["model"][0] in render_page(alone)
    none = dataclasses.replace(alone, models=bare.models.clear(), absent={}, notes=())
    assert "Every checkpoint of the study is in these tables" in render_page(none)


def test_results_without_the_columns_that_are_read_are_refused(results: Results) -> None:
    with pytest.raises(ValueError, match=r"'pairs' lacks the columns \['kappa'\]"):
        dataclasses.replace(results, pairs=results.pairs.drop("kappa"))


def test_numbers_as_words() -> None:
    assert (percent(0.8712), percent(None)) == ("87.1%", "–")
    assert (points(0.0123), points(-0.02), points(None)) == ("+1.2", "−2.0", "–")
    assert (number(-0.126), number(None)) == ("−0.13", "–")
    assert prose("a `b<` c ` d") == "a <code>b&lt;</code> c ` d"
