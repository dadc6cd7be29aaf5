"""Every table results can hold, as data: its name, what a row is, and the columns the views cannot do without.

A table may have more columns than are named here; one that lacks a named column is refused by `Results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of table."""

    row: str
    """What a row is, in one line."""
    needs: frozenset[str]
    """Columns the views read without asking whether they are there."""


def _kind(row: str, *needs: str) -> Kind:
    return Kind(row, frozenset(needs))


KINDS: Mapping[str, Kind] = {
    "models": _kind("a checkpoint or imported model", "model", "fingerprint", "n", "accuracy"),
    "pairs": _kind(
        "a pair, from hard predictions on every image",
        *("model_a", "model_b", "category", "n", "error_inconsistency", "kappa"),
    ),
    "pair_ensembles": _kind(
        "a pair and combiner, out-of-fold calibrated",
        *("model_a", "model_b", "combiner", "gain_mean", "gain_best", "conversion_rate"),
    ),
    "ensembles": _kind(
        "a step of a search; gains are over the best single model, on the test split",
        *("search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"),
    ),
    "categories": _kind(
        "a category of pair: means over pairs, intervals by bootstrap over models and images",
        *("category", "pairs", "error_inconsistency", "kappa"),
    ),
    "divergence": _kind(
        "a pair: further measures of how differently the two predict", "model_a", "model_b", "category", "n"
    ),
    "divergence_categories": _kind(
        "a measure, category and selection of pairs: the mean with its interval",
        *("measure", "category", "selection", "pairs", "mean", "low", "high"),
    ),
    "category_tests": _kind(
        "a test that permutes models: of the order of all categories, or of the difference of two",
        *("measure", "selection", "test", "category_a", "category_b", "estimate", "p_value"),
    ),
    "axes": _kind(
        "a set of training axes in which pairs differ, and in no other",
        *("differs", "pairs", "error_inconsistency", "kappa"),
    ),
    "difficulty": _kind("an image, and how many models get it right", "key", "label", "right", "group", "difficulty"),
    "driving": _kind(
        "an image that only one of a pair gets right, the most confident first",
        *("model_a", "model_b", "rank", "key", "label", "right"),
    ),
    "divisive": _kind("an image on which many pairs are inconsistent, the most first", "rank", "key", "label", "pairs"),
    "gain_fits": _kind(
        "a combiner and group of pairs: gain and conversion rate fitted against error inconsistency",
        *("combiner", "group", "slope", "intercept", "identity_slope", "conversion_slope", "conversion_p"),
    ),
    "theta": _kind(
        "a bin of the angle between the confidences of the two, by category and by who is right",
        *("category", "split", "low", "high", "count"),
    ),
    "specialisation": _kind(
        "a pair: how its confidence separates who is right, and how much that varies over classes",
        *("model_a", "model_b", "category", "theta_separation", "class_spread", "class_spread_p"),
    ),
    "specialisation_categories": _kind(
        "a category: means of specialisation over its pairs", "category", "pairs", "theta_separation", "class_spread"
    ),
    "class_scores": _kind(
        "a model and class: accuracy against what the model and the class alone would give",
        *("model", "class", "name", "score", "q_value", "best_of_zoo"),
    ),
    "group_scores": _kind(
        "a model and group of classes: accuracy against what the model and the group alone would give",
        *("model", "group", "difference", "q_value"),
    ),
    "weak_helps": _kind(
        "a strong model: how many weaker partners improve it; the last row is the test over all models",
        *("strong", "weak_models", "helped", "share", "mean_gain", "p_value"),
    ),
    "searches": _kind(
        "a search: what it was allowed, what it reached, and how optimistic its own split was",
        *("search", "kind", "size", "accuracy_select", "accuracy_test", "gain_low", "gain_high"),
    ),
    "ensemble_weights": _kind("a member of a weighted ensemble", "search", "model", "weight"),
    "pareto": _kind(
        "a budget: the best ensemble found within it",
        *("cost", "budget", "total", "members", "accuracy_test"),
    ),
    "pair_ensemble_bounds": _kind(
        "a pair and combiner of a study that stores the largest logits: between what its accuracy certainly lies",
        *("model_a", "model_b", "combiner", "n", "undecided", "accuracy_low", "accuracy_high"),
    ),
    "ensemble_bounds": _kind(
        "a step of a search of such a study: between what its accuracies certainly lie",
        *("search", "step", "undecided_select", "undecided_test", "accuracy_test_low", "accuracy_test_high"),
    ),
    "top_agreement": _kind(
        "a checkpoint of such a study: bounds that were compared with all logits, all of which held, and their widths",
        *("model", "audited", "width_max"),
    ),
    "feature_pairs": _kind(
        "a pair: similarity of penultimate features", "model_a", "model_b", "category", "cka", "r2_a_from_b"
    ),
    "feature_mixing": _kind(
        "a linear probe on features mixed from two models at a rate, the dimension held",
        *("base", "other", "category", "control", "rate", "accuracy"),
    ),
    "feature_mixing_summary": _kind(
        "a category and control: gain of half-and-half over either end",
        *("category", "control", "pairs", "gain_base", "gain_other"),
    ),
    "feature_compression": _kind(
        "a linear probe on the first features of two models by covariance, or at random",
        *("base", "other", "category", "order", "dimension", "accuracy"),
    ),
    "feature_compression_summary": _kind(
        "a category and order of features: how many are needed for a share of the base's accuracy",
        *("category", "order", "target", "pairs", "reached", "dimension"),
    ),
    "feature_downstream": _kind(
        "a downstream data set and one model, or two with their features concatenated",
        *("data", "model_a", "model_b", "metric", "value"),
    ),
}
"""The tables by name, in the order a reader wants them."""

FIRST = ("models", "pairs", "pair_ensembles", "ensembles", "categories")
"""Tables that are attributes of `Results`; the others are in its mapping `more`."""


def complaint(name: str, columns: set[str]) -> str | None:
    """What is wrong with a table of that name and those columns; None where nothing is."""
    if name not in KINDS:
        return f"no table is called {name!r}; known: {', '.join(KINDS)}"
    if missing := KINDS[name].needs - columns:
        return f"table {name!r} lacks the columns {sorted(missing)}"
    return None
