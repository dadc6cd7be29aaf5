"""Pixels are those of timm's and torchvision's own evaluation transforms, on real photographs and odd files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.data.loader import create_loader
from torchvision.models import get_model_weights, list_models

from overlap.checkpoint_sections import Preprocess
from overlap.errors import CheckpointError
from overlap.zoo.preprocessing import Preprocessing, from_signature, from_timm, override
from overlap.zoo.sources import source
from tests.photographs import odd_files, photographs

JPEG = b"\xff\xd8"

# name of a published configuration, or the configuration itself
TIMM = [
    "resnet50.a1_in1k",  # bicubic 0.95
    "tf_efficientnet_b0.in1k",
    "vgg16.tv_in1k",  # bilinear 0.875
    "vit_base_patch16_clip_224.openai_ft_in1k",  # its own mean and std
    "vit_base_patch16_siglip_224.webli",  # squash
    "volo_d4_448.sail_in1k",  # a crop beyond the image
    {"input_size": (3, 288, 288), "crop_pct": 1.0, "interpolation": "bicubic"},
    {"input_size": (3, 96, 160), "crop_pct": 0.9, "interpolation": "bicubic"},
    {"input_size": (3, 160, 96), "crop_pct": 0.875, "interpolation": "bilinear"},
    {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "border", "interpolation": "bicubic"},
    {"input_size": (3, 128, 224), "crop_pct": 1.0, "crop_mode": "border", "interpolation": "bilinear"},
    {"input_size": (3, 224, 160), "crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bicubic"},
    {"input_size": (3, 64, 64), "crop_pct": 0.8, "interpolation": "nearest"},
    {"input_size": (3, 64, 64), "crop_pct": 0.8, "interpolation": "lanczos"},
    {
        "input_size": (3, 112, 112),
        "crop_pct": 0.7,
        "crop_mode": "border",
        "mean": (0.1, 0.7, 0.33),
        "std": (0.2, 0.3, 0.4),
    },
]


def configured(given: str | dict[str, Any]) -> dict[str, Any]:
    import timm

    if isinstance(given, str):
        return dict(resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(given).to_dict(), args={"in_chans": 3}))
    return dict(resolve_data_config(pretrained_cfg=given, args={"in_chans": 3}))


def normalised(pixels: np.ndarray[Any, Any], preprocessing: Preprocessing) -> torch.Tensor:
    """What the device makes of pixels."""
    mean, std = (torch.tensor(values).mul(255).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().sub(mean).div(std)


@pytest.mark.parametrize("given", TIMM, ids=str)
def test_timm_bit_for_bit(given: str | dict[str, Any]) -> None:
    config = configured(given)
    preprocessing = from_timm(config)
    transform = from_signature(preprocessing.signature).transform()  # as decoders get it: without mean and std
    exact = create_transform(**config, normalize=False)
    plain = create_transform(**config, use_prefetcher=False)
    for image in photographs():
        pixels = transform(image)
        assert pixels.shape == (*config["input_size"][1:], 3)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, exact(image).permute(1, 2, 0).numpy())
        torch.testing.assert_close(normalised(pixels, preprocessing), plain(image), atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", odd_files())
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_odd_files_as_timms_own_loader_reads_them(name: str, tmp_path: Any) -> None:
    from timm.data import ImageDataset

    data = odd_files()[name]
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / ("image.jpg" if data.startswith(JPEG) else "image.png")).write_bytes(data)
    for mode in ("center", "squash", "border"):
        preprocessing = Preprocessing((96, 96), crop_pct=0.9, crop_mode=mode, fill=(124, 116, 104))
        dataset = ImageDataset(str(tmp_path))
        dataset.transform = create_transform(
            (3, 96, 96), crop_pct=0.9, crop_mode=mode, interpolation="bicubic", normalize=False
        )
        with Image.open(io.BytesIO(data)) as opened:
            pixels = preprocessing.transform()(opened.convert("RGB"))
        np.testing.assert_array_equal(pixels, dataset[0][0].permute(1, 2, 0).numpy())


def test_timms_loader_makes_the_same_tensor(tmp_path: Any) -> None:
    from timm.data import ImageDataset

    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "image.jpg").write_bytes(odd_files()["odd size"])
    config = configured("resnet50.a1_in1k")
    loader = create_loader(
        ImageDataset(str(tmp_path)),
        batch_size=1,
        use_prefetcher=False,
        num_workers=0,
        persistent_workers=False,
        **{key: config[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct", "crop_mode")},
    )
    preprocessing = source("timm").preprocessing("resnet50.a1_in1k")
    with Image.open(io.BytesIO(odd_files()["odd size"])) as opened:
        pixels = preprocessing.transform()(opened.convert("RGB"))
    torch.testing.assert_close(normalised(pixels, preprocessing), next(iter(loader))[0][0], atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b1", "inception_v3", "vit_h_14"])
def test_torchvision_presets_bit_for_bit(name: str) -> None:
    preprocessing = source("torchvision").preprocessing(name)
    preset = get_model_weights(name).DEFAULT.transforms()
    assert (preprocessing.resize, preprocessing.input_size) == (preset.resize_size[0], (preset.crop_size[0],) * 2)
    for image in (*photographs(), Image.open(io.BytesIO(odd_files()["odd size"]))):
        pixels = preprocessing.transform()(image)
        torch.testing.assert_close(normalised(pixels, preprocessing), preset(image), atol=2e-6, rtol=0)
        scaled = (
            preset(image) * torch.tensor(preset.std).view(3, 1, 1) + torch.tensor(preset.mean).view(3, 1, 1)
        ) * 255
        np.testing.assert_array_equal(pixels, scaled.round().byte().permute(1, 2, 0).numpy())


def test_every_classifier_of_torchvision_has_a_preprocessing_that_can_be_done() -> None:
    from torchvision.transforms._presets import ImageClassification

    found = 0
    for name in (name for name in list_models() if "." not in name):
        if isinstance(get_model_weights(name).DEFAULT.transforms(), ImageClassification):
            preprocessing = source("torchvision").preprocessing(name)
            assert override(preprocessing, Preprocess()) == preprocessing
            found += 1
    assert found >= 80


def test_every_pretrained_timm_model_has_a_preprocessing() -> None:
    import timm

    sizes = {source("timm").preprocessing(name).input_size for name in timm.list_pretrained()}
    assert {(224, 224), (288, 288), (1024, 768)} <= sizes


def test_signatures_hold_what_changes_pixels_and_nothing_else() -> None:
    base = Preprocessing((8, 8))
    assert base.signature == Preprocessing((8, 8), mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1)).signature
    others = [
        Preprocessing((8, 9)),
        Preprocessing((8, 8), crop_pct=0.9),
        Preprocessing((8, 8), crop_mode="squash"),
        Preprocessing((8, 8), fill=(0, 0, 1)),
        Preprocessing((8, 8), resize=9),
        Preprocessing((8, 8), interpolation="bilinear"),
        Preprocessing((8, 8), decoder="x"),
    ]
    assert len({base.signature, *(other.signature for other in others)}) == 8
    for other in others:
        assert from_signature(other.signature) == other
    assert base.bytes_per_image == 192


TIMM_BASE = Preprocessing((224, 224), crop_pct=0.95, mean=(0.5, 0.4, 0.3))
BORDER = Preprocessing((224, 224), crop_pct=1.0, crop_mode="border", fill=(128, 102, 76), mean=(0.5, 0.4, 0.3))
TV_BASE = Preprocessing((224, 224), resize=232, interpolation="bilinear")

WISHES = [
    (TIMM_BASE, {}, {}),
    (TIMM_BASE, {"input_size": [3, 288, 288], "crop_pct": 1.0}, {"input_size": (288, 288), "crop_pct": 1.0}),
    (TIMM_BASE, {"resize": 256}, {"resize": 256}),
    (BORDER, {"resize": 256}, {"resize": 256, "crop_mode": "center", "fill": None}),
    (BORDER, {"crop_mode": "squash"}, {"crop_mode": "squash", "fill": None}),
    (BORDER, {"fill": 7}, {"fill": (7, 7, 7)}),
    (BORDER, {"mean": [0.0, 0.0, 1.0]}, {"mean": (0.0, 0.0, 1.0), "fill": (0, 0, 255)}),
    (TIMM_BASE, {"crop_mode": "border"}, {"crop_mode": "border", "fill": (128, 102, 76)}),
    (TV_BASE, {"crop_pct": 0.9}, {"resize": None, "crop_pct": 0.9}),
    (TV_BASE, {"crop_pct": 1.0, "crop_mode": "squash"}, {"resize": None, "crop_pct": 1.0, "crop_mode": "squash"}),
    (TV_BASE, {"input_size": 288, "resize": 320}, {"input_size": (288, 288), "resize": 320}),
    (TV_BASE, {"std": [1.0, 1.0, 1.0]}, {"std": (1.0, 1.0, 1.0)}),
]


@pytest.mark.parametrize(("base", "wish", "changes"), WISHES, ids=lambda value: str(value)[:40])
def test_what_a_study_says_goes_before_the_source(
    base: Preprocessing, wish: dict[str, Any], changes: dict[str, Any]
) -> None:
    from dataclasses import replace

    assert override(base, Preprocess(**wish)) == replace(base, **changes)


@pytest.mark.parametrize(
    ("base", "wish", "said"),
    [
        (TV_BASE, {"crop_mode": "squash"}, "crop_mode = 'squash' needs preprocess.crop_pct"),
        (TV_BASE, {"input_size": 288}, "resized to 232, less than the crop of 288x288"),
        (TIMM_BASE, {"resize": 200}, "resized to 200, less than the crop of 224x224"),
        (TIMM_BASE, {"fill": 3}, "preprocess.fill is the padding of crop_mode = 'border'"),
    ],
)
def test_wishes_that_cannot_be_done(base: Preprocessing, wish: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        override(base, Preprocess(**wish))
