"""Realistic further tables for simulated results: measures of divergence, their tests, difficulty, specialisation.

Values follow from the simulated pairs with noise; intervals are of plausible width, for looking at only.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from overlap.report.palette import CATEGORIES

MEASURES = ("error_inconsistency", "kappa", "kappa_by_difficulty", "kappa_between", "yule_q", "correlation",
            "double_fault", "capa", "symmetric_kl", "jensen_shannon")  # fmt: skip
FALLING = ("kappa", "kappa_by_difficulty", "kappa_between", "yule_q", "correlation", "capa", "double_fault")
GROUPS = ("bird", "dog", "fish", "insect", "plant", "vehicle", "instrument", "furniture", "food", "clothing")


def interval(name: str, values: np.ndarray, half: float) -> list[pl.Series]:
    return [pl.Series(f"{name}_low", values - half), pl.Series(f"{name}_high", values + half)]


def divergence(pairs: pl.DataFrame, rng: np.random.Generator, *, logits: bool = True) -> pl.DataFrame:
    ei = pairs["error_inconsistency"].to_numpy()
    kappa = pairs["kappa"].fill_null(1.0).to_numpy()
    size = pairs.height

    def noisy(values: np.ndarray, spread: float = 0.01) -> np.ndarray:
        return values + rng.normal(scale=spread, size=size)

    q = np.clip(noisy(0.4 + 0.6 * kappa), -1, 1)
    adjusted = noisy(0.6 * kappa - 0.05)
    soft: dict[str, np.ndarray] = {
        "capa": noisy(0.9 * kappa),
        "symmetric_kl": np.abs(noisy(4 * ei, 0.05)),
        "jensen_shannon": np.abs(noisy(0.5 * ei)),
    }
    columns: list[pl.Series] = [
        pl.Series("yule_q", q),
        pl.Series("correlation", noisy(kappa)),
        pl.Series("log_odds_ratio", 4 * q),
        *(pl.Series(f"log_odds_{end}", 4 * q + sign * 0.3) for end, sign in (("low", -1), ("high", 1))),
        (pairs["both_wrong"] / pairs["n"]).alias("double_fault"),
        pl.Series("expected_by_difficulty", noisy(0.7 * ei)),
        pl.Series("kappa_by_difficulty", adjusted),
        *interval("kappa_by_difficulty", adjusted, 0.05),
        (pairs["n"] * 0.6).cast(pl.Int64).alias("between_n"),
        pl.Series("error_inconsistency_between", ei / 0.6),
        pl.Series("kappa_between", noisy(0.5 * kappa - 0.1)),
        pl.lit(5000 if logits else 0).alias("soft_n"),  # type: ignore[list-item]
    ]
    for name, values in soft.items():
        parts = [pl.Series(name, values), *interval(name, values, 0.02)]
        columns += parts if logits else [pl.Series(part.name, [None] * size, pl.Float64) for part in parts]
    return pairs.select("model_a", "model_b", "category", "n").with_columns(columns)


def means(pairs: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    joined = pairs.select("model_a", "model_b", "error_inconsistency", "kappa").join(table, on=["model_a", "model_b"])
    rows = []
    for measure in MEASURES:
        for (name,), group in joined.group_by("category", maintain_order=True):
            for selection, shift in (("all", 0.0), ("band", 0.005), ("matched", -0.005)):
                mean = group[measure].mean()
                known = mean is not None and group.height > 1
                rows.append(
                    {
                        "measure": measure,
                        "category": name,
                        "selection": selection,
                        "pairs": group.height,
                        "models": len({*group["model_a"], *group["model_b"]}),
                        "mean": None if mean is None else mean + shift,
                        "low": mean + shift - 0.02 if known else None,
                        "high": mean + shift + 0.02 if known else None,
                        "reason": None if known else "one pair only: no interval",
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def tests(held: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for measure in MEASURES:
        for selection in ("all", "band", "matched"):
            own = held.filter((pl.col("measure") == measure) & (pl.col("selection") == selection))
            by = {row["category"]: row["mean"] for row in own.to_dicts()}
            names = [name for name in CATEGORIES if by.get(name) is not None]
            sign = -1 if measure in FALLING else 1
            head = {"measure": measure, "selection": selection, "permutations": 9999, "reason": None}
            p_value = {"all": 0.0003, "band": 0.004, "matched": 0.41}[selection]
            ends = {"low": sign * 0.1, "high": sign * 0.5} if sign > 0 else {"low": -0.5, "high": -0.1}
            rows.append({**head, "test": "order", "category_a": None, "category_b": None, "estimate": sign * 0.3,
                         **ends, "p_value": p_value, "p_adjusted": None})  # fmt: skip
            for place, name in enumerate(names[:-1]):
                difference = by[names[place + 1]] - by[name]
                rows.append({**head, "test": "difference", "category_a": name, "category_b": names[place + 1],
                             "estimate": difference, "low": difference - 0.02, "high": difference + 0.02,
                             "p_value": p_value * (place + 1) / 2, "p_adjusted": p_value * 4})  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def axes(pairs: pl.DataFrame) -> pl.DataFrame:
    names = ("dataset", "framework", "architecture", "hyper_parameters")
    told = (("none", ()), ("hyper_parameters", (3,)), ("architecture", (2,)), ("framework", (1,)), ("dataset", (0,)),
            ("framework + architecture", (1, 2)), ("dataset + architecture", (0, 2)),
            ("dataset + framework", (0, 1)), ("dataset + framework + architecture", (0, 1, 2)))  # fmt: skip
    rows = []
    for place, (differs, which) in enumerate(told):
        ei, kappa = 0.05 + 0.018 * place, 0.75 - 0.05 * place
        rows.append(
            {
                "differs": differs,
                **{name: axis in which for axis, name in enumerate(names)},
                "pairs": max(1, pairs.height // 10 - place),
                "models": 12,
                **{
                    "error_inconsistency": ei,
                    "error_inconsistency_low": ei - 0.01,
                    "error_inconsistency_high": ei + 0.012,
                },
                **{"kappa": kappa, "kappa_low": kappa - 0.03, "kappa_high": kappa + 0.03},
                **{"gain_best": ei / 8, "gain_best_low": ei / 8 - 0.004, "gain_best_high": ei / 8 + 0.005},
                "reason": None,
            }
        )
    nothing = dict.fromkeys(rows[0])
    rows.append({**nothing, "differs": "missing: framework", "pairs": 4, "models": 5, "reason": "axes are missing"})
    return pl.DataFrame(rows, infer_schema_length=None)


def difficulty(bits: np.ndarray, keys: list[str], labels: np.ndarray) -> pl.DataFrame:
    right = bits.sum(axis=0)
    share = (right + 0.5) / (len(bits) + 1)
    group = np.where(right == len(bits), "all", np.where(right == 0, "none", "between"))
    return pl.DataFrame(
        {"key": keys, "label": labels, "right": right, "group": group, "difficulty": -np.log(share / (1 - share))}
    )


def driving(pairs: pl.DataFrame, keys: list[str], labels: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Five images a pair; the same few images drive many pairs, as they do in truth."""
    size = pairs.height
    chosen = np.minimum((rng.exponential(size=(size, 5)) * len(keys) / 12).astype(int), len(keys) - 1)
    flat = chosen.ravel()
    right = rng.integers(0, 2, 5 * size)
    wrong = rng.integers(0, labels.max() + 1, 5 * size)
    sure = np.sort(rng.uniform(0.5, 1.0, (size, 5)))[:, ::-1].ravel()
    return pl.DataFrame(
        {
            "model_a": np.repeat(pairs["model_a"].to_numpy(), 5),
            "model_b": np.repeat(pairs["model_b"].to_numpy(), 5),
            "rank": np.tile(np.arange(1, 6), size),
            "key": np.array(keys)[flat],
            "label": labels[flat],
            "right": np.where(right == 1, "a", "b"),
            "prediction_a": np.where(right == 1, labels[flat], wrong),
            "prediction_b": np.where(right == 1, wrong, labels[flat]),
            "confidence_a": np.where(right == 1, sure, 1 - sure),
            "confidence_b": np.where(right == 1, 1 - sure, sure),
        }
    )


