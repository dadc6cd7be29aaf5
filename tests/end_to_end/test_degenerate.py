"""Zoos and data sets of which hardly anything can be said: a number where there is one, a null with its reason else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from overlap.opened import OpenedStudy
from overlap.report.tables import KINDS
from tests.ray_cluster import RayCluster
from tests.small_study import DATA, SmallStudy, make_shards, net
from tests.study_fixtures import Run, invoke

Change = Callable[[SmallStudy], None]


def copies(study: SmallStudy) -> None:
    """The second network is the first under another name."""
    shutil.copy(study.folder / "weights/net-0.safetensors", study.folder / "weights/net-1.safetensors")


def constant(study: SmallStudy) -> None:
    """The second network gives every image the same logits."""
    path = study.folder / "weights/net-1.safetensors"
    state = load_file(path)
    state["head.weight"] = torch.zeros_like(state["head.weight"])
    save_file(state, path)


def oracle(study: SmallStudy) -> None:
    """Somebody else's predictions, all of them right."""
    labels = OpenedStudy(str(study.store)).labels()
    rows = labels.select(pl.lit("oracle").alias("model"), "key", "label", prediction=pl.col("label"))
    rows.write_csv(study.folder / "oracle.csv")
    assert invoke("import", str(study.path), str(study.folder / "oracle.csv")).code == 0


def nothing(study: SmallStudy) -> None:
    """As it is."""


@pytest.mark.parametrize(
    ("models", "images", "change"),
    [
        (1, 12, nothing),
        (2, 12, copies),
        (2, 12, constant),
        (3, 1, nothing),
        (3, 2, constant),
        (2, 12, oracle),
        (1, 12, oracle),
    ],
    ids=["one model", "identical models", "constant", "one image", "two images", "always right", "one and an import"],
)
def test_a_study_of_which_little_can_be_said(
    models: int, images: int, change: Change, tmp_path: Path, cluster: RayCluster, run: Run
) -> None:
    study = SmallStudy.make(tmp_path / "study", [net(f"net-{seed}", seed) for seed in range(models)])
    shutil.rmtree(study.folder / "data")
    make_shards(study.folder / "data", images=images, shards=1)
    study.write(predict={"features": True}, features={"draws": 1})
    if change is oracle:
        assert run(study).code == 0
    change(study)
    ran = run(study)
    assert ran.code == 0, ran
    opened = OpenedStudy(str(study.store))
    for name in KINDS:
        table = opened.table(name)
        for column in table.select(pl.col(pl.Float64)).get_columns():
            assert not column.is_nan().any(), f"{name}.{column.name}"
            assert not column.is_infinite().any(), f"{name}.{column.name}"
    assert opened.models().height == models + (change is oracle)
    assert opened.pairs().height == opened.models().height * (opened.models().height - 1) // 2
    assert (study.store / "results" / DATA / "report.html").stat().st_size > 10_000
    notes = json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())["notes"]
    assert notes or models > 2
