"""Realistic results without a study: a zoo of simulated classifiers whose errors depend on how they were trained.

Image difficulty is shared; each axis of training adds its own component of error. All counts and derived columns follow
the design's formulas exactly; intervals are normal approximations, for looking at only.
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from overlap.report import Results

DATASETS = ("photos", "photos", "photos", "web")
FRAMEWORKS = ("supervised", "supervised", "contrastive", "masked")
ARCHITECTURES = ("cnn", "vit", "mlp")


def zoo(models: int) -> pl.DataFrame:
    rows = []
    for place in range(models):
        dataset = DATASETS[(place // 3) % 4]
        framework = FRAMEWORKS[(place // 5) % 4]
        architecture = ARCHITECTURES[(place // 2) % 3]
        rows.append(
            {
                "model": f"{architecture}-{framework}-{dataset}.{place:03d}",
                "fingerprint": f"{place:016x}",
                "dataset": dataset,
                "framework": framework,
                "architecture": architecture,
                "hyper_parameters": "wide" if place % 7 == 0 else "base",
                "seed": str(place),
                "parent": None,
                "teacher": None,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"parent": pl.String, "teacher": pl.String})


def category(one: dict[str, str], other: dict[str, str]) -> str:
    for axis in ("dataset", "framework", "architecture", "hyper_parameters"):
        if one[axis] != other[axis]:
            return axis
    return "reinit"


def right_bits(training: pl.DataFrame, images: int, rng: np.random.Generator) -> np.ndarray:
    shared = rng.normal(size=images) * 1.1
    parts: dict[tuple[str, str], np.ndarray] = {}
    bits = np.empty((training.height, images), dtype=bool)
    for place, row in enumerate(training.to_dicts()):
        total = shared + 0.45 * rng.normal(size=images)
        for axis, weight in (("dataset", 0.9), ("framework", 0.6), ("architecture", 0.45), ("hyper_parameters", 0.2)):
            part = parts.setdefault((axis, row[axis]), rng.normal(size=images))
            total = total + weight * part
        bits[place] = total < 1.0 + 0.25 * rng.normal() + (0.3 if row["framework"] == "supervised" else 0.0)
    return bits


def pairs_of(training: pl.DataFrame, bits: np.ndarray) -> pl.DataFrame:
    n = bits.shape[1]
    rows = []
    both = bits.astype(np.float32) @ bits.T.astype(np.float32)
    total = bits.sum(axis=1)
    names = training["model"].to_list()
    records = training.to_dicts()
    for a, b in itertools.combinations(range(training.height), 2):
        if names[a] > names[b]:
            a, b = b, a  # noqa: PLW2901
        both_right = int(both[a, b])
        only_a, only_b = int(total[a]) - both_right, int(total[b]) - both_right
        inconsistency = (only_a + only_b) / n
        accuracy_a, accuracy_b = total[a] / n, total[b] / n
        expected = accuracy_a * (1 - accuracy_b) + accuracy_b * (1 - accuracy_a)
        kappa = 1 - inconsistency / expected if expected else None
        spread = 1.96 * np.sqrt(inconsistency * (1 - inconsistency) / n) / expected if expected else None
        rows.append(
            {
                "model_a": names[a],
                "model_b": names[b],
                "category": category(records[a], records[b]),
                "n": n,
                "accuracy_a": accuracy_a,
                "accuracy_b": accuracy_b,
                "both_right": both_right,
                "only_a": only_a,
                "only_b": only_b,
                "both_wrong": n - both_right - only_a - only_b,
                "error_inconsistency": inconsistency,
                "kappa": kappa,
                "kappa_low": kappa - spread if kappa is not None else None,
                "kappa_high": kappa + spread if kappa is not None else None,
                "kappa_min": -0.3,
                "kappa_max": 1 - abs(accuracy_a - accuracy_b) / expected if expected else None,
                "null_low": -0.05,
                "null_high": 0.05,
                "disagreement": min(1.0, inconsistency * 1.2),
            }
        )
    return pl.DataFrame(rows).sort("model_a", "model_b")


def pair_ensembles_of(pairs: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    frames = []
    for combiner, shift in (("mean_probability", 0.0), ("mean_log_probability", -0.01)):
        conversion = np.clip(
            0.55 + 0.5 * pairs["error_inconsistency"].to_numpy() + rng.normal(scale=0.05, size=pairs.height) + shift,
            0,
            1,
        )
        n = pairs["n"].to_numpy()
        inconsistency = pairs["error_inconsistency"].to_numpy()
        r00 = np.full(pairs.height, 0.02)
        accuracy = (
            pairs["both_right"].to_numpy() / n + inconsistency * conversion + pairs["both_wrong"].to_numpy() / n * r00
        )
        best = np.maximum(pairs["accuracy_a"].to_numpy(), pairs["accuracy_b"].to_numpy())
        mean = (pairs["accuracy_a"].to_numpy() + pairs["accuracy_b"].to_numpy()) / 2
        width = 1.96 * np.sqrt(inconsistency / n)
        frames.append(
            pairs.select("model_a", "model_b", "n", "both_right", "only_a", "only_b", "both_wrong").with_columns(
                pl.lit(combiner).alias("combiner"),
                pl.Series("accuracy", accuracy),
                pl.Series("gain_mean", accuracy - mean),
                pl.Series("gain_best", accuracy - best),
                pl.Series("gain_low", accuracy - best - width),
                pl.Series("gain_high", accuracy - best + width),
                pl.Series("conversion_rate", conversion),
                pl.lit(1.0).alias("r11"),
                pl.Series("r00", r00),
            )
        )
    order = ["model_a", "model_b", "combiner"]
    return pl.concat(frames).select(*order, pl.exclude(order)).sort(order)


def ensembles_of(models: pl.DataFrame, searches: tuple[str, ...], steps: int) -> pl.DataFrame:
    ranked = models.sort("accuracy", descending=True)["model"].to_list()
    best = models["accuracy"].max()
    rows = []
    for number, search in enumerate(searches):
        for step in range(1, steps + 1):
            offset = -0.02 * number
            gain = offset + 0.05 * (1 - np.exp(-(step - 1) / 2)) - 0.0006 * max(0, step - 6)
            half = 0.0 if step == 1 and not number else 0.008
            rows.append(
                {
                    "search": search,
                    "step": step,
                    "model": ranked[(number * 5 + (step - 1) * 3) % len(ranked)],
                    "accuracy_select": best + gain + 0.006,
                    "accuracy_test": best + gain,
                    "gain_low": gain - half,
                    "gain_high": gain + half,
                }
            )
    return pl.DataFrame(rows)


def categories_of(pairs: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (name,), group in pairs.group_by("category", maintain_order=True):
        ei, kappa = group["error_inconsistency"].mean(), group["kappa"].mean()
        lonely = group.height < 2
        rows.append(
            {
                "category": name,
                "pairs": group.height,
                "models": len({*group["model_a"], *group["model_b"]}),
                "error_inconsistency": ei,
                "error_inconsistency_low": None if lonely else ei - 0.012,
                "error_inconsistency_high": None if lonely else ei + 0.014,
                "kappa": kappa,
                "kappa_low": None if lonely else kappa - 0.03,
                "kappa_high": None if lonely else kappa + 0.028,
                "pairs_matched": group.height // 2,
                "kappa_matched": kappa + 0.01,
                "kappa_matched_low": None if lonely else kappa - 0.03,
                "kappa_matched_high": None if lonely else kappa + 0.05,
                "error_inconsistency_matched": ei - 0.005,
                "error_inconsistency_matched_low": None if lonely else ei - 0.02,
                "error_inconsistency_matched_high": None if lonely else ei + 0.01,
                "gain_best": ei / 8,
                "gain_best_low": None if lonely else ei / 8 - 0.01,
                "gain_best_high": None if lonely else ei / 8 + 0.01,
                "reason": "one pair only: no interval" if lonely else None,
            }
        )
    return pl.DataFrame(rows)


def simulated(models: int = 36, images: int = 1500, seed: int = 0, *, logits: bool = True) -> Results:
    """Results of a zoo of that many models; `logits=False` is a study of imported hard predictions alone."""
    rng = np.random.default_rng(seed)
    training = zoo(models)
    bits = right_bits(training, images, rng)
    soft = {name: rng.uniform(low, high, models) for name, low, high in (("nll", 0.3, 0.9), ("ece", 0.01, 0.05))}
    table = training.select("model", "fingerprint").with_columns(
        pl.lit(images).alias("n"),
        pl.Series("accuracy", bits.mean(axis=1)),
        pl.Series("top5", np.minimum(1, bits.mean(axis=1) + 0.12) if logits else [None] * models, dtype=pl.Float64),
        pl.Series("nll", soft["nll"] if logits else [None] * models, dtype=pl.Float64),
        pl.Series("ece", soft["ece"] if logits else [None] * models, dtype=pl.Float64),
        pl.Series("temperature", rng.uniform(0.9, 1.6, models) if logits else [None] * models, dtype=pl.Float64),
        pl.lit(None, dtype=pl.Float64).alias("noise_floor_ei"),
        pl.lit("complete").alias("status"),
    )
    table = pl.concat([table, training.drop("model", "fingerprint")], how="horizontal")
    pairs = pairs_of(training, bits)
    return Results(
        study="digits-overlap",
        data="val",
        dataset_digest="5d41402abc4b2a76b9719d911017c592" * 2,
        inputs_digest="7d793037a0760186574b0282f2f435e7" * 2,
        models=table,
        pairs=pairs,
        pair_ensembles=pair_ensembles_of(pairs, rng) if logits else pl.DataFrame(),
        ensembles=ensembles_of(table, ("best single", "anchor cnn"), 10) if logits else pl.DataFrame(),
        categories=categories_of(pairs),
        measures={name: {"predict_seconds": 1.5} for name in training["model"]},
        absent={"broken-net": "weights do not fit: head.weight is (5, 64), the network has (10, 64)"},
        notes=(
            "Shard val-000003 is missing by `allow_missing_shards`; every n counts the rest.",
            "category reinit: kappa_matched: no pair for which it is defined",
            "3 pairs have no kappa: both models are always right, or both always wrong",
        ),
        provenance={"overlap": "0.1.0", "git": "0123abc", "device": "cpu", "numeric mode": "float32, TF32 off"},
    )