def divisive(pairs: pl.DataFrame, bits: np.ndarray, keys: list[str], labels: np.ndarray) -> pl.DataFrame:
    right = bits.sum(axis=0)
    split = right * (len(bits) - right)
    first = np.argsort(-split, kind="stable")[:100]
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(first) + 1),
            "key": np.array(keys)[first],
            "label": labels[first],
            "right": right[first],
            "pairs": split[first],
            "share": split[first] / pairs.height,
        }
    )


def theta(categories: list[str | None]) -> pl.DataFrame:
    edges = np.linspace(-45, 45, 61)
    rows = []
    for place, category in enumerate(categories):
        for split, centre in (("consistent", 0.0), ("only_1", 3.0 + 3 * place), ("only_2", -2.0 - 3 * place)):
            middle = (edges[:-1] + edges[1:]) / 2
            mass = np.exp(-0.5 * ((middle - centre) / (6 + 2 * place)) ** 2)
            for number, count in enumerate((mass * (9000 if split == "consistent" else 1500)).astype(int)):
                rows.append((category, split, number, edges[number], edges[number + 1], count))
    return pl.DataFrame(rows, ["category", "split", "bin", "low", "high", "count"], orient="row")


def specialisation(pairs: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    size, ei = pairs.height, pairs["error_inconsistency"].to_numpy()
    groups = np.array(GROUPS)
    return pairs.select("model_a", "model_b", "category").with_columns(
        (pairs["only_a"] + pairs["only_b"]).alias("n_inconsistent"),
        pl.Series("theta_only_a", 20 * ei + rng.normal(size=size)),
        pl.Series("theta_only_b", -18 * ei + rng.normal(size=size)),
        pl.Series("theta_separation", 38 * ei + rng.normal(size=size)),
        pl.Series("class_spread", np.abs(10 * ei + rng.normal(scale=0.5, size=size))),
        pl.Series("class_spread_p", rng.beta(0.4, 2, size)),
        pl.Series("group_spread", np.abs(6 * ei + rng.normal(scale=0.5, size=size))),
        pl.Series("group_spread_p", rng.beta(0.4, 2, size)),
        pl.Series("favours_a", groups[rng.integers(0, len(groups), size)]),
        pl.Series("favours_b", groups[rng.integers(0, len(groups), size)]),
    )


def specialisation_categories(table: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (category,), group in table.group_by("category", maintain_order=True):
        row = {"category": category, "pairs": group.height, "models": 2 + group.height // 3}
        for name, half in (("theta_separation", 1.0), ("class_spread", 0.4), ("group_spread", 0.5)):
            mean = group[name].mean()
            row |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
        rows.append({**row, "reason": None})
    return pl.DataFrame(rows)


def scores(models: pl.DataFrame, classes: int, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    names, size = models["model"].to_list(), models.height * classes
    score = rng.normal(scale=1.6, size=(models.height, classes))
    best = np.zeros_like(score, dtype=bool)
    best[score.argmax(axis=0), np.arange(classes)] = True
    p_value = np.exp(-(score**2) / 2)
    accuracy = np.repeat(models["accuracy"].to_numpy(), classes)
    by_class = pl.DataFrame(
        {
            "model": np.repeat(names, classes),
            "class": np.tile(np.arange(classes), models.height),
            "name": np.tile([f"class {number:04d}" for number in range(classes)], models.height),
            "group": np.tile([GROUPS[number % len(GROUPS)] for number in range(classes)], models.height),
            "n": np.full(size, 50),
            "right": np.clip(accuracy * 50 + score.ravel() * 3, 0, 50).astype(int),
            "accuracy": np.clip(accuracy + 0.06 * score.ravel(), 0, 1),
            "expected": accuracy,
            "score": score.ravel(),
            "p_value": p_value.ravel(),
            "q_value": np.minimum(1, 6 * p_value.ravel()),
            "best_of_zoo": best.ravel(),
        }
    )
    rows = []
    for name, whole in models.select("model", "accuracy").iter_rows():
        lean = 0.05 if "web" in name else -0.02
        for place, group in enumerate(GROUPS):
            difference = (lean if place >= 5 else -lean) + 0.015 * rng.normal()
            q_value = float(np.exp(-((difference / 0.015) ** 2) / 2))
            rows.append((name, group, 500, int(500 * (whole + difference)), whole + difference, whole, difference,
                         difference - 0.03, difference + 0.03, q_value / 2, q_value))  # fmt: skip
    columns = (
        "model",
        "group",
        "n",
        "right",
        "accuracy",
        "expected",
        "difference",
        "low",
        "high",
        "p_value",
        "q_value",
    )
    return by_class, pl.DataFrame(rows, list(columns), orient="row")
