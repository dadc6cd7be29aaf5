"""The largest logits and penultimate features in one study: features, and all that is made of them, are the same."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from overlap.errors import DataError
from overlap.images.packing import Sample, pack
from overlap.opened import OpenedStudy
from tests import hundred
from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import Run

TRAINING, PARTS = 300, 80
TABLES = ("feature_pairs", "feature_mixing", "feature_compression", "feature_downstream")


def samples_of(images: int, seed: int, *, several: bool) -> list[Sample]:
    found = []
    for number, (pixels, label) in enumerate(zip(*hundred.pictures(images, seed, 60), strict=True)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        holds = tuple(n for n in range(3) if label % (n + 2) == 0)
        whose: dict[str, Any] = {"label": -1, "several": holds} if several else {"label": int(label)}
        found.append(Sample(f"image-{seed}-{number:04d}", file.getvalue(), "png", **whose))
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[SmallStudy, SmallStudy]:
    """With all logits, and with the largest."""
    full = hundred.make(tmp_path_factory.mktemp("full") / "study", features=True)
    pack(samples_of(TRAINING, 5, several=False), full.folder / "train", prefix="train", shards=1)
    pack(samples_of(PARTS, 6, several=True), full.folder / "parts", prefix="parts", shards=1)
    full.write(
        **{
            "data.train": {"shards": "train", "classes": hundred.CLASSES},
            "data.parts": {"shards": "parts", "classes": 3, "role": "downstream", "multi_label": True},
            "features": {"pairs_per_category": 1, "draws": 1},
        }
    )
    top = full.copy(tmp_path_factory.mktemp("top") / "study")
    top.write(predict={"output": "top", "features": True})
    for study in (full, top):
        ran = run(study)
        assert ran.code == 0, ran
        outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [one["computed"] for one in outcomes] == [12, 4, 4]
    return full, top


def test_features_are_the_same_on_all_sets(both: tuple[SmallStudy, SmallStudy]) -> None:
    for data in (DATA, "train", "parts"):
        full, top = (OpenedStudy(str(study.store), data) for study in both)
        for entry in both[0].entries:
            np.testing.assert_array_equal(top.features(entry["id"]), full.features(entry["id"]))
    full, top = (OpenedStudy(str(study.store), DATA) for study in both)
    assert full.logits("net-0").shape == (hundred.IMAGES, hundred.CLASSES)
    with pytest.raises(DataError, match=r'predict\.output = "logits"'):
        top.logits("net-0")
    kinds = {json.loads(body)["output"] for body in both[1].objects("identities").values()}
    assert kinds == {"top+features"}


def test_tables_of_features_are_the_same(both: tuple[SmallStudy, SmallStudy]) -> None:
    full, top = (OpenedStudy(str(study.store), DATA) for study in both)
    for name in TABLES:
        assert top.table(name).height, name
        assert top.table(name).equals(full.table(name)), name
    assert top.pairs().equals(full.pairs())
    assert top.table("top_agreement").height == len(both[1].entries)


def test_damaged_features_are_made_again_and_an_added_checkpoint_reads_its_own(
    both: tuple[SmallStudy, SmallStudy], run: Run, tmp_path: Path
) -> None:
    study = both[1].copy(tmp_path / "study")
    damaged = sorted((study.store / "predictions" / DATA).rglob("*.features.parquet"))[0]
    before = damaged.read_bytes()
    damaged.write_bytes(before[:-1] + b"x")
    (entry,) = [one for one in hundred.entries(5) if one["id"] == "net-4"]
    hundred.save(study.folder, entry)
    study.add(entry, weights=False)
    ran = run(study, "--verify")
    assert ran.code == 0, ran
    assert damaged.read_bytes() == before
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["computed"] for one in outcomes] == [3 + 1, 1, 1]
    opened = OpenedStudy(str(study.store), DATA)
    assert opened.table("feature_pairs").height == 10
    told = json.loads((study.store / "results" / DATA / "reduction.json").read_bytes())["provenance"]
    assert told["pairs_counted"] == "4 of 10 pairs"
