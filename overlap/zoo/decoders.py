"""How an encoded image becomes pixels: by Pillow, exactly as networks are evaluated everywhere, or faster on tensors.

`pillow` is the reference: what timm's and torchvision's own loaders do, bit for bit. `torchvision` decodes JPEGs to
the same pixels (both end in libjpeg) and resizes tensors of bytes, more than twice as fast; here and there a resized
value then differs by a few levels. `nvjpeg` has a GPU do both (see `images.hardware`); a single image, as an exported
ensemble is shown it, is decoded by the CPU as by `torchvision`. The decoder is in the fingerprint, since a close
prediction may differ.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PILLOW, NVJPEG = "pillow", "nvjpeg"
JPEG = b"\xff\xd8"

Pixels = Callable[[Any], "NDArray[np.uint8]"]
"""From an opened image to uint8 pixels of shape (height, width, 3)."""


def open_image(data: bytes, decoder: str) -> Any:
    """An encoded image as its decoder holds it: an RGB image of Pillow, or a uint8 tensor (3, height, width).

    Raises:
        Exception: of any kind, for damaged bytes.
    """
    if decoder != PILLOW:
        return _tensor(data)
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGB")


def prepare(geometry: Any, decoder: str) -> Pixels:
    """Carry out a geometry of timm's or torchvision's transforms on what `open_image` gives."""
    if decoder != PILLOW:
        steps = [_on_tensors(step) for step in geometry.transforms]
        return lambda image: _apply(steps, image)
    return lambda image: np.asarray(geometry(image), dtype=np.uint8)


def _tensor(data: bytes) -> Any:
    """JPEGs are torchvision's; what else a shard may hold (palettes, 16 bits) is opened by Pillow."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2.functional import pil_to_tensor

    if data.startswith(JPEG):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # they move to another package
            return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return pil_to_tensor(open_image(data, PILLOW))


def _apply(steps: list[Callable[[Any], Any]], image: Any) -> NDArray[np.uint8]:
    for step in steps:
        image = step(image)
    return np.asarray(image.permute(1, 2, 0).cpu().numpy(), dtype=np.uint8)


def _on_tensors(step: Any) -> Callable[[Any], Any]:
    """The same step by kernels for tensors of bytes, which round as Pillow's do; timm's own go by floats."""
    from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
    from torchvision import transforms
    from torchvision.transforms import v2

    if isinstance(step, transforms.Resize):
        return v2.Resize(step.size, _kernel(step.interpolation), antialias=True)  # type: ignore[no-any-return]
    if isinstance(step, ResizeKeepRatio):
        kernel = _kernel(step.interpolation)
        return lambda image: v2.functional.resize(
            image, step.get_params(image, step.size, step.longest), kernel, antialias=True
        )
    if isinstance(step, transforms.CenterCrop):
        return v2.CenterCrop(step.size)  # type: ignore[no-any-return]
    if isinstance(step, CenterCropOrPad):
        colour = step.fill if isinstance(step.fill, Sequence) else [step.fill] * 3
        return lambda image: _crop_or_pad(image, step.size, colour)
    raise TypeError(f"{type(step).__name__} has no form for tensors")


def _kernel(interpolation: Any) -> Any:
    """Pillow's nearest neighbour is what torch calls exact."""
    from torchvision.transforms import InterpolationMode

    return InterpolationMode.NEAREST_EXACT if interpolation == InterpolationMode.NEAREST else interpolation


def _crop_or_pad(image: Any, size: Sequence[int], fill: Sequence[int]) -> Any:
    """Padding to the size with a colour, then the centre."""
    from torchvision.transforms.v2 import functional

    lacking = [max(0, wanted - held) for wanted, held in zip(size, image.shape[1:], strict=True)]
    (top, left), (bottom, right) = [each // 2 for each in lacking], [(each + 1) // 2 for each in lacking]
    padded = functional.pad(image, [left, top, right, bottom], fill=[float(level) for level in fill])
    return functional.center_crop(padded, list(size))
