"""A backbone without a head gets a linear probe, fitted once on the training set; then it is as any checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from overlap.analysis import splits
from overlap.demo.digits import training
from overlap.identity import digest
from overlap.images.packing import pack
from overlap.opened import OpenedStudy
from overlap.probes.probe import fit_head
from tests.ray_cluster import RayCluster
from tests.small_study import CLASSES, DATA, SmallStudy, net, timm_net
from tests.study_fixtures import Run

TRAINING = 150
SECTIONS: dict[str, dict[str, Any]] = {
    "data.train": {"shards": "train", "classes": CLASSES},
    "predict": {"features": True},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster, run: Run) -> SmallStudy:
    entries = [net("narrow", 0), timm_net("probed", 0) | {"head": "linear_probe"}]
    study = SmallStudy.make(tmp_path_factory.mktemp("probes") / "study", entries)
    samples = sorted(training("digits"), key=lambda sample: digest(sample.key.encode()))
    assert len(samples) >= TRAINING
    pack(samples[:TRAINING], study.folder / "train", prefix="train", shards=2)
    path = study.folder / "weights/probed.safetensors"
    backbone = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("fc.")}
    assert len(backbone) == len(load_file(path)) - 2
    save_file(backbone, path)  # no head at all
    study.write(**SECTIONS)
    ran = run(study)
    assert ran.code == 0, ran
    return study


def test_the_head_is_the_probe_on_the_training_set(study: SmallStudy) -> None:
    judged, trained = OpenedStudy(str(study.store), DATA), OpenedStudy(str(study.store), "train")
    labels = trained.labels()
    features = trained.features("probed")
    assert len(features) == TRAINING
    assert not trained.logits("probed").any(), "on the training set its place is empty"
    held_out = splits.folds(labels["key"].to_list()) == 0
    weight, bias = fit_head(features, labels["label"].to_numpy(), CLASSES, held_out, "cpu")
    expected = judged.features("probed") @ weight.T + bias
    np.testing.assert_allclose(judged.logits("probed"), expected, rtol=0.02, atol=0.1)
    accuracy = dict(study.tables()["models"].select("model", "accuracy").iter_rows())
    assert accuracy["probed"] > 0.4


def test_it_is_fitted_once(study: SmallStudy, run: Run) -> None:
    (memo,) = (study.store / "memo/linear-probe").iterdir()
    before = memo.stat().st_mtime_ns
    again = run(study)
    assert again.code == 0
    outcomes = [json.loads(line) for line in again.stdout.splitlines()]
    assert [(one["computed"], one["reduced"]) for one in outcomes] == [(0, False), (0, False)]
    assert memo.stat().st_mtime_ns == before
    told = json.loads(memo.read_bytes().partition(b"\n")[2])
    assert (told["images"], told["features"]) == OpenedStudy(str(study.store), "train").features("probed").shape
    stored = load_file(study.store / f"weights/{told['digest']}")
    backbone = load_file(study.folder / "weights/probed.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in backbone.items())


def test_without_a_training_set_it_is_left_out(study: SmallStudy, run: Run, tmp_path: Path) -> None:
    copy = study.copy(tmp_path / "study")
    copy.sections = {name: section for name, section in copy.sections.items() if name != "data.train"}
    copy.write()
    ran = run(copy)
    assert ran.code == 3
    assert "one set with the role train, and there is none" in ran.outcome["failed"]["probed"]
    status = dict(copy.tables()["models"].select("model", "status").iter_rows())
    assert (status["narrow"], status["probed"] == "complete") == ("complete", False)


def test_a_backbone_that_does_not_fit_says_what(study: SmallStudy, run: Run, tmp_path: Path) -> None:
    copy = study.copy(tmp_path / "study")
    path = copy.folder / "weights/probed.safetensors"
    tensors = load_file(path)
    missing = sorted(tensors)[0]
    del tensors[missing]
    save_file(tensors, path)
    copy.write(**SECTIONS)
    ran = run(copy)
    assert ran.code == 3
    first = json.loads(ran.stdout.splitlines()[0])
    assert f"are no backbone of test_resnet with a linear probe: {missing} do not fit" in first["failed"]["probed"]
