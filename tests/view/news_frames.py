"""What is new in a simulated study, of every kind there is."""

from __future__ import annotations

import dataclasses

import polars as pl

from overlap.news import ModelNews, News, Partner, Place, SizeNews
from overlap.report import Results

REASON = "weights <b>do not fit</b>: 1 missing: head.bias"


def news_of(results: Results) -> News:
    """Two models of the results are new and one is replaced, others came to grief; ensembles of three sizes."""
    added, second, replaced = results.models["model"].head(3)
    partners = results.pairs.filter(pl.col("model_a") == added).sort("kappa").head(2)["model_b"].to_list()
    place = Place(
        400,
        0.8125,
        0.77,
        0.85,
        4,
        2,
        9,
        300,
        7,
        Partner(partners[1], 0.81, 0.7, 0.9),
        Partner(partners[0], 0.12),
        (3, 4, 5),
    )
    plain = dataclasses.replace(place, rank=7, rank_low=7, rank_high=7, sizes=(), accuracy=0.7)
    models = (
        ModelNews(added, "added", "0" * 16, place=place),
        ModelNews(second, "added", "2" * 16, renamed="an-older-name", place=plain),
        ModelNews(
            replaced,
            "replaced",
            "1" * 16,
            fields=(("weights", "aa", "bb"), ("preprocessing.crop_pct", "0.9", "0.95")),
            accuracy_before=0.65,
            place=plain,
        ),
        ModelNews("gone", "withdrawn", "3" * 16, accuracy_before=0.5),
        ModelNews("broken", "failed", reason=REASON),
    )
    sizes = (
        SizeNews(1, ("a",), ("a",), False, 0.8, None, 0.8),
        SizeNews(2, ("a", "b"), ("a", added), True, 0.81, 0.81, 0.83, 0.02, 0.005, 0.035, 0.01, 0.03, True),
        SizeNews(3, ("a", "b", "c"), ("a", added, "c"), True, 0.81, 0.81, 0.82, 0.01, -0.01, 0.03, 0.4, 0.4, False),
        SizeNews(
            4,
            ("a", "b", "c", "gone"),
            ("a", added, "c", "c"),
            True,
            0.8,
            None,
            0.82,
            reason="gone takes no part any more",
        ),
    )
    return News(
        "f" * 64,
        results.dataset_digest,
        "2026-11-22T01:02:03+00:00",
        results.inputs_digest,
        None,
        False,
        299,
        300,
        models,
        "greedy",
        sizes,
    )


def with_news(results: Results) -> Results:
    """The results, with what is new in them."""
    return dataclasses.replace(results, news=news_of(results).plain())
