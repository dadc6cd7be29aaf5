"""The faster decoder against the exact one: the same pixels of a JPEG, nearly the same after a resize, no guesses."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overlap.checkpoint_sections import Preprocess
from overlap.errors import CheckpointError, DataError
from overlap.images.decoding import decode
from overlap.images.shards import index
from overlap.study import load_study
from overlap.zoo.decoders import open_image
from overlap.zoo.preprocessing import Preprocessing, override
from overlap.zoo.resolve import resolve
from tests.images.shards import tar_bytes
from tests.photographs import encoded, odd_files, photographs

GEOMETRIES = [
    Preprocessing((224, 224)),
    Preprocessing((224, 224), crop_pct=0.95, interpolation="bilinear"),
    Preprocessing((96, 160), crop_pct=0.9),
    Preprocessing((160, 96), crop_pct=1.0, crop_mode="squash"),
    Preprocessing((224, 160), crop_pct=0.9, crop_mode="border", fill=(10, 200, 30)),
    Preprocessing((448, 448), crop_pct=1.15),
    Preprocessing((64, 64), resize=72, interpolation="bilinear"),
    Preprocessing((64, 64), crop_pct=0.8, interpolation="nearest"),
]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", odd_files())
def test_every_kind_of_file_is_opened_to_the_same_pixels(name: str) -> None:
    exact = np.asarray(open_image(odd_files()[name], "pillow"))
    np.testing.assert_array_equal(open_image(odd_files()[name], "torchvision").permute(1, 2, 0).numpy(), exact)


@pytest.mark.parametrize("preprocessing", GEOMETRIES, ids=lambda one: f"{one.input_size}-{one.crop_mode}-{one.resize}")
def test_resized_values_are_a_few_levels_off_at_most(preprocessing: Preprocessing) -> None:
    faster = replace(preprocessing, decoder="torchvision").transform()
    exact = preprocessing.transform()
    for image in photographs():
        data = encoded(image, quality=90)
        found, expected = faster(open_image(data, "torchvision")), exact(open_image(data, "pillow"))
        assert found.shape == expected.shape == (*preprocessing.input_size, 3)
        assert found.dtype == np.uint8
        off = np.abs(found.astype(int) - expected)
        if preprocessing.interpolation == "nearest":
            assert off.any(axis=-1).mean() < 0.02  # neighbours at equal distance
        else:
            assert off.max() <= 8
            assert off.mean() < 0.01


def test_both_decoders_of_one_shard(tmp_path: Path) -> None:
    data = encoded(photographs()[0], quality=90)
    (tmp_path / "s.tar").write_bytes(tar_bytes([("a.jpg", data), ("a.cls", b"0")]))
    wanted = [Preprocessing((32, 32)), Preprocessing((32, 32), decoder="torchvision")]
    found = decode(index(str(tmp_path / "s.tar"), 1), [one.signature for one in wanted])
    exact, faster = (found[one.signature][0].astype(int) for one in wanted)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(exact, wanted[0].transform()(opened.convert("RGB")))
    assert np.abs(exact - faster).max() <= 8


@pytest.mark.parametrize("kept", [0.5, 0.99, 0.9999])
def test_a_cut_image_is_an_error_that_names_it(kept: float, tmp_path: Path) -> None:
    data = encoded(photographs()[0], quality=90)
    cut = data[: int(len(data) * kept)]
    (tmp_path / "s.tar").write_bytes(tar_bytes([("a.jpg", cut), ("a.cls", b"0")]))
    shard = index(str(tmp_path / "s.tar"), 1)
    with pytest.raises(DataError, match="image 'a' is corrupt"):
        decode(shard, [Preprocessing((32, 32), decoder="torchvision").signature])


def test_a_study_chooses_for_all_and_for_one(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        """
        name = "x"
        [predict]
        decoder = "torchvision"
        [data.val]
        shards = "s.tar"
        classes = 1000
        [[checkpoint]]
        id = "fast"
        source = "timm:resnet18"
        weights = "a.pth"
        [[checkpoint]]
        id = "exact"
        source = "timm:resnet18"
        weights = "a.pth"
        preprocess = { decoder = "pillow" }
        [[checkpoint]]
        id = "lanczos"
        source = "timm:resnet18"
        weights = "a.pth"
        preprocess = { interpolation = "lanczos" }
        """
    )
    candidates, rejected = resolve(load_study(tmp_path / "study.toml"), 1000)
    assert {one.id: one.preprocessing.decoder for one in candidates} == {"fast": "torchvision", "exact": "pillow"}
    assert {one.id for one in rejected} == {"lanczos"}
    with pytest.raises(CheckpointError, match="lanczos"):
        override(Preprocessing((8, 8), decoder="torchvision"), Preprocess(interpolation="lanczos"))
