"""The further figures as data: which tables each needs, how it is drawn, what it says, and why it may be absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from overlap.report import readings
from overlap.report.drawings import (
    against,
    angles,
    difficulty,
    gains,
    groups,
    intervals,
    optimism,
    pareto,
    probes,
    weak,
)
from overlap.report.drawings.intervals import Panel
from overlap.report.palette import colour, in_order, label
from overlap.report.results import Results
from overlap.report.sentences import divergence, ensembles, features, specialisation
from overlap.report.sentences.sentence import Sentence

NO_LOGITS = "no two models have logits"
NO_FEATURES = "no features were stored (`predict.features`), or no probe was asked for"
NO_SEARCH = "no search was made: fewer than two models have logits"


@dataclass(frozen=True)
class Plot:
    """One figure that is drawn from further tables."""

    name: str
    title: str
    needs: tuple[str, ...]
    """Tables that must have rows."""
    draw: Callable[[Results], str]
    says: Callable[[Results], Sentence | None]
    reading: str
    absent: str
    """Why it may not be there."""
    holds: Callable[[Results], bool] = lambda _: True
    """Whether the rows of the tables suffice."""


def _axes(results: Results) -> str:
    rows = results.table("axes").drop_nulls(["error_inconsistency"]).to_dicts()
    names = [f"{row['differs'].replace('_', '-')} ({row['pairs']:,})" for row in rows]
    panels = (
        Panel("error_inconsistency", "error incons. (%)", percent=True),
        Panel("kappa", "error consistency κ"),
        Panel("gain_best", "gain over better (points)", percent=True, signed=True),
    )
    return intervals.draw(rows, names, None, panels, "axes")


def _conversion(results: Results) -> str:
    table = gains.joined(results.pairs, results.pair_ensembles)
    row = ensembles.fit(results)
    line = None
    if row is not None and row["conversion_slope"] is not None and row["conversion_mean"] is not None:
        line = (row["conversion_slope"], row["conversion_mean"])
    labels = ("error inconsistency (% of images)", "conversion rate (%)")
    return against.draw(table, ("error_inconsistency", "conversion_rate"), labels, "conversion", line)


def _cka(results: Results) -> str:
    labels = ("error inconsistency (% of images)", "linear CKA")
    return against.draw(features.against(results), ("error_inconsistency", "cka"), labels, "cka")


def _spread(results: Results) -> str:
    rows = in_order(results.table("specialisation_categories")).to_dicts()
    panels = [Panel("theta_separation", "separation by θ (°)"), Panel("class_spread", "spread over classes (°)")]
    panels += [Panel("group_spread", "over groups (°)")] if any(row.get("group_spread") for row in rows) else []
    tones = [colour(row["category"]).light for row in rows]
    return intervals.draw(rows, [label(row["category"]) for row in rows], tones, panels, "specialisation")


def _pooled(results: Results) -> pl.DataFrame:
    table = results.table("searches")
    return table.filter(pl.col("kind").is_in(["pool", "control"])).drop_nulls(["gain", "anchor"])


def _pools(results: Results) -> str:
    rows = _pooled(results).sort("anchor", "kind", descending=[False, True]).head(40).to_dicts()
    tones = [colour("dataset" if row["kind"] == "pool" else "reinit").light for row in rows]
    names = [f"{'weak' if row['kind'] == 'pool' else 'control'} · {row['anchor']}" for row in rows]
    panel = Panel(
        "gain", "gain over the best single (points)", percent=True, signed=True, low="gain_low", high="gain_high"
    )
    return intervals.draw(rows, names, tones, [panel], "pools")


def _downstream(results: Results) -> str:
    table = results.table("feature_downstream").drop_nulls(["value"]).sort("data", "value", descending=[False, True])
    rows = table.head(40).to_dicts()
    names = [f"{row['model_a']} + {row['model_b']}" if row["model_b"] else row["model_a"] for row in rows]
    tones = [colour("dataset" if row["model_b"] else "reinit").light for row in rows]
    return intervals.draw(
        rows, names, tones, [Panel("value", "value (%)", percent=True, low="low", high="high")], "downstream"
    )


PLOTS = (
    Plot("axes", "Which axes differ at all", ("axes",), _axes, divergence.axes, readings.AXES,
         "the axes of training are not known", lambda one: one.table("axes")["error_inconsistency"].count() > 0),
    Plot("difficulty", "Images by how many models get them right", ("difficulty",),
         lambda one: difficulty.draw(one.table("difficulty"), _models(one), "difficulty"),
         divergence.difficulty, readings.DIFFICULTY, "fewer than two models, or no image"),
    Plot("conversion", "Conversion rate against error inconsistency", ("pairs", "pair_ensembles"),
         _conversion, ensembles.conversion, readings.CONVERSION, NO_LOGITS),
    Plot("weak", "Do weak models help strong ones?", ("weak_helps",),
         lambda one: weak.draw(one.table("weak_helps").filter(pl.col("strong") != "all models"), "weak"),
         ensembles.weak, readings.WEAK, NO_LOGITS),
    Plot("pools", "Weak models against a control of equal accuracies", ("searches",),
         _pools, ensembles.pools, readings.POOLS, "no search from a pool was made",
         lambda one: _pooled(one).height > 0),
    Plot("optimism", "Choosing and reporting on the same images", ("searches",),
         lambda one: optimism.draw(one.table("searches"), "optimism"),
         ensembles.optimism, readings.OPTIMISM, NO_SEARCH),
    Plot("pareto", "Accuracy against cost", ("pareto",),
         lambda one: pareto.draw(one.table("pareto"), "pareto"), ensembles.pareto, readings.PARETO,
         "no cost of the models is known, or no search was made"),
    Plot("theta", "Who is more confident, by who is right", ("theta",),
         lambda one: angles.draw(one.table("theta"), "theta"), specialisation.theta, readings.THETA, NO_LOGITS),
    Plot("specialisation", "Specialisation by category of pair", ("specialisation_categories",),
         _spread, specialisation.spread, readings.SPREAD, NO_LOGITS),
    Plot("groups", "Models by groups of classes", ("group_scores",),
         lambda one: groups.draw(one.table("group_scores"), "groups"), specialisation.groups, readings.GROUPS,
         "the data set names no groups of classes"),
    Plot("mixing", "Features of two models, mixed at fixed dimension", ("feature_mixing",),
         lambda one: probes.mixing(one.table("feature_mixing"), "mixing"),
         features.mixing, readings.MIXING, NO_FEATURES),
    Plot("compression", "Features needed, most diverse first", ("feature_compression",),
         lambda one: probes.compression(one.table("feature_compression"), "compression"),
         features.compression, readings.COMPRESSION, NO_FEATURES),
    Plot("cka", "Similarity of features against error inconsistency", ("feature_pairs", "pairs"),
         _cka, features.similarity, readings.CKA, NO_FEATURES, lambda one: features.against(one).height > 0),
    Plot("downstream", "Concatenated features on downstream data", ("feature_downstream",),
         _downstream, features.downstream, readings.DOWNSTREAM, "no downstream data set was given"),
)  # fmt: skip
"""In the order of the page."""


def _models(results: Results) -> int:
    """How many models the counts of images are out of: those in pairs."""
    if results.rows("pairs"):
        ends = [results.scan("pairs").select(pl.col(name).unique()).collect() for name in ("model_a", "model_b")]
        return len({*ends[0]["model_a"], *ends[1]["model_b"]})
    return max(results.table("difficulty")["right"].drop_nulls().to_list(), default=1)
