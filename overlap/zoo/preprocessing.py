"""From a decoded photograph to the pixels a checkpoint was evaluated on.

Geometry is delegated to timm's and torchvision's own evaluation transforms, so it is theirs exactly. Mean and standard
deviation are kept apart from it: they are applied on the device, and checkpoints that differ only in them share pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from overlap.checkpoint_sections import Preprocess
from overlap.errors import CheckpointError
from overlap.zoo.decoders import Pixels, prepare

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resolved preprocessing of one checkpoint; every field is part of its fingerprint."""

    input_size: tuple[int, int]
    """Height and width of what the network sees, in pixels."""
    crop_pct: float = 0.875
    """Share of the resized shorter side that the crop keeps; unused where `resize` is given."""
    crop_mode: str = "center"
    """`center` crops, `squash` ignores the aspect ratio, `border` pads."""
    fill: tuple[int, int, int] | None = None
    """Colour of the padding in `border` mode, 0-255."""
    resize: int | None = None
    """Explicit length of the shorter side before the crop, in pixels."""
    interpolation: str = "bicubic"
    decoder: str = "pillow"
    """`pillow`, `torchvision` or `nvjpeg` (see `decoders`)."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def signature(self) -> Signature:
        """What changes pixels: checkpoints with equal signatures share decoded batches."""
        fields = asdict(self)
        del fields["mean"], fields["std"]
        return tuple(sorted(fields.items()))

    @property
    def bytes_per_image(self) -> int:
        """Size of one prepared image (uint8, three channels)."""
        return 3 * self.input_size[0] * self.input_size[1]

    def transform(self) -> Pixels:
        """The geometric part, from what `decoders.open_image` gives to uint8 pixels of shape (height, width, 3)."""
        from timm.data.transforms import str_to_interp_mode
        from timm.data.transforms_factory import transforms_imagenet_eval
        from torchvision import transforms

        if self.resize is not None:
            geometry = transforms.Compose(
                [
                    transforms.Resize(self.resize, interpolation=str_to_interp_mode(self.interpolation)),
                    transforms.CenterCrop(self.input_size),
                ]
            )
        else:
            fill = self.fill or (0, 0, 0)
            whole = transforms_imagenet_eval(
                img_size=self.input_size,
                crop_pct=self.crop_pct,
                crop_mode=self.crop_mode,
                interpolation=self.interpolation,
                mean=tuple(value / 255 for value in fill),  # of the padding: this form does not normalise
                use_prefetcher=True,
            )
            geometry = transforms.Compose(whole.transforms[:-1])  # without the conversion to a channels-first tensor
        return prepare(geometry, self.decoder)


Signature = tuple[tuple[str, Any], ...]


def from_signature(signature: Signature) -> Preprocessing:
    """The preprocessing that a signature stands for, with mean and standard deviation left at their defaults."""
    return Preprocessing(**dict(signature))


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """Preprocessing from timm's resolved data configuration (`input_size` is channels first there)."""
    mean = _triple(config["mean"])
    return Preprocessing(
        input_size=(int(config["input_size"][1]), int(config["input_size"][2])),
        crop_pct=float(config["crop_pct"]),
        crop_mode=str(config["crop_mode"]),
        fill=_mean_colour(mean) if config["crop_mode"] == "border" else None,
        interpolation=str(config["interpolation"]),
        mean=mean,
        std=_triple(config["std"]),
    )


def override(base: Preprocessing, wish: Preprocess) -> Preprocessing:
    """Apply what a study file says of a checkpoint's preprocessing on top of its source's own.

    Raises:
        CheckpointError: the two together say nothing that could be done.
    """
    given = {name: value for name, value in wish.model_dump().items() if value is not None}
    if "resize" in given:
        given["crop_mode"] = "center"
    elif "crop_pct" in given:
        given["resize"] = None
    elif base.resize is not None and given.get("crop_mode", "center") != "center":
        raise CheckpointError(f"preprocess.crop_mode = '{given['crop_mode']}' needs preprocess.crop_pct beside it")
    if "fill" in given:
        given["fill"] = (given["fill"],) * 3
    changed = replace(base, **given)
    if changed.resize is not None and changed.resize < max(changed.input_size):
        raise CheckpointError(
            f"the shorter side is resized to {changed.resize}, less than the crop of "
            f"{changed.input_size[0]}x{changed.input_size[1]}; give preprocess.resize or preprocess.crop_pct"
        )
    if changed.decoder != "pillow" and changed.interpolation == "lanczos":
        raise CheckpointError("tensors are not resized by lanczos; give preprocess.decoder = 'pillow'")
    if changed.crop_mode != "border":
        if "fill" in given:
            raise CheckpointError("preprocess.fill is the padding of crop_mode = 'border'; leave it out")
        return replace(changed, fill=None)
    if "fill" not in given and (base.fill is None or "mean" in given):
        return replace(changed, fill=_mean_colour(changed.mean))  # timm pads with the mean
    return changed


def _mean_colour(mean: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in mean)
    return red, green, blue


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
