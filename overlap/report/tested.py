"""What was tested, in the three lines a terminal has room for: the order of categories, weak partners, features."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from overlap.report.palette import in_order, label
from overlap.report.results import Results
from overlap.report.sentences.sentence import chance, row_where, within
from overlap.report.wording import percent, points

ORDERS = (("EI", "error_inconsistency", "all"), ("κ", "kappa", "all"), ("κ, accuracies matched", "kappa", "matched"))


def tested(results: Results) -> list[tuple[str, str]]:
    """Pairs of a heading and what was found; a table that was not computed gives no line."""
    return list(_tested(results))


def _tested(results: Results) -> Iterator[tuple[str, str]]:
    tests = results.table("category_tests")
    told = []
    for name, measure, selection in ORDERS:
        row = row_where(tests, measure=measure, selection=selection, test="order")
        if row is not None and row["p_value"] is not None:
            told.append(f"{name} {chance(row['p_value'])[0]}")
    if told:
        yield "Order of categories", ";  ".join(told)
    weak = row_where(results.table("weak_helps"), strong="all models")
    if weak is not None and weak["share"] is not None:
        yield "Weak partners help", f"in {percent(weak['share'])} of pairs, {chance(weak['p_value'])[0]}"
    mixed = results.table("feature_mixing_summary")
    if mixed.height:
        rows = in_order(mixed.filter(pl.col("control") == "pair").drop_nulls(["gain_base"])).to_dicts()
        parts = [
            f"{label(row['category'])} {points(row['gain_base'])}"
            f"{within(row.get('gain_base_low'), row.get('gain_base_high'), points)}"
            for row in (*rows[:1], *rows[1:][-1:])
        ]
        if parts:
            yield "Half the features each", ";  ".join(parts)
