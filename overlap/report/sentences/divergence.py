"""What the figures of divergence show: the order of categories, crossed axes, kappa of pairs, difficulty of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from overlap.report import measures
from overlap.report.palette import CATEGORIES, label
from overlap.report.results import Results
from overlap.report.sentences.sentence import (
    SIGNIFICANT,
    Sentence,
    chance,
    joined,
    median,
    most,
    over,
    row_where,
    share,
    within,
)
from overlap.report.wording import number, percent, points

CONVENTION = tuple(CATEGORIES)[:5]


def order(results: Results) -> Sentence | None:
    """The order of error inconsistency over the categories, and of kappa, and whether accuracy explains it."""
    told = by_measure(results, "error_inconsistency")
    if told is None:
        return None
    kappa = row_where(results.table("category_tests"), measure="kappa", selection="all", test="order")
    matched = row_where(results.table("category_tests"), measure="kappa", selection="matched", test="order")
    more = []
    if kappa is not None and kappa["p_value"] is not None:
        words, standing = chance(kappa["p_value"])
        rest = "orders the categories too" if standing == "beyond" else "does not order them beyond chance"
        more.append(f"κ, which accuracy alone does not move, {rest} ({words}).")
    if matched is not None and matched["p_value"] is not None:
        words, standing = chance(matched["p_value"])
        rest = "the order of κ stays" if standing == "beyond" else "the order of κ cannot be told from chance"
        more.append(f"With accuracies matched, {rest} ({words}).")
    return Sentence(joined([told.text, *more]), told.standing)


def choice(results: Results, columns: tuple[str, str]) -> Sentence | None:
    """The order of the two measures of one panel."""
    told = [found for column in columns if (found := by_measure(results, column)) is not None]
    if not told:
        return None
    return Sentence(joined(one.text for one in told), told[0].standing)


def by_measure(results: Results, measure: str) -> Sentence | None:
    """One measure from the first category to the last, with the test of their order."""
    means = _means(results, measure)
    if not means:
        return None
    show: Callable[[Any], str] = percent if measures.percent(measure) else number
    if measure == "gain_best":
        show = _gained
    (first, low), (last, high) = means[0], means[-1]
    name = measures.short(measure)
    name = name if name.startswith("κ") else name[0].upper() + name[1:]
    if len(means) == 1:
        return Sentence(f"{name} is {show(low)} for {label(first)}, the only category of pairs.")
    test = row_where(results.table("category_tests"), measure=measure, selection="all", test="order")
    words, standing = chance(None if test is None else test["p_value"])
    ends = f"from {label(first)} ({show(low)}) to {label(last)} ({show(high)})"
    verb = "rises" if high > low else "falls"
    if standing == "untested":
        return Sentence(f"{name} {verb} {ends}; the order was not tested.")
    if standing == "within":
        return Sentence(f"{name} goes {ends}; by permuting models that cannot be told from chance ({words}).", standing)
    return Sentence(f"{name} {verb} {ends}; by permuting models {words}.", standing)


def _gained(value: Any) -> str:
    return f"{points(value)} points"


def _means(results: Results, measure: str) -> list[tuple[str, float]]:
    """Mean of a measure by category, in the order of divergence; categories outside it are left out."""
    table = results.categories
    held: dict[str, Any] = {}
    if measure in table.columns:
        held = dict(table.select("category", measure).iter_rows())
    further = results.table("divergence_categories")
    if further.width:
        own = further.filter((pl.col("measure") == measure) & (pl.col("selection") == "all"))
        held = dict(own.select("category", "mean").iter_rows()) | {k: v for k, v in held.items() if v is not None}
    return [(name, float(held[name])) for name in CONVENTION if held.get(name) is not None]


def pairs(results: Results) -> Sentence | None:
    """How far kappa of single pairs spreads, and how many are not told from independent models."""
    table = results.scan("pairs")
    low, high = most(table, "kappa", least=True), most(table, "kappa")
    if low is None or high is None:
        return None
    text = f"κ runs from {number(low['kappa'])} to {number(high['kappa'])}"
    text += f", with {number(median(table, 'kappa'))} in the middle"
    if not {"null_low", "null_high"} <= set(table.collect_schema()):
        return Sentence(text + ".")
    above = pl.col("kappa") > pl.col("null_high")
    known = table.drop_nulls(["kappa", "null_low", "null_high"]).select(pl.len(), above.sum().alias("alike"))
    of, alike = known.collect(engine="streaming").row(0)
    words = "pairs err together more often than independent models of their accuracies would"
    standing = Sentence("", "beyond" if alike > SIGNIFICANT * of else "within").standing
    return Sentence(f"{text}; {share(alike, of)} {words}, where chance alone gives 2.5%.", standing)


def axes(results: Results) -> Sentence | None:
    """Which single axis moves error inconsistency most, beside pairs that differ in none."""
    table = results.table("axes")
    if table.is_empty():
        return None
    known = table.filter(~pl.col("differs").str.contains(r"[+:]")).drop_nulls(["error_inconsistency"])
    rows: Mapping[str, Mapping[str, Any]] = {row["differs"]: row for row in known.to_dicts()}
    single = most(known.filter(pl.col("differs") != "none"), "error_inconsistency")
    if single is None:
        return Sentence("No two models of this study differ in one axis alone, so the axes cannot be told apart.")
    name = single["differs"].replace("_", "-")
    text = f"Of pairs that differ in one axis alone, those that differ in {name} err most differently"
    text += f": EI {percent(single['error_inconsistency'])}{_interval(single)}"
    nothing = rows.get("none")
    if nothing is None:
        return Sentence(f"{text}; no two models differ in none.")
    ends = (single.get("error_inconsistency_low"), nothing.get("error_inconsistency_high"))
    text += f", against {percent(nothing['error_inconsistency'])}{_interval(nothing)} where they differ in none"
    if ends[0] is None or ends[1] is None:
        return Sentence(f"{text}.")
    apart = ends[0] > ends[1]
    return Sentence(
        f"{text}; the intervals {'do not overlap' if apart else 'overlap, so chance is not ruled out'}.",
        "beyond" if apart else "within",
    )


def _interval(row: Mapping[str, Any]) -> str:
    return within(row.get("error_inconsistency_low"), row.get("error_inconsistency_high"), percent)


def difficulty(results: Results) -> Sentence | None:
    """Images that all, none, or some get right; and what is left of kappa once difficulty is taken out."""
    table, pairs_ = results.table("difficulty"), results.table("divergence")
    if table.is_empty():
        return None
    counts = dict(table["group"].value_counts().iter_rows())
    every, none, some = (counts.get(name, 0) / table.height for name in ("all", "none", "between"))
    text = f"All models get {percent(every)} of the images right and none gets {percent(none)}"
    everywhere = results.scan("pairs")
    if 0 < pairs_.height < results.rows("pairs"):  # detailed measures are of a selection: compare it with itself
        names = ["model_a", "model_b"]
        everywhere = everywhere.join(pairs_.lazy().select(names), on=names, how="semi")
    between, whole = median(pairs_, "kappa_between"), median(everywhere, "kappa")
    if between is not None:
        text += f"; on the {percent(some)} in between the median κ of a pair is {number(between)}"
        text += f", against {number(whole)} on all images" if whole is not None else ""
    text += "."
    if not {"kappa_by_difficulty", "kappa_by_difficulty_low"} <= set(pairs_.columns):
        return Sentence(text)
    known = pairs_.drop_nulls(["kappa_by_difficulty", "kappa_by_difficulty_low"])
    left = known.filter(pl.col("kappa_by_difficulty_low") > 0).height
    if not known.height:
        return Sentence(text)
    text += f" Beyond the difficulty that all models share, {share(left, known.height)} pairs still err together."
    return Sentence(text, over(*_middle(known)))


def _middle(known: pl.DataFrame) -> tuple[float | None, float | None]:
    """The median interval: what a typical pair shows."""
    return median(known, "kappa_by_difficulty_low"), median(known, "kappa_by_difficulty_high")
