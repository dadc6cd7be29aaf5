"""Sentences: they say what the tables say, and call beyond chance only what a test or an interval bears out."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl
import pytest

from overlap.report import Results, summary_text
from overlap.report.sentences import divergence, ensembles, features, specialisation
from overlap.report.sentences.sentence import Sentence, chance, listed, over
from tests.view.ensemble_frames import whole
from tests.view.frames import simulated


@pytest.fixture(scope="module")
def bare() -> Results:
    return dataclasses.replace(
        simulated(4, images=60),
        categories=pl.DataFrame(
            {
                "category": ["dataset", "reinit", "duplicate"],
                "pairs": [3, 3, 1],
                "error_inconsistency": [0.182, 0.041, 0.0],
                "kappa": [0.3, 0.8, 1.0],
            }
        ),
    )


def having(results: Results, **tables: list[dict[str, Any]]) -> Results:
    frames = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in tables.items()}
    return dataclasses.replace(results, more={**results.more, **frames})


def order(measure: str, selection: str, p_value: float | None) -> dict[str, Any]:
    return {
        "measure": measure,
        "selection": selection,
        "test": "order",
        "category_a": None,
        "category_b": None,
        "estimate": 0.5,
        "p_value": p_value,
    }


def test_chance_and_intervals() -> None:
    assert chance(0.0004) == ("p < 0.001", "beyond")
    assert chance(0.0499) == ("p = 0.0499", "beyond"), "never rounded across the line"
    assert chance(0.05) == ("p = 0.05", "within")
    assert chance(None) == ("not tested", "untested")
    assert [over(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (None, 0.1))] == [
        *("beyond", "beyond", "within", "untested")
    ]
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("p_value", "said", "standing"),
    [
        (0.003, "rises from Re-initialisation (4.1%) to Dataset (18.2%); by permuting models p = 0.003.", "beyond"),
        (0.4, "goes from Re-initialisation (4.1%) to Dataset (18.2%); by permuting models that cannot be told from "
              "chance (p = 0.4).", "within"),
        (None, "rises from Re-initialisation (4.1%) to Dataset (18.2%); the order was not tested.", "untested"),
    ],
)  # fmt: skip
def test_the_order_of_categories(bare: Results, p_value: float | None, said: str, standing: str) -> None:
    told = divergence.order(having(bare, category_tests=[order("error_inconsistency", "all", p_value)]))
    assert told == Sentence(f"Error inconsistency {said}", standing)  # type: ignore[arg-type]


def test_what_accuracy_explains_of_the_order(bare: Results) -> None:
    rows = [order("error_inconsistency", "all", 0.01), order("kappa", "all", 0.02), order("kappa", "matched", 0.3)]
    told = divergence.order(having(bare, category_tests=rows))
    assert told is not None
    assert told.text.endswith(
        "κ, which accuracy alone does not move, orders the categories too (p = 0.02). "
        "With accuracies matched, the order of κ cannot be told from chance (p = 0.3)."
    )


def test_gain_is_told_beside_the_slope_of_the_identity(bare: Results) -> None:
    line = {"combiner": "mean_probability", "group": "all", "slope": 0.25, "slope_low": 0.2, "slope_high": 0.3,
            "intercept": 0.0, "identity_slope": 0.21, "conversion_mean": 0.71, "conversion_slope": 0.5,
            "conversion_slope_low": 0.1, "conversion_slope_high": 0.9, "conversion_p": 0.2}  # fmt: skip
    told = ensembles.gains(having(bare, gain_fits=[line]))
    assert told is not None
    assert told.standing == "within"
    assert (
        "+2.5 points of gain over the mean of the two (+2.0 to +3.0); the identity alone gives +2.1, inside"
        in told.text
    )
    told = ensembles.gains(having(bare, gain_fits=[line | {"identity_slope": 0.1}]))
    assert told is not None
    assert (told.standing, "differs from it beyond chance" in told.text) == ("beyond", True)
    told = ensembles.conversion(having(bare, gain_fits=[line]))
    assert told == Sentence(
        "Of the images that exactly one gets right an ensemble gets 71.0% right; that it changes, by +5.0 points for "
        "ten points of error inconsistency (+1.0 to +9.0), cannot be told from chance (p = 0.2).",
        "within",
    )


@pytest.mark.parametrize(("share", "p_value", "said", "standing"), [
    (0.63, 0.002, "more often than not: sign test over models, p = 0.002.", "beyond"),
    (0.31, 0.002, "less often than not: sign test over models, p = 0.002.", "beyond"),
    (0.55, 0.6, "over models that cannot be told from a coin's toss (p = 0.6).", "within"),
])  # fmt: skip
def test_weak_partners(bare: Results, share: float, p_value: float, said: str, standing: str) -> None:
    row = {
        "strong": "all models",
        "weak_models": 3,
        "helped": 2,
        "share": share,
        "mean_gain": 0.004,
        "p_value": p_value,
    }
    told = ensembles.weak(having(bare, weak_helps=[row]))
    assert told is not None
    assert (told.text.split("; ", 1)[1], told.standing) == (said, standing)


def test_pools_count_anchors_whose_intervals_part(bare: Results) -> None:
    def search(anchor: str, kind: str, gain: float) -> dict[str, Any]:
        return {"search": f"{anchor} {kind}", "kind": kind, "anchor": anchor, "size": 3, "accuracy_select": 0.8,
                "accuracy_test": 0.8, "gain": gain, "gain_low": gain - 0.01, "gain_high": gain + 0.01}  # fmt: skip

    rows = [
        search("a", "pool", 0.05),
        search("a", "control", 0.01),
        search("b", "pool", 0.0),
        search("b", "control", 0.01),
    ]
    told = ensembles.pools(having(bare, searches=rows))
    assert told is not None
    assert told.standing == "beyond"
    assert "for 1 of 2 anchors, with disjoint intervals for 1 (widest at a: +5.0 (+4.0 to +6.0) against" in told.text
    told = ensembles.pools(having(bare, searches=rows[2:]))
    assert told is not None
    assert told.standing == "within"


def test_axes_are_compared_one_at_a_time(bare: Results) -> None:
    def row(differs: str, ei: float) -> dict[str, Any]:
        return {"differs": differs, "pairs": 4, "error_inconsistency": ei, "error_inconsistency_low": ei - 0.01,
                "error_inconsistency_high": ei + 0.01, "kappa": 0.5}  # fmt: skip

    rows = [row("none", 0.05), row("framework", 0.06), row("dataset", 0.09), row("dataset + framework", 0.3),
            row("left out: shared lineage or duplicate", 0.9)]  # fmt: skip
    told = divergence.axes(having(bare, axes=rows))
    assert told is not None
    assert told.text.startswith(
        "Of pairs that differ in one axis alone, those that differ in dataset err most differently"
    )
    assert told.text.endswith("against 5.0% (4.0% to 6.0%) where they differ in none; the intervals do not overlap.")
    told = divergence.axes(having(bare, axes=rows[:2]))
    assert told is not None
    assert (told.standing, told.text.endswith("the intervals overlap, so chance is not ruled out.")) == ("within", True)


def test_mixed_features_must_beat_both_ends(bare: Results) -> None:
    def row(category: str, base: float, other: float) -> dict[str, Any]:
        return {"category": category, "control": "pair", "pairs": 2, "gain_base": base, "gain_base_low": base - 0.01,
                "gain_base_high": base + 0.01, "gain_other": other, "gain_other_low": other - 0.01,
                "gain_other_high": other + 0.01}  # fmt: skip

    told = features.mixing(having(bare, feature_mixing_summary=[row("dataset", 0.03, 0.02), row("reinit", 0.03, 0.0)]))
    assert told is not None
    assert "Both ends are beaten beyond chance for Dataset." in told.text
    assert told.standing == "beyond"


def test_features_needed_come_with_their_intervals(bare: Results) -> None:
    rows = [
        {"category": name, "order": "covariance", "target": 0.95, "pairs": 3, "reached": 3, "dimension": need,
         "dimension_low": need - 100.0, "dimension_high": need + 100.0}
        for name, need in (("dataset", 512.0), ("reinit", 2304.0))
    ]  # fmt: skip
    told = features.compression(having(bare, feature_compression_summary=rows))
    assert told == Sentence(
        "Features needed for 95.0% of the base's accuracy, ranked by covariance: Re-initialisation 2,304 "
        "(2,204 to 2,404), Dataset 512 (412 to 612); the last needs fewer than the first beyond chance.",
        "beyond",
    )


def test_specialisation_counts_what_chance_alone_would_give() -> None:
    results = whole(8, 100, 5)
    table = results.table("specialisation")
    found = (table["class_spread_p"] < 0.05).sum()
    told = specialisation.spread(results)
    assert told is not None
    assert f"significant for {found:,} of {table.height:,}" in told.text
    scores = results.table("group_scores")
    told = specialisation.groups(results)
    assert told is not None
    assert told.text.startswith(f"{(scores['q_value'] < 0.05).sum():,} of {scores.height:,}")


def test_the_terminal_tells_the_tests_in_three_lines() -> None:
    text = summary_text(whole(9, 120, 6))
    assert "Order of categories     EI p < 0.001;  κ p < 0.001;  κ, accuracies matched p = 0.41\n" in text
    assert "Weak partners help      in 58.0% of pairs, p = 0.012\n" in text
    assert "Half the features each  Re-initialisation +5.0 (+3.8 to +6.2);  Architecture +8.0 (+6.8 to +9.2)\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "Weak partners" not in summary_text(simulated(4, images=60))
