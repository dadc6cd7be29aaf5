"""JPEGs decoded by a GPU (nvJPEG, through torchvision), many at a time; the rest of a shard by the CPU.

Guarantees: which of the two decodes an image depends on its bytes alone. The GPU gets what nvJPEG is made for: whole
JPEGs of 8 bits and three components in YCbCr, baseline or progressive; what it refuses of them, and everything else a
shard may hold, goes to the CPU and is decoded as by `torchvision`. A GPU that cannot do it at all is an error, found
out before the first image. Not guaranteed: the same pixels as a CPU's decoder, or of two kinds of GPU (they round as
they like), and that damage within a JPEG's compressed data is noticed. Written and tested without a GPU: what is said
of one has not been seen on one.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from overlap.errors import StudyError, gist
from overlap.zoo.decoders import JPEG, open_image

if TYPE_CHECKING:
    import torch

IMAGES = 64
"""Decoded together at most."""
PIXELS = 1 << 26
"""Decoded together at most, unless one image has more: 64 photographs of a megapixel, 192 MiB."""

END = b"\xff\xd9"
ADOBE, FRAME, SCAN = 0xEE, frozenset({0xC0, 0xC1, 0xC2}), 0xDA
"""Markers: of Adobe's colours; of a baseline, extended or progressive frame; of the compressed data."""
OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - FRAME - {0xC4, 0xC8, 0xCC}
ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers that nothing belongs to."""


def pixels_of(data: bytes) -> int | None:
    """Pixels of a JPEG that a GPU decodes; None where it is for the CPU."""
    if not data.startswith(JPEG) or not data.rstrip(b"\0").endswith(END):
        return None  # a GPU fills up what is cut off, where libjpeg says so
    place, found = 2, None
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in ALONE or marker == 0xFF:  # the latter fills up
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        held = data[place + 4 : place + 2 + length]
        if marker == SCAN:
            return found
        if marker in OTHER_FRAMES:
            return None
        if marker in FRAME:
            if len(held) < 6 or held[0] != 8 or held[5] != 3:
                return None
            found = int.from_bytes(held[1:3], "big") * int.from_bytes(held[3:5], "big") or None
        if marker == ADOBE and held.startswith(b"Adobe") and held[11:12] != b"\x01":
            return None  # red, green and blue as they are
        place += 2 + length
    return None


class Batch:
    """Encoded images that are decoded together."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.images: list[bytes] = []
        self._pixels = 0

    def takes(self, data: bytes) -> bool:
        """Whether one more fits; into an empty batch anything does."""
        fits = len(self.images) < IMAGES and self._pixels + (pixels_of(data) or 0) <= PIXELS
        return fits or not self.images

    def add(self, data: bytes) -> None:
        """One more."""
        self.images.append(data)
        self._pixels += pixels_of(data) or 0


def decode_together(images: Sequence[bytes], device: torch.device) -> list[torch.Tensor | Exception]:
    """Decode some images on a device.

    Args:
        images: encoded.
        device: `cuda` with an index; on `cpu` the same steps give the pixels of decoder `torchvision`.

    Returns:
        For each a uint8 tensor (3, height, width) on the device, or what is wrong with it.

    Raises:
        torch.OutOfMemoryError: the device cannot hold them.
        torch.AcceleratorError: the device is lost.
    """
    suited = [place for place, data in enumerate(images) if pixels_of(data) is not None]
    found: dict[int, Any] = {}
    try:
        found = dict(zip(suited, _by_device([images[place] for place in suited], device), strict=True))
    except fatal():
        raise
    except RuntimeError:  # it does not say which: one by one
        for place in suited:
            try:
                found[place] = _by_device([images[place]], device)[0]
            except fatal():
                raise
            except RuntimeError:
                continue
    return [found[place] if place in found else _by_cpu(data, device) for place, data in enumerate(images)]


@cache
def ready(device: torch.device) -> None:
    """Find out whether a device decodes JPEGs at all.

    Raises:
        StudyError: it does not, with the mend.
    """
    import torch
    from PIL import Image

    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG")
    try:
        _by_device([buffer.getvalue()], device)
    except (RuntimeError, AssertionError, torch.AcceleratorError) as error:
        raise StudyError(
            f"{device} decodes no JPEGs ({gist(error)}); install a torchvision that is built for its CUDA driver, or "
            'set decoder = "torchvision"'
        ) from None


def _by_device(images: list[bytes], device: torch.device) -> list[torch.Tensor]:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    if not images:
        return []
    encoded = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in images]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # they move to another package
        decoded: list[torch.Tensor] = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    return decoded


def _by_cpu(data: bytes, device: torch.device) -> torch.Tensor | Exception:
    try:
        decoded: torch.Tensor = open_image(data, "torchvision").to(device)
    except fatal():
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for damaged bytes
        return error
    return decoded


def fatal() -> tuple[type[BaseException], ...]:
    """What says nothing of an image."""
    import torch

    return (MemoryError, torch.OutOfMemoryError, torch.AcceleratorError)
