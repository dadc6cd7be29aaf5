"""Tables of features: gains by category with their intervals, features needed, CKA and R² of pairs, downstream rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from overlap.analysis.features import compression, downstream, mixing, pairs
from overlap.analysis.features.average_precision import mean_average_precision, resamples
from overlap.analysis.features.cka import gram_sums, minibatches
from overlap.analysis.features.mixing import Mixed, mixing_summary, mixing_table
from overlap.analysis.intervals import Z


def mixed(base: str, other: str, category: str | None, control: str, gain: float, images: int = 400) -> Mixed:
    random = np.random.default_rng(abs(hash_of(base + other)))
    gains = (random.choice([-1, 0, 1], (2, images)) * 0.3 + gain).astype(np.float32)
    cells = (base, other, category, control, 0.5, 0, 64, "train", images, 0.75)
    return Mixed([dict(zip(mixing.SCHEMA, cells, strict=True))], base, other, category, control, gains)


def hash_of(text: str) -> int:
    return sum(place * ord(letter) for place, letter in enumerate(text, 1))


def test_gains_by_category() -> None:
    found = [mixed("base", f"o{n}", "dataset", "pair", 0.05 + 0.01 * n) for n in range(4)]
    found += [mixed("base", "r", "reinit", "reinit", 0.0), mixed("base", "o1", "dataset", "shuffled", -0.1)]
    found += [mixed(name, name, None, "halves", 0.0) for name in ("base", "o1", "o2", "o3")]
    table = mixing_table(found)
    assert table.schema == pl.Schema(mixing.SCHEMA)
    assert len(table) == len(found)
    summary = mixing_summary(found)
    assert summary.schema == pl.Schema(mixing.SUMMARY_SCHEMA)
    assert list(summary.select("category", "control", "pairs", "models").iter_rows()) == [
        ("dataset", "pair", 4, 5),
        ("reinit", "reinit", 1, 2),
        ("dataset", "shuffled", 1, 2),
        (None, "halves", 4, 4),
    ]
    dataset, reinit, shuffled, halves = summary.iter_rows(named=True)
    expected = np.mean([each.gains[0].mean() for each in found[:4]])
    assert dataset["gain_base"] == pytest.approx(expected)
    assert dataset["gain_base_low"] < expected < dataset["gain_base_high"]
    assert dataset["gain_base_low"] > 0
    assert dataset["reason"] is None
    one = found[4].gains[0].astype(float)
    assert reinit["gain_base_high"] == pytest.approx(one.mean() + Z * one.std() / 20)
    assert "gain_base: one pair: the interval is over images alone" in reinit["reason"]
    assert shuffled["gain_other"] is None
    assert "at chance" in shuffled["reason"]
    assert halves["gain_base_low"] < 0 < halves["gain_base_high"]
    assert mixing_summary([]).is_empty()
    alone = mixing_summary(found[:4])
    assert alone.row(0) == summary.row(0)


def test_images_that_nobody_judged() -> None:
    nothing = mixed("a", "b", "dataset", "pair", 0.1)
    nothing.gains[:] = np.nan
    row = mixing_summary([nothing]).row(0, named=True)
    assert row["gain_base"] is None
    assert "no image was judged" in row["reason"]
    half = mixed("a", "b", "dataset", "pair", 0.1)
    half.gains[:, ::2] = np.nan
    assert mixing_summary([half]).row(0, named=True)["gain_base"] == pytest.approx(half.gains[0, 1::2].mean())


def curve(base: str, other: str, order: str, accuracies: dict[int, float], category: str = "dataset") -> list[dict]:
    return [
        dict(zip(compression.SCHEMA, (base, other, category, order, size, "train", 100, accuracy), strict=True))
        for size, accuracy in accuracies.items()
    ]


def test_features_needed() -> None:
    rows = []
    for other, reached in (("x", 16), ("y", 24), ("z", 8)):
        rows += curve("b", other, "base", {32: 0.8})
        rows += curve("b", other, "covariance", {size: 0.8 if size >= reached else 0.7 for size in (8, 16, 24, 32)})
        rows += curve("b", other, "random", {8: 0.5, 64: 0.79 if other == "x" else 0.9})
    table = compression.compression_table(rows)
    assert table.schema == pl.Schema(compression.SCHEMA)
    needed = compression.features_needed(table)
    assert needed.filter(order="covariance")["dimension"].to_list() == [16, 24, 8]
    assert needed.filter(order="random")["dimension"].to_list() == [None, 64, 64]
    summary = compression.compression_summary(table)
    first, second = summary.iter_rows(named=True)
    assert (first["dimension"], first["reached"], first["pairs"], first["models"]) == (16, 3, 3, 4)
    assert first["dimension_low"] < 16 < first["dimension_high"]
    assert (second["dimension"], second["reached"]) == (None, 2)
    assert "1 of 3 pairs do not reach it" in second["reason"]
    assert compression.compression_summary(table, 0.5)["dimension"].to_list() == [8, 8]
    assert compression.compression_summary(compression.compression_table([])).is_empty()


def test_pairs_of_features() -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((300, 5)).astype(np.float32)
    features = [a, a[:, :3] + 0.1, np.ones((300, 4), np.float32)]
    sums = gram_sums(features, [part.stop - part.start for part in minibatches(300, 60)])
    names = ["a", "b", "flat"]
    table = pairs.feature_pairs_table(names, sums, [5, 3, 4], {("a", "b"): (0.5, 1.0), ("a", "flat"): (0.0, np.nan)})
    assert table.schema == pl.Schema(pairs.SCHEMA)
    assert table.select("model_a", "model_b", "dimension_a", "dimension_b", "n").rows() == [
        ("a", "b", 5, 3, 300),
        ("a", "flat", 5, 4, 300),
        ("b", "flat", 3, 4, 300),
    ]
    first, second, third = table.iter_rows(named=True)
    assert first["cka_low"] < first["cka"] < first["cka_high"]
    assert (first["r2_a_from_b"], first["r2_b_from_a"], first["reason"]) == (0.5, 1.0, None)
    assert second["cka"] is None
    assert second["r2_b_from_a"] is None
    assert second["reason"] == f"{pairs.FLAT}; {pairs.UNDEFINED}"
    assert third["reason"] == f"{pairs.FLAT}; {pairs.NO_RIDGE}"
    assert pairs.feature_pairs_table([], gram_sums([], []), [], {}).is_empty()
    assert pairs.feature_pairs_table(["a"], gram_sums(features[:1], [300]), [5], {}).is_empty()


def test_downstream_accuracies() -> None:
    random = np.random.default_rng(0)
    right = {("a", None): random.random(500) < 0.7, ("b", None): random.random(500) < 0.8}
    bits = {key: found.astype(np.float32) for key, found in right.items()}
    bits["a", "b"] = (right["a", None] | right["b", None]).astype(np.float32)
    bits["a", "c"] = bits["a", None]
    for found in bits.values():
        found[:20] = np.nan
    table = downstream.accuracy_table("other", "5 folds", bits)
    assert table.schema == pl.Schema(downstream.SCHEMA)
    assert table.select("model_a", "model_b").rows() == [("a", None), ("b", None), ("a", "b"), ("a", "c")]
    assert set(table["n"]) == {480}
    both = table.row(2, named=True)
    assert both["gain_best"] == pytest.approx(both["value"] - table["value"][1])
    assert 0 < both["gain_low"] < both["gain_best"] < both["gain_high"]
    assert table["gain_best"].null_count() == 3
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    perfect = downstream.accuracy_table("d", "train", {("a", None): np.ones(10, np.float32)}).row(0, named=True)
    assert (perfect["value"], perfect["high"]) == (1, 1)
    assert 0.6 < perfect["low"] < 0.8
    empty = downstream.accuracy_table("d", "train", {("a", None): np.full(4, np.nan, np.float32)})
    assert empty.row(0, named=True)["reason"] == downstream.NOT_JUDGED
    assert downstream.accuracy_table("d", "train", {}).is_empty()


def test_downstream_precision() -> None:
    random = np.random.default_rng(0)
    positive = random.random((400, 5)) < 0.2
    positive[:, 3] = False
    scores = {("a", None): positive + random.standard_normal((400, 5)), ("b", None): random.random((400, 5))}
    scores = {key: found.astype(np.float32) for key, found in scores.items()}
    scores["a", "b"] = (positive + 0.5 * random.standard_normal((400, 5))).astype(np.float32)
    table = downstream.precision_table("voc", "train", scores, positive, 200)
    assert table.schema == pl.Schema(downstream.SCHEMA)
    a, b, both = table.iter_rows(named=True)
    assert a["value"] == pytest.approx(mean_average_precision(scores["a", None], positive, resamples(400, 1)).value)
    assert a["low"] < a["value"] < a["high"]
    assert b["gain_best"] is None
    assert both["gain_best"] == pytest.approx(both["value"] - a["value"])
    assert 0 < both["gain_low"] < both["gain_best"] < both["gain_high"]
    assert both["gain_high"] - both["gain_low"] < (both["high"] - both["low"]) + (a["high"] - a["low"])
    assert both["reason"] == "1 of 5 classes have no positive image and are left out"
    none = downstream.precision_table("voc", "train", {("a", None): scores["a", None]}, np.zeros((400, 5), bool), 10)
    assert none["value"][0] is None
    assert none["low"][0] is None
