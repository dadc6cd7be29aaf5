"""A study that stores features: an evaluation set, a training set, and a downstream task of several labels an image."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data.transforms_factory import create_transform

from overlap.demo.digits import training
from overlap.errors import ObjectMissing
from overlap.identity import digest
from overlap.images.packing import pack
from overlap.images.shards import read_samples
from overlap.opened import OpenedStudy
from tests.ray_cluster import RayCluster
from tests.small_study import CLASSES, DATA, Entry, SmallStudy, module_of, net, timm_net
from tests.study_fixtures import Run, invoke

TRAINING, PARTS = 60, 30
Outcomes = list[dict[str, Any]]
ROLES = {DATA: "evaluate", "train": "train", "parts": "downstream"}
UNITS = {DATA: 4 * 6, "train": 3 * 2, "parts": 3 * 2}
"""Four checkpoints, of which one stores no features and has nothing to do on the other sets."""
PROPERTIES = ([2, 3, 5, 7], [0, 6, 8], [4, 6, 8])
"""Digits that are prime, round, composite and even: several of it, or none, hold of an image."""


def entries() -> list[Entry]:
    resnet = timm_net("resnet", 0)
    return [
        net("narrow", 0),
        net("wide", 1, width=32, size=12) | {"features": "head"},
        net("silent", 2) | {"features": False},
        {**resnet, "preprocess": {**resnet["preprocess"], "interpolation": "bicubic"}},
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, cluster: RayCluster, run: Run) -> tuple[SmallStudy, Outcomes]:
    study = SmallStudy.make(tmp_path_factory.mktemp("features") / "study", entries())
    samples = sorted(training("digits"), key=lambda sample: digest(sample.key.encode()))
    pack(samples[:TRAINING], study.folder / "train", prefix="train", shards=2)
    parts = [
        replace(sample, label=-1, several=tuple(n for n, digits in enumerate(PROPERTIES) if sample.label in digits))
        for sample in samples[TRAINING : TRAINING + PARTS]
    ]
    pack(parts, study.folder / "parts", prefix="parts", shards=2)
    sections: dict[str, dict[str, Any]] = {
        "data.train": {"shards": "train", "classes": CLASSES},
        "data.parts": {"shards": "parts", "classes": len(PROPERTIES), "role": "downstream", "multi_label": True},
        "predict": {"features": True},
    }
    study.write(**sections)
    ran = run(study)
    assert ran.code == 0, ran
    return study, [json.loads(line) for line in ran.stdout.splitlines()]


def pixels(folder: Path, size: int) -> dict[str, torch.Tensor]:
    """Images as a network of this study sees them, by key; prepared by timm itself."""
    look: dict[str, Any] = {"crop_pct": 1.0, "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.25,) * 3}
    transform: Any = create_transform((3, size, size), is_training=False, **look)
    found = {}
    for path in sorted(folder.glob("*.tar")):
        for sample in read_samples(str(path)):
            found[sample.key] = transform(Image.open(io.BytesIO(sample.image)).convert("RGB"))
    return found


def test_only_what_is_evaluated_is_reduced(study: tuple[SmallStudy, Outcomes]) -> None:
    small, outcomes = study
    assert [(one["data"], one["role"]) for one in outcomes] == [*ROLES.items()]
    assert {one["data"]: one["computed"] for one in outcomes} == UNITS
    assert [one["reduced"] for one in outcomes] == [True, False, False]
    assert [path.name for path in (small.store / "results").iterdir()] == [DATA]
    assert small.tables()["models"].height == 4
    for data, role in ROLES.items():
        models = json.loads((small.store / "studies" / f"{data}.json").read_bytes())
        assert models["role"] == role
        assert ("silent" in models["models"]) == (data == DATA)
        assert len([*(small.store / "complete" / data).rglob("manifest.json")]) == len(models["models"])


@pytest.mark.parametrize("data", [*ROLES])
def test_features_are_those_of_the_networks(data: str, study: tuple[SmallStudy, Outcomes]) -> None:
    small, _ = study
    opened = OpenedStudy(str(small.store), data)
    keys = opened.labels()["key"].to_list()
    for entry in small.entries:
        if entry["id"] == "silent":
            continue
        module = module_of(entry).eval()
        held = pixels(small.folder / ("data" if data == DATA else data), entry["preprocess"]["input_size"])
        images = torch.stack([held[key] for key in keys])
        with torch.inference_mode():
            if entry["id"] == "resnet":
                expected = module.forward_head(module.forward_features(images), pre_logits=True)
                head = module.get_classifier()
            else:
                expected = torch.relu(module.hidden(module.pool(images).flatten(1)))
                head = module.head
        features = opened.features(entry["id"])
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected.numpy(), rtol=2e-3, atol=2e-3)
        logits = opened.logits(entry["id"])
        assert logits.shape == (len(keys), CLASSES), "of the head, whatever the classes of the data"
        with torch.inference_mode():
            made = head(torch.tensor(features)).numpy()
        np.testing.assert_allclose(logits, made, rtol=0.01, atol=0.05, err_msg="the stored features make the logits")


def test_one_checkpoint_is_one_on_all_sets(study: tuple[SmallStudy, Outcomes]) -> None:
    small, _ = study
    models = {data: json.loads((small.store / "studies" / f"{data}.json").read_bytes())["models"] for data in ROLES}
    for name in ("narrow", "wide", "resnet"):
        assert len({models[data][name] for data in ROLES}) == 1
        (identity,) = (json.loads(path.read_bytes()) for path in (small.store / "identities" / name).iterdir())
        assert identity["output"] == ("logits+features(head)" if name == "wide" else "logits+features")
    records = small.records()
    assert {"features" in record for record in records.values()} == {True, False}
    assert all(
        ("features" in record) == (fingerprint != models[DATA]["silent"])
        for (fingerprint, _), record in records.items()
    )


def test_several_labels_or_none(study: tuple[SmallStudy, Outcomes]) -> None:
    small, _ = study
    labels = OpenedStudy(str(small.store), "parts").labels()
    digit = {sample.key: sample.label for sample in training("digits")}
    assert labels.schema["labels"] == pl.List(pl.Int32)
    for key, several in labels.iter_rows():
        assert several == [number for number, digits in enumerate(PROPERTIES) if digit[key] in digits]
    assert {len(several) for several in labels["labels"]} == {0, 1, 2}
    assert OpenedStudy(str(small.store)).data == DATA, "the one that is evaluated need not be named"


def test_nothing_is_computed_twice_and_damage_is_mended(
    study: tuple[SmallStudy, Outcomes], run: Run, tmp_path: Path
) -> None:
    small = study[0].copy(tmp_path / "study")
    again = [json.loads(line) for line in run(small).stdout.splitlines()]
    assert [one["computed"] for one in again] == [0, 0, 0]
    gone, altered = (next((small.store / "predictions" / data).rglob("*.features.parquet")) for data in ("train", DATA))
    before = {path: path.read_bytes() for path in (gone, altered)}
    gone.unlink()
    altered.write_bytes(before[altered][:-1] + b"x")
    ran = run(small, "--verify")
    assert ran.code == 0, ran
    assert ran.stderr.count("its unit is computed again") == 2
    assert {path: path.read_bytes() for path in before} == before
    assert {one["data"]: one["computed"] for one in map(json.loads, ran.stdout.splitlines())} == {
        DATA: 1,
        "train": 1,
        "parts": 0,
    }


def test_plan_says_that_features_are_wanted_now(study: tuple[SmallStudy, Outcomes], run: Run, tmp_path: Path) -> None:
    small = study[0].copy(tmp_path / "study")
    small.sections = {name: section for name, section in small.sections.items() if not name.startswith("data.")}
    small.write(predict={"features": False})
    said = invoke("plan", str(small.path), "--explain").stdout
    assert 'narrow: 6 to compute, 0 reused: changed: output "logits+features" -> "logits"\n' in said
    assert "silent: 0 to compute, 6 reused" in said


def test_features_that_cannot_be_stored_fail_their_checkpoint_alone(
    study: tuple[SmallStudy, Outcomes], run: Run, tmp_path: Path
) -> None:
    small = study[0].copy(tmp_path / "study")
    small.add(net("huge", 0))
    weights = load_file(small.folder / "weights" / "huge.safetensors")
    for name in weights:  # the same logits, by way of features that are a million times as large
        weights[name] = weights[name] * {"hidden": 1e6, "head": 1e-6}[name.partition(".")[0]]
    weights["head.bias"] *= 1e6
    save_file(weights, small.folder / "weights" / "huge.safetensors")
    small.add(net("named-wrongly", 0) | {"features": "haed"})
    ran = run(small, "--limit", "7")
    assert ran.code == 3, ran
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(one["data"], one["role"]) for one in outcomes] == [
        (f"{data}.first7", role) for data, role in ROLES.items()
    ]
    for outcome in outcomes:
        failed = outcome["failed"]
        assert set(failed) == {"huge", "named-wrongly"}
        assert "which float16 cannot hold" in failed["huge"]
        assert "features = false" in failed["huge"]
        assert "it has no layer 'haed'" in failed["named-wrongly"]
    assert outcomes[0]["reduced"]
    small.entries[-2:] = [entry | {"features": False} for entry in small.entries[-2:]]
    small.write()
    mended = run(small, "--limit", "7")
    assert mended.code == 0, mended
    opened = OpenedStudy(str(small.store), f"{DATA}.first7")
    np.testing.assert_allclose(opened.logits("huge"), opened.logits("narrow"), rtol=0.01, atol=0.01)
    with pytest.raises(ObjectMissing, match=r"has no features; run with predict.features = true"):
        opened.features("huge")
