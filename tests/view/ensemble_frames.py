"""Realistic tables of searches and features for simulated results, and results that hold every table there is."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import polars as pl
from PIL import Image

from overlap.report import Results
from overlap.report.thumbnails import wanted
from tests.view import further_frames as further
from tests.view.frames import pair_ensembles_of, right_bits, simulated, zoo

COMBINERS = (
    *("mean_probability", "mean_log_probability", "mean_probability_raw", "mean_log_probability_raw"),
    "two_temperatures",
)


def thumbnail(number: int) -> bytes:
    """A small JPEG that is no other's."""
    rng = np.random.default_rng(number)
    body = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((64, 64)).save(body, "JPEG", quality=80)
    return body.getvalue()


def gain_fits(table: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    joined = table.join(
        pairs.select("model_a", "model_b", "category", "error_inconsistency"), on=["model_a", "model_b"]
    )
    rows = []
    for (combiner,), group in joined.group_by("combiner", maintain_order=True):
        for name, own in (
            ("all", group),
            *((str(key[0]), part) for key, part in group.group_by("category", maintain_order=True)),
        ):
            x = own["error_inconsistency"].to_numpy()
            if len(x) < 3 or np.ptp(x) == 0:
                continue
            slope, intercept = np.polyfit(x, own["gain_mean"].to_numpy(), 1)
            rise = np.polyfit(x, own["conversion_rate"].to_numpy(), 1)[0]
            mean = own["conversion_rate"].mean()
            rows.append({"combiner": combiner, "group": name, "pairs": own.height, "models": 10, "slope": slope,
                         "slope_low": slope - 0.03, "slope_high": slope + 0.03, "intercept": intercept,
                         "r_squared": 0.7, "identity_slope": mean - 0.5, "conversion_mean": mean,
                         "conversion_slope": rise, "conversion_slope_low": rise - 0.2,
                         "conversion_slope_high": rise + 0.2, "conversion_p": 0.004, "reason": None})  # fmt: skip
    return pl.DataFrame(rows)


def weak_helps(models: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    ranked = models.sort("accuracy", descending=True).select("model", "accuracy").rows()
    rows = []
    for place, (name, accuracy) in enumerate(ranked[:-1]):
        weak = len(ranked) - place - 1
        share = float(np.clip(0.55 + 0.4 * rng.normal(), 0, 1))
        rows.append((name, accuracy, weak, round(weak * share), share, 0.02 * (share - 0.4), None, None))
    last = ("all models", None, models.height - 1, models.height // 2, 0.58, 0.006, 0.012, None)
    columns = ("strong", "accuracy", "weak_models", "helped", "share", "mean_gain", "p_value", "reason")
    return pl.DataFrame([*rows, last], list(columns), orient="row", infer_schema_length=None)


def searches(models: pl.DataFrame) -> pl.DataFrame:
    ranked = models.sort("accuracy", descending=True)["model"].to_list()
    best = float(models["accuracy"].max())  # type: ignore[arg-type]
    told = [("best single", "forward", None, "all", 0.03), ("bagged", "bagged", None, "all", 0.032),
            ("without replacement", "without_replacement", None, "all", 0.028), ("nll", "nll", None, "all", 0.027),
            ("weights", "weights", None, "all", 0.034), ("budget 1e9", "budget", None, "all", 0.015)]  # fmt: skip
    for place, anchor in enumerate(ranked[:3]):
        told += [(f"{anchor} + weak", "pool", anchor, "below 0.75", 0.016 - 0.006 * place),
                 (f"{anchor} + control", "control", anchor, "own category", 0.006)]  # fmt: skip
    rows = []
    for place, (name, kind, anchor, pool, gain) in enumerate(told):
        rows.append({"search": name, "kind": kind, "anchor": anchor, "pool": pool,
                     "objective": "nll" if kind == "nll" else "accuracy", "size": 6 + place % 3, "distinct": 5,
                     "accuracy_select": best + gain + 0.012, "accuracy_test": best + gain, "gain": gain,
                     "gain_low": gain - 0.008, "gain_high": gain + 0.008, "optimism": 0.004 + 0.001 * place,
                     "nll_test": 0.7, "parameters": 2.5e7, "gflops": 4.1, "milliseconds": 12.0, "uncertified": 0.1,
                     "reason": None})  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def weights(models: pl.DataFrame) -> pl.DataFrame:
    rows = [("weights", name, 0.5 ** (place + 1)) for place, name in enumerate(models["model"].head(5))]
    return pl.DataFrame(rows, ["search", "model", "weight"], orient="row")


def pareto(models: pl.DataFrame) -> pl.DataFrame:
    names, best = models["model"].to_list(), float(models["accuracy"].max())  # type: ignore[arg-type]
    rows = []
    for cost, unit in (("parameters", 1e7), ("gflops", 1.0), ("milliseconds", 3.0)):
        for step in range(1, 8):
            test = best - 0.06 + 0.09 * (1 - np.exp(-step / 2.5))
            rows.append((cost, unit * step, unit * step * 0.9, " + ".join(names[: (step + 1) // 2]), test + 0.01, test,
                         test - best - 0.008, test - best + 0.008))  # fmt: skip
    columns = ["cost", "budget", "total", "members", "accuracy_select", "accuracy_test", "gain_low", "gain_high"]
    return pl.DataFrame(rows, columns, orient="row")


def features(pairs: pl.DataFrame, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    size, kappa = pairs.height, pairs["kappa"].fill_null(1.0).to_numpy()
    cka = np.clip(0.3 + 0.6 * kappa + rng.normal(scale=0.05, size=size), 0, 1)
    similar = pairs.select("model_a", "model_b", "category", "n").with_columns(
        pl.lit(2048).alias("dimension_a"), pl.lit(768).alias("dimension_b"), pl.Series("cka", cka),
        *further.interval("cka", cka, 0.02),
        pl.Series("r2_a_from_b", np.clip(cka - 0.1, 0, 1)), pl.Series("r2_b_from_a", np.clip(cka - 0.2, 0, 1)),
        pl.lit(None, pl.String).alias("reason"))  # fmt: skip
    mixing, summary, compression, needs = [], [], [], []
    for number, ((category,), group) in enumerate(pairs.group_by("category", maintain_order=True)):
        pick = group.head(2).select("model_a", "model_b").rows()
        for base, other in pick:
            for control, height in (
                ("pair", 0.02 + 0.03 * number),
                ("halves", 0.0),
                ("reinit", 0.02),
                ("shuffled", -0.15),
            ):
                for rate in (0.0, 0.25, 0.5, 0.75, 1.0):
                    for draw in range(2):
                        accuracy = 0.7 + 0.04 * rate + height * 4 * rate * (1 - rate) + 0.003 * draw
                        mixing.append((base, other, category, control, rate, draw, 512, "train", 1000, accuracy))
            for order, speed in (("covariance", 90 + 40 * (4 - number)), ("random", 300), ("base", 350)):
                for dimension in range(64, 1025, 64):
                    reached = 0.8 * (1 - np.exp(-dimension / speed))
                    compression.append((base, other, category, order, dimension, "train", 1000, reached))
        for order, needed in (("covariance", 900 - 150 * number), ("random", 1000)):
            needs.append((category, order, 0.95, len(pick), len(pick), 3, needed, needed - 60, needed + 60, None))
        for control, height in (("pair", 0.02 + 0.03 * number), ("halves", 0.0), ("shuffled", -0.15)):
            summary.append((category, control, len(pick), 3, height, height - 0.012, height + 0.012,
                            height - 0.02, height - 0.032, height - 0.008, None))  # fmt: skip
    first = pairs.head(3).select("model_a", "model_b").rows()
    down = [("voc", name, None, "map_11", "train", 0.70 + 0.02 * n, 0.69, 0.76, None, None, None, 400, None)
            for n, name in enumerate(dict.fromkeys(name for pair in first for name in pair))]  # fmt: skip
    down += [("voc", a, b, "map_11", "train",
              0.76, 0.74, 0.78, 0.02 - 0.01 * n, 0.005 - 0.01 * n, 0.035 - 0.01 * n, 400, None)
             for n, (a, b) in enumerate(first)]  # fmt: skip
    held = ("base", "other", "category")
    gains = (f"gain_{of}{end}" for of in ("base", "other") for end in ("", "_low", "_high"))
    named = {
        "feature_mixing": (mixing, (*held, "control", "rate", "draw", "dimension", "trained_on", "n", "accuracy")),
        "feature_mixing_summary": (summary, ("category", "control", "pairs", "models", *gains, "reason")),
        "feature_compression": (compression, (*held, "order", "dimension", "trained_on", "n", "accuracy")),
        "feature_compression_summary": (
            needs,
            (
                *("category", "order", "target", "pairs", "reached", "models"),
                *("dimension", "dimension_low", "dimension_high", "reason"),
            ),
        ),
        "feature_downstream": (
            down,
            (
                *("data", "model_a", "model_b", "metric", "trained_on", "value", "low", "high"),
                *("gain_best", "gain_low", "gain_high", "n", "reason"),
            ),
        ),
    }
    tables = {
        name: pl.DataFrame(rows, list(columns), orient="row", infer_schema_length=None)
        for name, (rows, columns) in named.items()
    }
    return {"feature_pairs": similar, **tables}


def tops(results: Results, ensembles: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """As of a study that stores the largest logits, none of whose images is undecided."""
    accuracy, names = pl.lit(0.7), results.models["model"]
    ends = {
        f"accuracy_{split}_{end}": pl.col(f"accuracy_{split}")
        for split in ("select", "test")
        for end in ("low", "high")
    }
    steps = results.ensembles.select("search", "step", undecided_select=0, undecided_test=0, **ends)
    pairs = ensembles.select("model_a", "model_b", "combiner", n=1500, undecided=0, accuracy_low=accuracy,
                             accuracy_high=accuracy)  # fmt: skip
    figures = {"audited": 12, "width_mean": 1e-6, "width_max": 3e-5, "width_uncalibrated_max": 2e-7,
               "confidence_error_max": 1e-7}  # fmt: skip
    agreement = pl.DataFrame({"model": names}).with_columns(
        pl.lit(value).alias(name) for name, value in figures.items()
    )
    return {"pair_ensemble_bounds": pairs, "ensemble_bounds": steps, "top_agreement": agreement}


def whole(models: int = 36, images: int = 1500, classes: int = 20, seed: int = 0) -> Results:
    """Results that hold every table there is, and a thumbnail for the images that drive most pairs."""
    results = simulated(models, images, seed)
    rng = np.random.default_rng(seed + 1)
    bits = right_bits(zoo(models), images, np.random.default_rng(seed))
    keys, labels = [f"val/{number:06d}" for number in range(images)], rng.integers(0, classes, images)
    pairs = results.pairs
    combined = []
    for name in COMBINERS:
        own = pair_ensembles_of(pairs, rng).filter(pl.col("combiner") == "mean_probability")
        extra = {"combiner": name, "nll": 0.8, "ece": 0.03, "soft_n": images}
        combined.append(own.with_columns(pl.lit(value).alias(column) for column, value in extra.items()))
    ensembles = pl.concat(combined).sort("model_a", "model_b", maintain_order=True)
    measured = further.divergence(pairs, rng)
    averages = further.means(pairs, measured)
    special = further.specialisation(pairs, rng)
    by_class, by_group = further.scores(results.models, classes, rng)
    categories = results.categories["category"].to_list()
    driving = further.driving(pairs, keys, labels, rng)
    divisive = further.divisive(pairs, bits, keys, labels)
    more = {
        "divergence": measured, "divergence_categories": averages, "category_tests": further.tests(averages),
        "axes": further.axes(pairs), "difficulty": further.difficulty(bits, keys, labels), "driving": driving,
        "divisive": divisive,
        "gain_fits": gain_fits(ensembles, pairs), "theta": further.theta(categories), "specialisation": special,
        "specialisation_categories": further.specialisation_categories(special), "class_scores": by_class,
        "group_scores": by_group, "weak_helps": weak_helps(results.models, rng), "searches": searches(results.models),
        "ensemble_weights": weights(results.models), "pareto": pareto(results.models), **features(pairs, rng),
        **tops(results, ensembles),
    }  # fmt: skip
    shown = wanted(driving, divisive, most=100)
    return dataclasses.replace(
        results,
        pair_ensembles=ensembles,
        more=more,
        thumbnails={key: thumbnail(place) for place, key in enumerate(shown)},
    )
