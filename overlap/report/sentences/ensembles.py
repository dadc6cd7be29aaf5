"""What the figures of ensembles show: gain against inconsistency, conversion, weak partners, searches, costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from overlap.report.drawings import gains as drawing
from overlap.report.findings import find
from overlap.report.results import Results
from overlap.report.sentences.sentence import Sentence, chance, median, most, over, row_where, share, within
from overlap.report.wording import amount, number, percent, points


def fit(results: Results) -> Mapping[str, Any] | None:
    """The row of the fit through all pairs, of the combiner the figures show."""
    if results.pair_ensembles.is_empty() or results.pairs.is_empty():
        return None
    table = drawing.joined(results.pairs, results.pair_ensembles)
    return drawing.fitted(results.table("gain_fits"), str(table["combiner"][0])) if table.height else None


def gains(results: Results) -> Sentence | None:
    """The slope of gain over error inconsistency beside that of the identity; else how many pairs gain."""
    row = fit(results)
    paying = _paying(results)
    if row is None:
        return paying
    per_ten = row["slope"] / 10
    low, high, alone = row.get("slope_low"), row.get("slope_high"), row["identity_slope"]
    text = f"Ten points more error inconsistency go with {points(per_ten)} points of gain over the mean of the two"
    text += within(low, high, lambda value: points(value / 10))
    if alone is None or low is None or high is None:
        return Sentence(f"{text}. {paying.text if paying else ''}".strip())
    apart = not low <= alone <= high
    text += f"; the identity alone gives {points(alone / 10)}, "
    text += "so the slope differs from it beyond chance." if apart else "inside that interval: no more than identity."
    return Sentence(f"{text} {paying.text if paying else ''}".strip(), "beyond" if apart else "within")


def _paying(results: Results) -> Sentence | None:
    table = results.pair_ensembles
    if table.is_empty() or not {"gain_low", "gain_high"} <= set(table.columns) or results.pairs.is_empty():
        return None
    known = drawing.joined(results.pairs, table).drop_nulls(["gain_low"])
    better = known.filter(pl.col("gain_low") > 0).height
    words = "pairs are more accurate together than the better of the two, with an interval above zero."
    return Sentence(f"{share(better, known.height)} {words}", "beyond" if better > 0.025 * known.height else "within")


def conversion(results: Results) -> Sentence | None:
    """Whether the conversion rate rises with divergence: the claim that no identity gives."""
    row = fit(results)
    if row is None or row["conversion_slope"] is None:
        return None
    words, standing = chance(row["conversion_p"])
    ends = within(row.get("conversion_slope_low"), row.get("conversion_slope_high"), lambda one: points(one / 10))
    change = f"by {points(row['conversion_slope'] / 10)} points for ten points of error inconsistency{ends}"
    mean = f"Of the images that exactly one gets right an ensemble gets {percent(row['conversion_mean'])} right"
    if standing == "beyond":
        verb = "rises" if row["conversion_slope"] > 0 else "falls"
        return Sentence(f"{mean}; that rate {verb} {change}; by permuting models {words}.", standing)
    if standing == "within":
        return Sentence(f"{mean}; that it changes, {change}, cannot be told from chance ({words}).", standing)
    return Sentence(f"{mean}; that rate changes {change}; not tested.")


def weak(results: Results) -> Sentence | None:
    """Whether weaker models help stronger ones, at the level of models."""
    row = row_where(results.table("weak_helps"), strong="all models")
    if row is None or row["share"] is None:
        return None
    words, standing = chance(row["p_value"])
    text = f"A weaker partner improves a stronger model in {percent(row['share'])} of the pairs"
    text += f", by {points(row['mean_gain'])} points in the mean; " if row["mean_gain"] is not None else "; "
    more = row["share"] > 0.5
    if standing == "beyond":
        return Sentence(f"{text}{'more' if more else 'less'} often than not: sign test over models, {words}.", standing)
    if standing == "within":
        return Sentence(f"{text}over models that cannot be told from a coin's toss ({words}).", standing)
    return Sentence(f"{text}not tested.")


def pools(results: Results) -> Sentence | None:
    """Greedy choice from weak models against a control of equal accuracies, by anchor."""
    table = results.table("searches")
    if table.is_empty():
        return None
    table = table.filter(pl.col("kind").is_in(["pool", "control"])).drop_nulls(["gain"])
    told: list[tuple[float, str, bool]] = []
    for anchor, rows in table.group_by("anchor", maintain_order=True):
        pool, control = (
            most(rows.filter(pl.col("kind") == "pool"), "gain"),
            most(rows.filter(pl.col("kind") == "control"), "gain"),
        )
        if pool is None or control is None:
            continue
        sides = [f"{points(one['gain'])}{within(one['gain_low'], one['gain_high'], points)}" for one in (pool, control)]
        known = pool["gain_low"] is not None and control["gain_high"] is not None
        apart = bool(known and pool["gain_low"] > control["gain_high"])
        told.append((pool["gain"] - control["gain"], f"{anchor[0]}: {sides[0]} against {sides[1]}", apart))
    if not told:
        return None
    told.sort(reverse=True)
    won = sum(apart for _, _, apart in told)
    text = "Weak models add more points than a control of equal accuracies from the anchor's own category for "
    text += f"{sum(difference > 0 for difference, _, _ in told)} of {len(told)} anchors, with disjoint intervals for "
    return Sentence(f"{text}{won} (widest at {told[0][1]}).", "beyond" if won else "within")


def greedy(results: Results) -> Sentence | None:
    """What the best search reaches over the best single model."""
    best = find(results).best_search
    if best is None or best.chosen.accuracy_test is None:
        return None
    step = best.chosen
    text = f"The search “{best.name}” stops at {best.best} members with {percent(step.accuracy_test)} on the test split"
    standing = over(step.gain_low, step.gain_high)
    if standing == "untested":
        return Sentence(f"{text}.")
    text += f", {points(step.gain_low)} to {points(step.gain_high)} points over the best single model"
    return Sentence(f"{text}{'' if standing == 'beyond' else ': not beyond chance'}.", standing)


def optimism(results: Results) -> Sentence | None:
    """How much choosing and reporting on the same images would overstate; and searches against each other."""
    table = results.table("searches")
    middle, worst = median(table, "optimism"), most(table, "optimism")
    if middle is None or worst is None:
        return None
    text = f"On the images that members were chosen on, ensembles look {points(middle)} points better than on the test "
    text += f"split, beyond what one model does, in the median of {table.height} searches, and at most "
    text += f"{points(worst['optimism'])} (“{worst['search']}”)."
    stronger, plain = (
        most(table.filter(pl.col("kind") == "weights"), "gain"),
        most(table.filter(pl.col("kind") == "forward"), "gain"),
    )
    if stronger and plain:
        gained = points(stronger["gain"])
        text += f" Weights found by CMA-ES gain {gained} points, greedy choice {points(plain['gain'])}."
    return Sentence(text)


def pareto(results: Results) -> Sentence | None:
    """How much of the gain the cheapest ensembles already have."""
    table = results.table("pareto")
    table = table.drop_nulls(["total", "accuracy_test"]) if table.height else table
    if table.is_empty():
        return None
    own = table.filter(pl.col("cost") == table["cost"][0])
    top, cheap = most(own, "accuracy_test"), most(own, "total", least=True)
    if top is None or cheap is None:
        return None
    text = f"By {top['cost']}, accuracy goes from {percent(cheap['accuracy_test'])} at {amount(cheap['total'])} to "
    text += (
        f"{percent(top['accuracy_test'])} at {amount(top['total'])} ({number(top['total'] / cheap['total'], 1)} times "
    )
    return Sentence(f"{text}the cost){_over(top)}.", over(top.get("gain_low"), top.get("gain_high")))


def _over(row: Mapping[str, Any]) -> str:
    low, high = row.get("gain_low"), row.get("gain_high")
    return "" if low is None or high is None else f"; {points(low)} to {points(high)} points over the best single model"
