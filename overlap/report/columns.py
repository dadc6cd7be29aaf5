"""What the columns of the results mean, and why a value can be absent from them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

MEANINGS: Mapping[str, str] = {
    "model": "the checkpoint's id in the study",
    "model_a": "the first of the two, by name",
    "model_b": "the second of the two, by name",
    "fingerprint": "identity of weights, architecture, preprocessing and numeric mode",
    "n": "images counted",
    "accuracy": "share of images whose highest-scoring class is the label",
    "top5": "share of images whose label is among the five highest-scoring classes",
    "nll": "mean negative log-likelihood of the label, out-of-fold calibrated, in nats",
    "ece": "expected calibration error after calibration, 15 equal-mass bins",
    "temperature": "temperature that minimises the NLL on all images; above 1: the network was overconfident",
    "noise_floor_ei": "error inconsistency of the model with itself between float32 and the reduced precision used",
    "status": "whether every shard is predicted, and the accuracy is as published where that is known",
    "category": "outermost way in which the two trainings differ",
    "both_right": "images that both get right",
    "only_a": "images that only the first gets right",
    "only_b": "images that only the second gets right",
    "both_wrong": "images that neither gets right",
    "error_inconsistency": "EI: share of images that exactly one of the two gets right; 1 − observed error consistency",
    "kappa": "error consistency κ = 1 − EI / EI of independent models at these accuracies; 1 same, 0 as independent",
    "kappa_low": "lower end of the 95% interval of κ",
    "kappa_high": "upper end of the 95% interval of κ",
    "kappa_min": "lowest κ two models of these accuracies can have",
    "kappa_max": "highest κ two models of these accuracies can have",
    "null_low": "lower end of the 95% range of κ for independent models of these accuracies on n images",
    "null_high": "upper end of that range",
    "disagreement": "share of images on which the two predict different classes, right or wrong",
    "combiner": "how the calibrated outputs are averaged",
    "gain_mean": "accuracy of the ensemble − mean accuracy of the two",
    "gain_best": "accuracy of the ensemble − accuracy of the better of the two",
    "gain_low": "lower end of the 95% paired interval of the gain",
    "gain_high": "upper end of the 95% paired interval of the gain",
    "conversion_rate": "share of the images that exactly one gets right which the ensemble gets right",
    "r11": "share kept right where both are right",
    "r00": "share recovered where both are wrong",
    "accuracy_a": "accuracy of the first",
    "accuracy_b": "accuracy of the second",
    "search": "which greedy search",
    "step": "number of members, the same model may be drawn again",
    "accuracy_select": "accuracy on the selection split (40% of the images), on which members are chosen",
    "accuracy_test": "accuracy on the test split (60%), which the search never sees",
    "dataset": "training data",
    "framework": "training objective",
    "architecture": "architecture",
    "hyper_parameters": "training recipe",
    "seed": "training seed",
    "parent": "checkpoint this one was trained from",
    "teacher": "checkpoint this one was distilled from",
    "pairs": "pairs in the category",
    "models": "models in those pairs",
    "pairs_matched": "pairs whose accuracies differ by at most four points",
    "kappa_matched": "mean κ over those pairs",
    "error_inconsistency_matched": "mean error inconsistency over those pairs",
    "reason": "why a value of the row is absent",
}

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
}

NOT_TOLD = frozenset(
    {"parent", "teacher", "reason", "seed", "dataset", "framework", "architecture", "hyper_parameters"}
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
                reason = WHY_NULL.get(column.name) or WHY_NULL.get(bare, "")
                found.append((name, column.name, absent, table.height, reason))
    return found
