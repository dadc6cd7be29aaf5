"""Why values are null in the tables of specialisation, counted: what the report says below them.

Guarantees: reads the tables alone, so that it can be said again from stored results; one line per reason.
"""

from __future__ import annotations

import polars as pl


def specialisation_notes(pairs: pl.DataFrame) -> list[str]:
    """Reasons of the nulls in the table of pairs' specialisation."""
    grouped = pairs["group_spread"].null_count() < len(pairs)
    spread = pl.col("class_spread").is_not_null()
    reasons = {
        "no separation of theta: one of the two models alone is right nowhere": pl.col("theta_separation").is_null(),
        "no spread over classes: no two classes have two images": ~spread,
        "no p-value of it: theta does not vary within classes": spread & pl.col("class_spread_p").is_null(),
        "no spread over groups: no two groups have two classes": pl.col("group_spread").is_null() & grouped,
    }
    notes = _lines({reason: len(pairs.filter(null)) for reason, null in reasons.items()}, "pair")
    if len(pairs) and not grouped:
        notes.append("nothing is said by group: the data have no groups, or no two of them with two classes")
    return notes


def score_notes(classes: pl.DataFrame) -> list[str]:
    """Reasons of the nulls in the table of models and classes."""
    reason = "no score: on none of its images do ability and difficulty leave a doubt which models are right"
    return _lines({reason: classes["score"].null_count()}, "pair of model and class", "pairs of model and class")


def _lines(reasons: dict[str, int], noun: str, nouns: str | None = None) -> list[str]:
    return [
        f"1 {noun} has {reason}" if count == 1 else f"{count:,} {nouns or noun + 's'} have {reason}"
        for reason, count in reasons.items()
        if count
    ]
