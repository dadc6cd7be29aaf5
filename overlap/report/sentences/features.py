"""What the figures of features show: mixing, compression, similarity against divergence, and downstream data."""

from __future__ import annotations

import math

import polars as pl

from overlap.report.palette import in_order, label
from overlap.report.results import Results
from overlap.report.sentences.sentence import Sentence, Standing, most, over, within
from overlap.report.wording import number, percent, points

NEARLY = 0.99
"""Share of the accuracy that all pairs reach at which features are counted."""


def mixing(results: Results) -> Sentence | None:
    """Whether half and half beats both ends, and whether two halves of one model do so too."""
    table = results.table("feature_mixing_summary")
    if table.is_empty():
        return None
    own = in_order(table.filter(pl.col("control") == "pair").drop_nulls(["gain_base"]))
    if own.is_empty():
        return None
    won, told = [], []
    for row in own.to_dicts():
        lows = [row.get("gain_base_low"), row.get("gain_other_low")]
        ends = within(row.get("gain_base_low"), row.get("gain_base_high"), points)
        told.append(f"{label(row['category'])} {points(row['gain_base'])}{ends}")
        if all(low is not None and low > 0 for low in lows):
            won.append(label(row["category"]))
    text = f"Half the features of each model against all of the base's, dimension held: {', '.join(told)} points. "
    text += f"Both ends are beaten beyond chance for {', '.join(won)}." if won else "Both ends are beaten for none."
    control = most(table.filter(pl.col("control") == "halves"), "gain_base")
    if control is not None:
        text += f" Two halves of one model give at most {points(control['gain_base'])}."
    return Sentence(text, "beyond" if won else "within")


def compression(results: Results) -> Sentence | None:
    """Features needed for the same accuracy, by category: of the summary where there is one, else counted here."""
    summary = results.table("feature_compression_summary")
    if summary.height:
        return _needed(summary)
    table = results.table("feature_compression")
    if table.height:
        table = table.filter(pl.col("order") == "covariance").drop_nulls(["accuracy"])
    if table.is_empty():
        return None
    tops = table.group_by("base", "other").agg(pl.col("accuracy").max())
    target = NEARLY * float(str(tops["accuracy"].min()))
    reached = table.filter(pl.col("accuracy") >= target)
    least = reached.group_by("base", "other", "category").agg(pl.col("dimension").min())
    rows = in_order(least.group_by("category").agg(pl.col("dimension").mean()).sort("category", nulls_last=True))
    told = [f"{label(row['category'])} {row['dimension']:,.0f}" for row in rows.to_dicts()]
    return Sentence(f"Features needed for {percent(target)}, ranked by covariance: {', '.join(told)}. Not tested.")


def _needed(summary: pl.DataFrame) -> Sentence | None:
    """The features each category needs for the highest target that all of them know, and whether intervals part."""
    own = summary.filter(pl.col("order") == "covariance").drop_nulls(["dimension", "target"])
    if own.is_empty():
        return None
    counts = own.group_by("target").len().sort(["len", "target"], descending=True)
    target = counts["target"][0]
    rows = in_order(own.filter(pl.col("target") == target)).to_dicts()

    def show(value: object) -> str:
        return f"{float(str(value)):,.0f}"

    told = [
        f"{label(row['category'])} {show(row['dimension'])}"
        f"{within(row.get('dimension_low'), row.get('dimension_high'), show)}"
        for row in rows
    ]
    text = f"Features needed for {percent(target)} of the base's accuracy, ranked by covariance: {', '.join(told)}"
    ends = [rows[0].get("dimension_low"), rows[-1].get("dimension_high")]
    if len(rows) == 1 or ends[0] is None or ends[1] is None:
        return Sentence(f"{text}.")
    apart = ends[1] < ends[0]
    words = "the last needs fewer than the first beyond chance" if apart else "first and last cannot be told apart"
    return Sentence(f"{text}; {words}.", "beyond" if apart else "within")


def similarity(results: Results) -> Sentence | None:
    """The rank correlation of CKA with error inconsistency over pairs."""
    table = against(results)
    if table.height < 3:
        return None
    ranks = table.select(pl.corr("cka", "error_inconsistency", method="spearman")).item()
    if ranks is None or math.isnan(ranks):
        return None
    text = f"Over {table.height:,} pairs the rank correlation of CKA with error inconsistency is {number(ranks)}"
    return Sentence(f"{text}; pairs share models, and this was not tested.")


def against(results: Results) -> pl.DataFrame:
    """One row a pair with both CKA and error inconsistency."""
    held = results.table("feature_pairs")
    if held.is_empty() or results.pairs.is_empty():
        return pl.DataFrame()
    wanted = results.pairs.select("model_a", "model_b", "error_inconsistency")
    table = held.join(wanted, on=["model_a", "model_b"]).drop_nulls(["cka", "error_inconsistency"])
    return table.filter(pl.col("cka").is_not_nan())


def downstream(results: Results) -> Sentence | None:
    """The best pair against the best single model on each downstream data set."""
    table = results.table("feature_downstream")
    if table.is_empty():
        return None
    table = table.drop_nulls(["value"])
    told: list[str] = []
    standings: set[Standing] = set()
    for (data, metric), rows in table.group_by("data", "metric", maintain_order=True):
        single, pair = (
            most(rows.filter(pl.col("model_b").is_null()), "value"),
            most(rows.filter(pl.col("model_b").is_not_null()), "value"),
        )
        if pair is None:
            continue
        name = "11-point mAP" if metric == "map_11" else "accuracy"
        said = f"On {data} the best concatenated pair has {percent(pair['value'])} {name}"
        said += f", the best single model {percent(single['value'])}" if single else ""
        gain = f"; over the better of the two {points(pair['gain_best'])}" if pair.get("gain_best") is not None else ""
        told.append(f"{said}{gain}{within(pair.get('gain_low'), pair.get('gain_high'), points)}.")
        standings.add(over(pair.get("gain_low"), pair.get("gain_high")))
    if not told:
        return None
    return Sentence(" ".join(told), "beyond" if "beyond" in standings else standings.pop())
