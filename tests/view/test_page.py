"""The page as text: what it says, what it carries, and that nothing of the study can become markup."""

from __future__ import annotations

import base64
import dataclasses
import json
import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from overlap.report import Figure, Results, draw_figures, render_page
from overlap.report.absences import absences
from overlap.report.carried import carried, cut
from overlap.report.grids import GRIDS
from overlap.report.meanings import meaning
from overlap.report.packing import packed
from overlap.report.page import prose
from overlap.report.thumbnails import wanted
from overlap.report.wording import amount, number, percent, points
from tests.view.ensemble_frames import whole
from tests.view.frames import simulated
from tests.view.unpacking import unpacked


@pytest.fixture(scope="module")
def results() -> Results:
    return whole(9, 200, 6)


@pytest.fixture(scope="module")
def figures(results: Results) -> list[Figure]:
    return draw_figures(results)


@pytest.fixture(scope="module")
def html(results: Results, figures: list[Figure]) -> str:
    return render_page(results, figures)


def rows(text: str) -> list[dict]:
    _, columns = unpacked(text)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@given(
    st.lists(
        st.tuples(
            st.none() | st.text(max_size=3),
            st.none() | st.integers(-(2**40), 2**40),
            st.none() | st.floats(-1e9, 1e9),
            st.none() | st.booleans(),
        ),
        max_size=300,
    )
)
def test_whatever_a_table_holds_comes_back(held: list[tuple]) -> None:
    schema = {"t": pl.String, "i": pl.Int64, "f": pl.Float64, "b": pl.Boolean}
    table = pl.DataFrame(held, schema, orient="row")
    back = rows(packed(table, {}, {}))
    assert len(back) == table.height
    for one, other in zip(back, table.iter_rows(named=True), strict=True):
        assert one["t"] == other["t"]
        assert one["i"] == other["i"]
        assert one["b"] == other["b"]
        assert (one["f"] is None) == (other["f"] is None)
        assert other["f"] is None or one["f"] == pytest.approx(other["f"], abs=6e-7)


def test_the_tables_travel_whole(results: Results) -> None:
    held = carried(results)
    assert set(held) == set(results.shown()) - {"theta"}
    for name, text in held.items():
        table = results.table(name)
        if name == "class_scores":
            table = table.filter((pl.col("q_value") < 0.05) | pl.col("best_of_zoo"))
        got = rows(text)
        key = [column for column in table.columns if table[column].dtype == pl.String]
        order = [*key, table.columns[1], *(column for column in ("rate", "draw", "step") if column in table.columns)]
        expected = sorted(table.to_dicts(), key=lambda row: [str(row[column]) for column in order])
        got = sorted(got, key=lambda row: [str(row[column]) for column in order])
        near = 6e-3 if name == "driving" else 6e-7
        for one, other in zip(got, expected, strict=True):
            for column, value in other.items():
                assert one[column] == (pytest.approx(value, abs=near) if isinstance(value, float) else value), column
    assert carried(results) == held


def test_nan_and_null_both_travel_as_absent(results: Results) -> None:
    holed = results.pairs.with_columns(pl.Series("kappa", [float("nan"), None, *results.pairs["kappa"].to_list()[2:]]))
    back = rows(carried(dataclasses.replace(results, pairs=holed))["pairs"])
    assert [row["kappa"] for row in back].count(None) == 2
    found = {(table, column): (absent, of) for table, column, absent, of, _ in absences({"pairs": holed})}
    assert found == {("pairs", "kappa"): (2, holed.height)}


def test_a_large_table_keeps_its_two_ends(results: Results) -> None:
    grids = {grid.name: grid for grid in GRIDS}
    kept, said = cut(results.pairs, grids["pairs"], 10)
    ordered = results.pairs.sort("kappa")
    assert sorted(kept["kappa"]) == [*ordered["kappa"].head(5), *ordered["kappa"].tail(5)]
    assert said == "both ends by kappa"
    assert cut(results.pairs, grids["pairs"], results.pairs.height) == (results.pairs, "")
    about, _ = unpacked(carried(results, most=10)["pairs"])
    assert (about["rows"], about["whole"]) == (10, results.pairs.height)
    driving = results.table("driving")
    pairs = results.pairs.height
    foremost, said = cut(driving, grids["driving"], 2 * pairs + 5)
    assert foremost.height == 2 * pairs
    assert set(foremost["rank"]) == {1, 2}
    assert said == "the 2 foremost of each pair"


