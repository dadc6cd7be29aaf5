"""Why a value can be absent from a column of the results."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

SEARCHED = ("size", "distinct", "accuracy_select", "accuracy_test", "gain", "gain_low", "gain_high", "optimism")

WHY_NULL: Mapping[str, str] = {
    "n": "not complete: nothing was counted",
    "accuracy": "not complete, or no image",
    "fingerprint": "predictions were imported: no weights to identify",
    "top5": "fewer than five classes, or hard predictions only",
    "nll": "no logits: predictions were imported",
    "ece": "no logits: predictions were imported",
    "temperature": "no logits: predictions were imported",
    "noise_floor_ei": "measured only where a checkpoint ran in reduced precision",
    "category": "an axis of training is missing on either side before one that differs",
    "kappa": "undefined: at these accuracies agreement by chance is certain (both always right, or both always wrong)",
    "kappa_low": "undefined where κ is, or a category too small for an interval",
    "kappa_high": "undefined where κ is, or a category too small for an interval",
    "kappa_min": "undefined where κ is",
    "kappa_max": "undefined where κ is",
    "null_low": "undefined where κ is",
    "null_high": "undefined where κ is",
    "conversion_rate": "no image that exactly one of the two gets right",
    "r11": "no image that both get right",
    "r00": "no image that both get wrong",
    "error_inconsistency_low": "a category too small for an interval",
    "error_inconsistency_high": "a category too small for an interval",
    "kappa_matched": "no two models of like accuracy in this category",
    "error_inconsistency_matched": "no two models of like accuracy in this category",
    "gain_low": "no image to measure a gain on, or a category too small for an interval",
    "gain_high": "no image to measure a gain on, or a category too small for an interval",
    "gain_best": "no two models of this category that both have logits",
    "gain_best_low": "no gain, or a category too small for an interval",
    "gain_best_high": "no gain, or a category too small for an interval",
    "accuracy_test": "the test split has no image",
    "capa": "no calibrated probabilities of both: predictions were imported",
    "symmetric_kl": "no calibrated probabilities of both: predictions were imported",
    "jensen_shannon": "no calibrated probabilities of both: predictions were imported",
    "log_odds_ratio": "a cell of the two-by-two table of correctness is empty",
    "yule_q": "undefined: two cells of the two-by-two table of correctness are empty",
    "correlation": "undefined: one of the two is always right, or always wrong",
    "kappa_by_difficulty": "no error inconsistency is expected by difficulty, or too few other models",
    "expected_by_difficulty": "too few other models to tell the difficulty of images",
    "kappa_between": "no image in between, or κ undefined on them",
    "error_inconsistency_between": "no image that some but not all models get right",
    "category_b": "a test of the order of all categories",
    "category_a": "a test of the order of all categories",
    "p_value": "too few models to permute, or nothing to compare; the row says why",
    "estimate": "nothing to compare; the row says why",
    "mean": "no pair for which it is defined",
    "low": "too few models for an interval",
    "high": "too few models for an interval",
    "conversion_p": "too few models to permute",
    "class_spread": "too few inconsistent images",
    "class_spread_p": "too few inconsistent images",
    "group_spread": "the data set names no groups, or too few inconsistent images",
    "group_spread_p": "the data set names no groups, or too few inconsistent images",
    "favours_a": "the data set names no groups",
    "favours_b": "the data set names no groups",
    "theta_only_a": "no image that only this one gets right",
    "theta_only_b": "no image that only this one gets right",
    "theta_separation": "no image that only one gets right, on either side",
    "anchor": "the search starts from no model",
    "nll_test": "the search looks at accuracy alone",
    "model_b": "one model alone",
    "weak_helps.accuracy": "the row of all models",
    "weak_helps.p_value": "tested over all models alone, in the last row",
    "weak_helps.share": "no weaker model",
    "weak_helps.mean_gain": "no weaker model",
    "p_adjusted": "a test of the order of all categories, or one without p",
    "axes.error_inconsistency": "pairs that are only counted, or too few models for an interval",
    "axes.kappa": "pairs that are only counted, or too few models for an interval",
    "axes.gain_best": "pairs that are only counted, or without logits, or too few models for an interval",
    "specialisation.favours_a": "no groups, or none on which it is more confident than on the others",
    "specialisation.favours_b": "no groups, or none on which it is more confident than on the others",
    "name": "the data set names no classes",
    "gflops": "the cost of a member is unknown",
    "parameters": "the cost of a member is unknown",
    "milliseconds": "the cost of a member is unknown",
    "uncertified": "no choice of this search is certified",
    **dict.fromkeys((f"searches.{column}" for column in SEARCHED), "the search found no ensemble; the row says why"),
    "pareto.budget": "on the front, found under no budget of its own",
    "r2_a_from_b": "measured for the pairs that probes were asked for alone",
    "r2_b_from_a": "measured for the pairs that probes were asked for alone",
    **dict.fromkeys(
        (f"pair_ensembles.{column}" for column in ("accuracy", "gain_mean", "gain_best", "gain_low", "gain_high")),
        "an image is undecided by the largest logits (see pair_ensemble_bounds)",
    ),
    **dict.fromkeys(
        (f"ensembles.{column}" for column in ("accuracy_select", "accuracy_test", "gain_low", "gain_high")),
        "an image is undecided by the largest logits (see ensemble_bounds), or the test split has none",
    ),
    "ensemble_bounds.accuracy_select": "the selection split has no image",
    "ensemble_bounds.accuracy_test": "the test split has no image",
    "top_agreement.width": "no image",
    "top_agreement.width_mean": "no image",
    "top_agreement.width_max": "no image",
    "top_agreement.confidence_error_max": "the audit sample has no image",
    "feature_mixing.category": "a control of one model with itself",
    "feature_mixing_summary.category": "a control of one model with itself",
    "feature_mixing_summary.gain_base": "too few models for an interval",
    "feature_mixing_summary.gain_other": "the control has no other end, or too few models for an interval",
    "feature_compression_summary.dimension": "no pair reaches the target, or too few models for an interval",
    "feature_downstream.gain_best": "one model alone",
    "feature_downstream.gain_low": "one model alone, or no interval",
    "feature_downstream.gain_high": "one model alone, or no interval",
}

NOT_TOLD = frozenset(
    {
        *("parent", "teacher", "reason", "seed", "dataset", "framework", "architecture", "hyper_parameters"),
        *("anchor", "category_a", "category_b", "model_b", "group"),
    }
)
"""Columns that are often empty by nature: nobody is told."""


def absences(tables: Mapping[str, pl.DataFrame]) -> list[tuple[str, str, int, int, str]]:
    """Where values are absent: (table, column, nulls, rows, reason); a NaN counts as a null."""
    found = []
    for name, table in tables.items():
        for column in table.get_columns():
            if column.name in NOT_TOLD:
                continue
            absent = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)
            if absent:
                bare = column.name.removesuffix("_low").removesuffix("_high")
                keys = (f"{name}.{column.name}", f"{name}.{bare}", column.name, bare)
                reason = next((WHY_NULL[key] for key in keys if key in WHY_NULL), "")
                found.append((name, column.name, absent, table.height, reason))
    return found
