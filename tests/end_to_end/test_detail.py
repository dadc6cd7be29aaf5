"""A study with more pairs than detailed measures are made for: what it still says of all, and of whom it says the rest.

Its figures of a chosen pair are those of the run that has them all: bit for bit, but for probabilities, which are
compared pair by pair and not by products of matrices.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import overlap
from overlap.analysis.divergence.soft_measures import BOUNDS
from tests.small_study import DATA, SmallStudy, net
from tests.study_fixtures import Run

PAIR = ["model_a", "model_b"]
LIMIT, ALL = 9, 21
SOFT = [name + end for name in BOUNDS for end in ("", "_low", "_high")]


def head(study: SmallStudy) -> dict[str, Any]:
    return dict(json.loads((study.store / f"results/{DATA}/reduction.json").read_bytes()))


def table(study: SmallStudy, name: str) -> pl.DataFrame:
    return pl.read_parquet(study.store / f"results/{DATA}/{name}.parquet")


@pytest.fixture
def both(complete: SmallStudy, run: Run) -> tuple[SmallStudy, Callable[[str], pl.DataFrame]]:
    """The study after a run that makes a part of the detail, of pairs that nobody kept, and the tables before it."""
    names = [path.stem for path in (complete.store / f"results/{DATA}").glob("*.parquet")]
    before = {name: table(complete, name) for name in names}
    kept = complete.store / "pairs"
    assert kept.is_dir()
    shutil.rmtree(kept)
    complete.write(analysis={"detailed_pairs": LIMIT})
    assert run(complete).code == 0
    return complete, before.__getitem__


def test_chosen_pairs_have_the_figures_that_they_have_among_all(
    both: tuple[SmallStudy, Callable[[str], pl.DataFrame]],
) -> None:
    study, before = both
    chosen = table(study, "divergence").select(PAIR)
    assert chosen.height == LIMIT
    for name in ("pairs", "models", "difficulty", "class_scores", "divisive", "driving", "ensembles", "searches"):
        assert table(study, name).equals(before(name)), f"{name} is of all"
    assert table(study, "pairs").height == ALL
    for name in ("divergence", "specialisation", "pair_ensembles"):
        whole = before(name)
        expected = whole.join(chosen, on=PAIR, how="semi", maintain_order="left")
        found = table(study, name)
        exact = [column for column in whole.columns if column not in SOFT]
        assert found.select(exact).equals(expected.select(exact)), name
        assert found.height == LIMIT * (5 if name == "pair_ensembles" else 1)
    expected = before("divergence").join(chosen, on=PAIR, how="semi", maintain_order="left")
    for column in SOFT:
        assert table(study, "divergence")[column].to_list() == pytest.approx(expected[column].to_list(), abs=1e-6)
    assert table(study, "theta")["count"].sum() == 240 * LIMIT

    by_category = table(study, "categories")
    exact = [name for name in by_category.columns if not name.startswith("gain") and name != "reason"]
    assert by_category.select(exact).equals(before("categories").select(exact)), "means of hard predictions are of all"
    gains = table(study, "pair_ensembles").filter(pl.col("combiner") == "mean_probability")
    gains = (
        gains.join(table(study, "pairs").select(*PAIR, "category"), on=PAIR)
        .group_by("category")
        .agg(pl.col("gain_best").mean())
    )
    assert dict(gains.rows()) == pytest.approx(dict(by_category.select("category", "gain_best").rows()))


def test_it_is_said_what_is_of_all_pairs_and_what_is_not(
    both: tuple[SmallStudy, Callable[[str], pl.DataFrame]], run: Run
) -> None:
    study, _ = both
    told = "9 of 21 pairs, chosen by hash (reinit 4 of 6, architecture 5 of 15)"
    assert head(study)["provenance"]["detailed_pairs"] == told
    assert any(note.startswith(f"detailed measures are of {told}: ") for note in head(study)["notes"])
    page = (study.store / f"results/{DATA}/report.html").read_text(encoding="utf-8")
    assert told in page
    categories = table(study, "divergence").group_by("category").len()
    assert dict(categories.rows()) == {"reinit": 4, "architecture": 5}
    tests = table(study, "category_tests")
    assert tests["p_value"].null_count() == tests.height
    compared = tests.filter(pl.col("estimate").is_not_null() & (pl.col("test") == "order"))
    assert compared.height
    assert (compared["reason"] == "models cannot be permuted where measures are of a selection of pairs").all()
    assert compared["low"].null_count() == 0
    fits = table(study, "gain_fits").filter((pl.col("group") == "all") & pl.col("conversion_slope").is_not_null())
    assert fits["conversion_p"].null_count() == fits.height
    assert overlap.open(str(study.store), DATA).pair_ensembles().height == 5 * LIMIT

    study.add(net("narrow-9", 9))  # what is new is told, and who was kept is recalled
    assert run(study).code == 0
    assert table(study, "pairs").height == 28
    assert table(study, "divergence").height == LIMIT
    assert head(study)["provenance"]["detailed_pairs"].startswith("9 of 28 pairs")
    news = json.loads((study.store / f"results/{DATA}/news.json").read_bytes())
    assert [one["model"] for one in news["models"]] == ["narrow-9"]


def test_a_limit_that_all_pairs_are_within_changes_nothing(complete: SmallStudy, run: Run) -> None:
    before = head(complete)
    complete.write(analysis={"detailed_pairs": ALL})
    assert run(complete).code == 0
    assert head(complete) == before, "not reduced again: equal digests"
    complete.write(analysis={"detailed_pairs": ALL - 1})
    assert run(complete).code == 0
    assert head(complete)["inputs_digest"] != before["inputs_digest"]
    assert table(complete, "divergence").height == ALL - 1


def test_a_mistake_in_the_limit_is_told(complete: SmallStudy, run: Run) -> None:
    complete.write(analysis={"detailed_pairs": 0})
    ran = run(complete)
    assert ran.code == 2
    assert "analysis.detailed_pairs" in ran.stderr
