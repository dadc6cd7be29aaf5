"""Why values are null, counted: what the report says below its tables.

Guarantees: reads the tables alone, so that it can be said again from stored results; one line per reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl


def table_notes(tables: Mapping[str, Any]) -> list[str]:
    """Reasons of the nulls in all tables that have any, by name; tables that give their reasons row by row apart."""
    readers = {
        "models": model_notes,
        "pairs": pair_notes,
        "pair_ensembles": pair_ensemble_notes,
        "categories": category_notes,
        "searches": search_notes,
    }
    return [line for name, read in readers.items() if name in tables for line in read(tables[name])]


def pair_notes(pairs: pl.DataFrame | pl.LazyFrame) -> list[str]:
    """Reasons of the nulls in the table of pairs, which may be longer than memory."""
    kappa = pl.col("kappa").filter(pl.col("n") > 0)
    counts = {
        "have no category: a training column is not declared": pl.col("category").null_count(),
        "have no figures: there is no image": (pl.col("n") <= 0).sum(),
        "have no kappa: both models are always right, or both always wrong": kappa.is_null().sum(),
    }
    found = pairs.lazy().select(**{str(place): count for place, count in enumerate(counts.values())})
    reasons = dict(zip(counts, map(int, found.collect(engine="streaming").row(0)), strict=True))
    return list(_lines(reasons, "pair"))


def pair_ensemble_notes(pair_ensembles: pl.DataFrame) -> list[str]:
    """Reasons of the nulls in the table of pair ensembles."""
    counted = pair_ensembles.filter(pl.col("n") > 0)
    reasons = {
        "have no figures: there is no image": len(pair_ensembles) - len(counted),
        "have no conversion rate: no image is right for exactly one of the two": counted[
            "conversion_rate"
        ].null_count(),
        "have no r11: no image is right for both": counted["r11"].null_count(),
        "have no r00: no image is wrong for both": counted["r00"].null_count(),
    }
    return list(_lines(reasons, "pair ensemble"))


def category_notes(categories: pl.DataFrame) -> list[str]:
    """Reasons of the nulls in the table of categories."""
    rows = categories.filter(pl.col("reason").is_not_null()).iter_rows(named=True)
    return [f"category {row['category']}: {row['reason']}" for row in rows]


def search_notes(searches: pl.DataFrame) -> list[str]:
    """Why searches found nothing, and the reasons of the nulls in their table."""
    found = searches.filter(pl.col("size").is_not_null())
    nothing = searches.filter(pl.col("size").is_null())
    untested = {"have no gain: the test split has no image": found["accuracy_test"].null_count()}
    return [
        *(f"search {row['search']}: {row['reason']}" for row in nothing.iter_rows(named=True)),
        *_lines(untested, "search", "searches"),
    ]


def model_notes(models: pl.DataFrame) -> list[str]:
    """Reasons of the nulls in the table of models."""
    predicted = models.filter(pl.col("accuracy").is_not_null())
    quarantined = predicted.filter(pl.col("status") == "quarantined")
    predicted = predicted.filter(pl.col("status") != "quarantined")
    fitted = predicted.filter(pl.col("temperature").is_not_null())
    reasons = {
        "have no accuracy: not complete, or no image": models["accuracy"].null_count(),
        "have an accuracy that is not the published one, and are in no pair: quarantined": len(quarantined),
        "have no calibration and no ensembles: only their hard predictions are known": len(predicted) - len(fitted),
        "have no top-5 accuracy: fewer than five classes": fitted["top5"].null_count(),
    }
    return list(_lines(reasons, "model"))


def _lines(reasons: dict[str, int], noun: str, nouns: str | None = None) -> Iterator[str]:
    for reason, count in reasons.items():
        if count == 1:
            yield f"1 {noun} {reason.replace('have', 'has', 1)}"
        elif count:
            yield f"{count:,} {nouns or noun + 's'} {reason}"
