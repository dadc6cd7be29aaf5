"""open_clip's models as zero-shot classifiers: an image tower, and a linear head made of texts.

Names are MODEL/TAG as open_clip lists them (ViT-B-32/openai); the tag may be left out beside weights of one's own. The
activation is the one that the tag's weights were trained with, where open_clip itself only warns that it differs.
open_clip is an optional extra; it is imported when first asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError
from overlap.zoo.hub import Published
from overlap.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import nn

SOURCE = "open_clip"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip looks for in a repository, in this order."""
SIDE = 224
"""Pixels, where a model's configuration leaves the size to open_clip's default."""


def version() -> str:
    """Of the installed package; `absent` without it."""
    try:
        return installed("open_clip_torch")
    except PackageNotFoundError:
        return "absent"


def preprocessing(name: str) -> Preprocessing:
    """What open_clip's own evaluation transform does for a name.

    Raises:
        CheckpointError: open_clip is not installed, or has no such model or tag.
    """
    model, tag = _parts(name)
    library = _library()
    config = library.get_model_config(model)
    asked: dict[str, Any] = {"resize_mode": "shortest", "interpolation": "bicubic", "fill_color": 0}
    asked |= {"mean": library.OPENAI_DATASET_MEAN, "std": library.OPENAI_DATASET_STD}
    if tag:
        told = library.get_pretrained_cfg(model, tag)
        asked |= {key: told[key] for key in asked if told.get(key) is not None}
    side = config["vision_cfg"].get("image_size", SIDE)
    height, width = (side, side) if isinstance(side, int) else side
    mode = asked["resize_mode"]
    if mode == "shortest" and height != width:
        raise CheckpointError(
            f"open_clip's '{name}' sees {height}x{width} pixels, which is not supported; leave it out"
        )
    common: dict[str, Any] = {
        "input_size": (height, width),
        "interpolation": "bilinear" if asked["interpolation"] == "bilinear" else "bicubic",
        "mean": tuple(map(float, asked["mean"])),
        "std": tuple(map(float, asked["std"])),
    }
    if mode == "shortest":
        return Preprocessing(**common, resize=height)
    grey = int(asked["fill_color"])
    modes: dict[str, dict[str, Any]] = {
        "squash": {"crop_mode": "squash"},
        "longest": {"crop_mode": "border", "fill": (grey, grey, grey)},
    }
    return Preprocessing(**common, crop_pct=1.0, **modes[mode])


def build(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """An image tower with a linear head, random weights: (n, 3, h, w) to (n, classes) logits; no text tower is built.

    Args:
        name: MODEL or MODEL/TAG.
        classes: outputs of the head.
        arguments: what differs from the model's configuration in open_clip, for instance `quick_gelu`.
    """
    from open_clip.model import _build_vision_tower

    from overlap.zoo.zero_shot_classifier import ZeroShotClassifier

    model, tag = _parts(name)
    config = {**_library().get_model_config(model), **_activation(model, tag), **arguments}
    tower = dict(config["vision_cfg"])
    if "timm_model_name" in tower:
        tower["timm_model_pretrained"] = False
    visual = _build_vision_tower(config["embed_dim"], tower, config.get("quick_gelu", False))
    return ZeroShotClassifier(visual, config["embed_dim"], classes)


def whole(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Both towers, in evaluation mode, with random weights.

    Raises:
        CheckpointError: no such model or tag.
        Exception: whatever open_clip raises for arguments it cannot take.
    """
    model, tag = _parts(name)
    made: nn.Module = _library().create_model(
        model,
        pretrained_image=False,
        pretrained_text=False,
        force_quick_gelu=bool(_activation(model, tag)),
        **arguments,
    )
    return made.eval()


def pretrained(name: str, file: Path) -> nn.Module:
    """Both towers with the tag's own weights, as open_clip loads their file."""
    made = whole(name, {})
    _library().load_checkpoint(made, str(file), strict=True)
    return made.eval()


def published(name: str) -> Published:
    """Where a tag's weights are.

    Raises:
        CheckpointError: no such model or tag, or nowhere.
    """
    model, tag = _parts(name)
    told = _library().get_pretrained_cfg(model, tag) if tag else {}
    if told.get("hf_hub"):
        repository, _, file = told["hf_hub"].rpartition("/")
        return Published(repository, (file,) if file else FILES)
    if told.get("url"):
        return Published(url=told["url"])
    raise CheckpointError(f"open_clip publishes no weights of '{name}'; give `weights` a file")


def pretrained_names() -> list[str]:
    """All names of pretrained weights, MODEL/TAG, in open_clip's order; CheckpointError without the package."""
    return [f"{model}/{tag}" for model, tag in _library().list_pretrained()]


def side(name: str) -> int:
    """The longer side of what a model sees, in pixels."""
    size = _library().get_model_config(name.partition("/")[0])["vision_cfg"].get("image_size", SIDE)
    return int(size if isinstance(size, int) else max(size))


def has_tag(name: str) -> bool:
    """Whether a name says whose weights it means; raises CheckpointError as `preprocessing`."""
    return bool(_parts(name)[1])


def tags(name: str) -> list[str]:
    """The names with tags of a model."""
    model = name.partition("/")[0]
    return [f"{model}/{tag}" for tag in _library().list_pretrained_tags_by_model(model)]


def imagenet_names() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes that zero-shot accuracies are published with, by class number."""
    return tuple(_library().IMAGENET_CLASSNAMES)


def imagenet_templates() -> tuple[str, ...]:
    """The 80 texts that they are published with, {} where the name goes."""
    return tuple(template("{}") for template in _library().OPENAI_IMAGENET_TEMPLATES)


def _activation(model: str, tag: str) -> dict[str, bool]:
    told = _library().get_pretrained_cfg(model, tag) if tag else {}
    return {"quick_gelu": True} if told.get("quick_gelu") else {}


def _parts(name: str) -> tuple[str, str]:
    library = _library()
    model, _, tag = name.partition("/")
    if library.get_model_config(model) is None:
        near = difflib.get_close_matches(model, library.list_models(), n=3)
        raise CheckpointError(f"open_clip has no model '{model}'" + (f"; nearest: {', '.join(near)}" if near else ""))
    if tag and not library.get_pretrained_cfg(model, tag):
        raise CheckpointError(f"open_clip has no weights '{name}'; it has: {', '.join(tags(model)) or 'none'}")
    return model, tag


def _library() -> ModuleType:
    try:
        import open_clip
    except ImportError as error:
        if version() != "absent":
            raise CheckpointError(f"open_clip cannot be imported ({error}); install it again") from None
        raise CheckpointError(
            "source open_clip needs the package open_clip_torch; install overlap's extra 'clip' (overlap[clip])"
        ) from None
    library: ModuleType = open_clip
    return library
