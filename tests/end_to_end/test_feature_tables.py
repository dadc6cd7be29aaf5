"""What a run makes of features: tables that agree with the features in the store, whatever tasks made them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from overlap.analysis import splits
from overlap.analysis.features.cka import minibatches
from overlap.analysis.features.ridge import r_squared
from overlap.demo.digits import training
from overlap.images.packing import pack
from overlap.opened import OpenedStudy
from overlap.probes.trial import Sight, Trial
from tests.ray_cluster import RayCluster
from tests.reference import cka as reference
from tests.small_study import CLASSES, DATA, SmallStudy, net
from tests.study_fixtures import Run

MODELS = ("narrow-0", "narrow-1", "narrow-2", "wide-3")
ODD, LARGE = [1, 3, 5, 7, 9], [5, 6, 7, 8, 9]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster, run: Run) -> SmallStudy:
    entries = [*(net(f"narrow-{seed}", seed) for seed in range(3)), net("wide-3", 3, width=32)]
    study = SmallStudy.make(tmp_path_factory.mktemp("tables") / "study", entries)
    samples = training("digits")
    pack(samples, study.folder / "train", prefix="train", shards=2)
    shapes = [
        replace(sample, label=-1, several=tuple(n for n, held in enumerate((ODD, LARGE)) if sample.label in held))
        for sample in samples
    ]
    pack(shapes, study.folder / "shapes", prefix="shapes", shards=2)
    sections: dict[str, dict[str, Any]] = {
        "data.train": {"shards": "train", "classes": CLASSES},
        "data.shapes": {"shards": "shapes", "classes": 2, "role": "downstream", "multi_label": True},
        "predict": {"features": True},
        "features": {"base": "narrow-1", "pairs_per_category": 1, "draws": 1},
    }
    study.write(**sections)
    ran = run(study)
    assert ran.code == 0, ran
    assert json.loads(ran.stdout.splitlines()[0])["data"] == DATA
    return study


def test_similarity_of_every_pair(study: SmallStudy) -> None:
    opened = OpenedStudy(str(study.store), DATA)
    features = {model: opened.features(model).astype(np.float64) for model in MODELS}
    table = opened.table("feature_pairs")
    assert table.select("model_a", "model_b").rows() == [(a, b) for i, a in enumerate(MODELS) for b in MODELS[i + 1 :]]
    sizes = [images.stop - images.start for images in minibatches(len(opened.labels()))]
    row = table.row(by_predicate=(pl.col("model_a") == "narrow-0") & (pl.col("model_b") == "wide-3"), named=True)
    expected = reference.cka(features["narrow-0"].tolist(), features["wide-3"].tolist(), sizes)
    assert row["cka"] == pytest.approx(expected, abs=1e-4)
    assert (row["dimension_a"], row["dimension_b"], row["n"]) == (16, 32, 240)


def test_probes_are_trained_on_the_training_set(study: SmallStudy) -> None:
    opened, train = OpenedStudy(str(study.store), DATA), OpenedStudy(str(study.store), "train")
    mixing = opened.table("feature_mixing")
    assert set(mixing["trained_on"]) == {"train"}
    assert {base for base, control in mixing.select("base", "control").rows() if control != "halves"} == {"narrow-1"}
    labels, known = opened.labels(), train.labels()
    trial = Trial(
        labels["label"].to_numpy(),
        CLASSES,
        splits.folds(labels["key"].to_list()),
        known["label"].to_numpy(),
        splits.folds(known["key"].to_list()),
        device="cpu",
    )
    for other in set(mixing["other"]) - {"narrow-1"}:
        of_pair = mixing.filter((pl.col("other") == other) & (pl.col("base") == "narrow-1"))
        of_pair = of_pair.filter(pl.col("control").is_in(["pair", "reinit"]))
        for rate, model in ((0.0, "narrow-1"), (1.0, other)):
            right = trial.right(Sight(opened.features(model), train.features(model)))
            if opened.features(model).shape[1] == 16:  # a wider one gives some of its features at random
                assert of_pair.filter(pl.col("rate") == rate)["accuracy"].to_list() == [pytest.approx(right.mean())]
    a, b = (Sight(opened.features(model), train.features(model)) for model in ("narrow-1", "wide-3"))
    pairs = opened.table("feature_pairs")
    row = pairs.row(by_predicate=(pl.col("model_a") == "narrow-1") & (pl.col("model_b") == "wide-3"), named=True)
    assert a.train is not None
    assert b.train is not None
    expected = r_squared(a.images, b.images, trial.folds, (a.train, b.train, trial.train_folds))
    assert (row["r2_a_from_b"], row["r2_b_from_a"]) == pytest.approx(expected)


def test_downstream_tasks_are_of_models_and_of_pairs(study: SmallStudy) -> None:
    table = OpenedStudy(str(study.store), DATA).table("feature_downstream")
    assert set(table["data"]) == {"shapes"}
    assert set(table["metric"]) == {"map_11"}
    alone = table.filter(pl.col("model_b").is_null())
    assert alone["model_a"].to_list() == [*MODELS]
    together = table.filter(pl.col("model_b").is_not_null())
    assert 0 < together.height <= 2
    values = dict(alone.select("model_a", "value").rows())
    for row in together.to_dicts():
        better = max(values[row["model_a"]], values[row["model_b"]])
        assert row["gain_best"] == pytest.approx(row["value"] - better)
    assert all(0.3 < value <= 1 for value in table["value"])


def test_the_rest_of_the_tables_is_there(study: SmallStudy) -> None:
    opened = OpenedStudy(str(study.store), DATA)
    for name in (
        "divergence",
        "category_tests",
        "axes",
        "difficulty",
        "driving",
        "theta",
        "specialisation",
        "gain_fits",
    ):
        assert opened.table(name).height, name
    for name in ("class_scores", "weak_helps", "searches", "ensemble_weights", "pareto", "feature_compression"):
        assert opened.table(name).height, name
    assert opened.table("divergence").select("model_a", "model_b").equals(opened.pairs().select("model_a", "model_b"))
    assert set(opened.table("searches")["search"]) >= {"greedy", "greedy without replacement", "bagged greedy"}