def test_scores_of_classes_travel_where_they_say_something(results: Results) -> None:
    scores = results.table("class_scores")
    head, columns = unpacked(carried(results)["class_scores"])
    assert head["whole"] == scores.height
    assert 0 < head["rows"] < scores.height
    assert all(q < 0.05 or best for q, best in zip(columns["q_value"], columns["best_of_zoo"], strict=True))
    assert sum(map(bool, columns["best_of_zoo"])) == scores["best_of_zoo"].sum()


def test_thumbnails_of_the_images_that_drive_most_pairs(results: Results) -> None:
    keys = wanted(results.table("driving"), most=5)
    weight = {}
    for row in results.table("driving").to_dicts():
        weight[row["key"]] = weight.get(row["key"], 0) + 1 / row["rank"]
    assert keys == sorted(weight, key=lambda key: (-round(weight[key], 9), key))[:5]
    assert wanted(pl.DataFrame()) == []
    divisive = results.table("divisive")
    both = wanted(results.table("driving"), divisive)
    assert both[:24] == divisive["key"].head(24).to_list()
    assert len(both) == len(set(both))
    keys = both
    text = render_page(results, [])
    (held,) = re.findall(r'id="thumbnails">(.*?)</script>', text)
    assert base64.b64decode(json.loads(held)[keys[0]]) == results.thumbnails[keys[0]]
    none = dataclasses.replace(results, thumbnails={})
    assert 'id="thumbnails">{}</script>' in render_page(none, [])


def test_the_page_asks_for_nothing_outside(results: Results, figures: list[Figure], html: str) -> None:
    assert "default-src 'none'" in html
    addresses = set(re.findall(r"""https?://[^\s"'<>)]+""", html))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a language, not a place
    for attribute in re.findall(r'\b(?:src|href)="([^"]*)"', html):
        assert attribute.startswith(("#", "data:"))
    assert render_page(results, figures) == html


def test_the_page_says_what_was_found_and_what_is_missing(results: Results, figures: list[Figure], html: str) -> None:
    best = results.models.sort("accuracy", descending=True).row(0, named=True)
    assert f"<code>{best['model']}</code>" in html
    assert percent(best["accuracy"]) in html
    assert "broken-net" in html
    assert "head.weight is (5, 64)" in html
    assert "<code>allow_missing_shards</code>" in html
    assert results.inputs_digest[:16] in html
    assert "float32, TF32 off" in html
    greedy = sum(figure.name.startswith("greedy-") for figure in figures)
    assert html.count("How to read this") == len(figures) - greedy + 1, "once for the searches, which all read alike"
    for figure in figures:
        if figure.says is not None and not figure.name.startswith("categories-"):
            said = str(escape(figure.says.text))
            assert html.count(said) == 2, "beside the figure, and in the list at the top"


def test_every_column_of_the_tables_has_a_meaning(results: Results) -> None:
    for name, table in results.tables().items():
        assert [column for column in table.columns if not meaning(column)] == [], name


def test_no_text_of_a_study_becomes_markup(results: Results) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    name = results.models["model"][0]
    swap = pl.col(pl.String).replace(name, evil)
    further = {
        key: table.with_columns(swap) for key, table in results.more.items() if key not in ("driving", "class_scores")
    }
    scores = results.table("class_scores").with_columns(swap).with_columns(pl.lit(evil).alias("name"))
    driving = results.table("driving").with_columns(swap).with_columns(pl.lit(evil).alias("key"))
    shown = {"models", "pairs", "pair_ensembles", "ensembles", "categories", *results.more} - {"theta"}
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
            more={**further, "class_scores": scores, "driving": driving},
            thumbnails={evil: b"\xff\xd8"},
            absent={evil: evil},
            notes=[f"`{evil}` {evil}"],
            provenance={evil: evil},
        )
    )
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script") == 4 + len(shown)


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
    assert [amount(value) for value in (3.14159, 250.0, 25_000, 2.5e7, 4.2e9, None)] == [
        *("3.14", "250", "25 thousand", "25 million", "4.2 billion", "–")
    ]
    assert prose("a `b<` c ` d") == "a <code>b&lt;</code> c ` d"
