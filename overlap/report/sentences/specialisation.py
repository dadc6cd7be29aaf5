"""What the figures of specialisation show: confidence by category, spread over classes, and groups of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from overlap.report.palette import CATEGORIES, in_order, label
from overlap.report.results import Results
from overlap.report.sentences.sentence import SIGNIFICANT, Sentence, Standing, joined, most, over, share, within
from overlap.report.wording import degrees, points


def theta(results: Results) -> Sentence | None:
    """How far confidence separates who is right, in the first and the last category."""
    return _ends(results, "theta_separation", "Where exactly one is right, θ tells which of the two by")


def spread(results: Results) -> Sentence | None:
    """How much specialisation varies over classes, by category and over pairs."""
    told = _ends(results, "class_spread", "Beyond noise, θ varies over classes by")
    table = results.table("specialisation")
    if told is None or "class_spread_p" not in table.columns:
        return told
    known = table.drop_nulls(["class_spread_p"])
    found = known.filter(pl.col("class_spread_p") < SIGNIFICANT).height
    if not known.height:
        return told
    more = f"It is significant for {share(found, known.height)} pairs, where chance alone would give 5%."
    return Sentence(joined([told.text, more]), told.standing)


def _ends(results: Results, column: str, start: str) -> Sentence | None:
    table = results.table("specialisation_categories")
    if column not in table.columns:
        return None
    told = table.filter(pl.col("category").is_in(list(CATEGORIES)[:5])).drop_nulls([column])
    rows = in_order(told).to_dicts()
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    said = [f"{_degrees(row, column)} for {label(row['category'])}" for row in (first, last)]
    if len(rows) == 1:
        return Sentence(f"{start} {said[0]}.", over(first.get(f"{column}_low"), first.get(f"{column}_high")))
    standing = _apart(first, last, column)
    words = {
        "beyond": "; their intervals do not overlap",
        "within": "; their intervals overlap: chance is not excluded",
    }
    return Sentence(f"{start} {said[0]} and by {said[1]}{words.get(standing, '')}.", standing)


def _degrees(row: Mapping[str, Any], column: str) -> str:
    return degrees(row[column]) + within(row.get(f"{column}_low"), row.get(f"{column}_high"), degrees)


def _apart(one: Mapping[str, Any], other: Mapping[str, Any], column: str) -> Standing:
    ends = [row.get(f"{column}_{end}") for row in (one, other) for end in ("low", "high")]
    known = [float(end) for end in ends if end is not None]
    if len(known) < len(ends):
        return "untested"
    return "beyond" if known[1] < known[2] or known[3] < known[0] else "within"


def groups(results: Results) -> Sentence | None:
    """How many models and groups stand out after correction, and which most; and the same of classes."""
    table, classes = results.table("group_scores"), results.table("class_scores")
    table = table.drop_nulls(["difference", "q_value"]) if table.height else table
    parts, standing = [], Sentence("").standing
    if table.height:
        found = table.filter(pl.col("q_value") < SIGNIFICANT)
        standing = "beyond" if found.height else "within"
        parts.append(f"{share(found.height, table.height)} models and groups differ from what is expected (q < 0.05).")
        if (top := most(found, "difference")) is not None:
            parts.append(f"{top['model']} stands out most, on {top['group']} ({points(top['difference'])} points).")
    if classes.height:
        known = classes.drop_nulls(["q_value"])
        found = known.filter(pl.col("q_value") < SIGNIFICANT)
        standing = "beyond" if found.height or standing == "beyond" else "within"
        parts.append(f"Of single classes, {share(found.height, known.height)} models and classes do.")
    return Sentence(joined(parts), standing) if parts else None
