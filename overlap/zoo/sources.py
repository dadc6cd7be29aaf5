"""The libraries that checkpoints come from: which names they know, how they build a module, how they prepare an image.

A source is a row of `SOURCES`. Nothing is instantiated to resolve a name; libraries are imported when first asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError
from overlap.zoo import clip, timm_names
from overlap.zoo.hub import Published
from overlap.zoo.preprocessing import Preprocessing, from_timm

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Source:
    """One library of architectures."""

    preprocessing: Callable[[str], Preprocessing]
    """Name to evaluation preprocessing; raises CheckpointError for a name the library does not know."""
    build: Callable[[str, int, Mapping[str, Any]], nn.Module]
    """Name, number of classes and arguments to a module with random weights."""
    pretrained: Callable[[str, Path], nn.Module]
    """Name, and the file that `published` names, to a module with the source's own weights, as the library loads it."""
    classes: Callable[[str], int]
    """Name to the number of classes of those weights."""
    version: Callable[[], str]
    """Of the library."""
    published: Callable[[str], Published]
    """Name to where the source's own weights are; raises CheckpointError where there are none."""


def source(name: str) -> Source:
    """Look a source up.

    Raises:
        CheckpointError: no such source; the text names the known ones.
    """
    if name not in SOURCES:
        raise CheckpointError(f"unknown source '{name}'; known sources: {', '.join(SOURCES)}, or use factory")
    return SOURCES[name]


@cache
def _timm_preprocessing(name: str) -> Preprocessing:
    import timm
    from timm.data.config import resolve_data_config

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture) or (tag and not timm_names.is_published(name)):
        known = timm.list_pretrained(f"{architecture}.*") if timm.is_model(architecture) else timm.list_models()
        raise CheckpointError(f"timm has no model '{name}'{_nearest(name, known)}")
    config = timm_names.config(name)
    # What timm's to_dict says, without its copy of every value, which took longer than all else about a name.
    told = {field: value for field, value in vars(config).items() if value is not None} if config else {}
    return from_timm(resolve_data_config(pretrained_cfg=told, args={"in_chans": 3}))


def _timm_build(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **arguments)
    return module


def _timm_pretrained(name: str, file: Path) -> nn.Module:
    import timm

    overlay: dict[str, Any] = {}
    config = timm_names.config(name)
    if config is not None and config.hf_hub_id:
        # Without the number of classes timm leaves the head random where it is not 1,000, and says nothing. Its hook
        # for formats of others is for files at addresses: what the hub has, timm loads as tensors.
        overlay = {"file": str(file), "num_classes": config.num_classes, "custom_load": False}
    module: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    return module


def _timm_published(name: str) -> Published:
    config = timm_names.config(name)
    if config is not None and config.hf_hub_id:
        stated = config.hf_hub_filename or TIMM_FILES[-1]
        return Published(config.hf_hub_id, TIMM_FILES if stated == TIMM_FILES[-1] else (stated,))
    if config is not None and config.url:
        url, *named = [config.url] if isinstance(config.url, str) else config.url
        return Published(url=url, names=tuple(named))
    raise CheckpointError(f"timm publishes no weights of '{name}'; give `weights` a file")


TIMM_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm looks for in a repository, in this order."""


def _timm_version() -> str:
    import timm

    return str(timm.__version__)


def _torchvision_preprocessing(name: str) -> Preprocessing:
    from torchvision.models import get_model_weights, list_models
    from torchvision.transforms._presets import ImageClassification

    known = [model for model in list_models() if "." not in model]
    if name not in known:
        raise CheckpointError(f"torchvision has no model '{name}'{_nearest(name, known)}")
    weights = get_model_weights(name).DEFAULT
    preset = weights.transforms()
    if not isinstance(preset, ImageClassification):
        raise CheckpointError(f"torchvision's '{name}' is no image classifier")
    return Preprocessing(
        input_size=(preset.crop_size[0], preset.crop_size[0]),
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )


TORCHVISION_PUBLISHED: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
"""What torchvision changes in a module, beside its tensors, when it loads published weights; `arguments` go before."""


def _torchvision_build(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    from torchvision.models import get_model

    as_published: Mapping[str, Any] = TORCHVISION_PUBLISHED.get(name, {})
    module: nn.Module = get_model(name, weights=None, num_classes=classes, **{**as_published, **arguments})
    return module


def _torchvision_pretrained(name: str, file: Path) -> nn.Module:
    """The file is where torchvision looks for it."""
    from torchvision.models import get_model

    module: nn.Module = get_model(name, weights="DEFAULT")
    return module


def _torchvision_published(name: str) -> Published:
    from torchvision.models import get_model_weights

    return Published(url=get_model_weights(name).DEFAULT.url)


def _torchvision_classes(name: str) -> int:
    from torchvision.models import get_model_weights

    return len(get_model_weights(name).DEFAULT.meta["categories"])


def _torchvision_version() -> str:
    import torchvision

    return str(torchvision.__version__)


SOURCES: dict[str, Source] = {
    "timm": Source(
        _timm_preprocessing, _timm_build, _timm_pretrained, timm_names.classes, _timm_version, _timm_published
    ),
    "torchvision": Source(
        _torchvision_preprocessing,
        _torchvision_build,
        _torchvision_pretrained,
        _torchvision_classes,
        _torchvision_version,
        _torchvision_published,
    ),
    clip.SOURCE: Source(
        clip.preprocessing,
        clip.build,
        clip.pretrained,
        lambda name: 0,  # a head is made for the data's classes
        clip.version,
        clip.published,
    ),
}


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"; nearest: {', '.join(near)}" if near else ""
