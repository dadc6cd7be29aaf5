"""Digits and letters drawn by typefaces, brought to 8x8 the way the handwritten digits were.

The handwritten digits (UCI "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998) are 32x32
bitmaps, size-normalised, of which every 4x4 block was counted: 64 numbers from 0 to 16. The same is done here with the
typefaces that matplotlib ships. Equal versions of matplotlib and Pillow give equal pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

TYPEFACES: Final = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)

ANGLES: Final = (-12, 0, 12)
"""Rotations in degrees, counter-clockwise."""

BITMAP = 32
"""Side of the bitmap whose blocks are counted."""


def drawings(
    characters: str = "0123456789", angles: Sequence[int] = ANGLES
) -> Iterator[tuple[str, NDArray[np.uint8], str]]:
    """Every character in every typeface at every angle, in a fixed order.

    Yields:
        A name (`dejavusans-7-p12`), the counts (8, 8) uint8 from 0 to 16, and the character.
    """
    from matplotlib import get_data_path
    from PIL import ImageFont

    folder = Path(get_data_path()) / "fonts" / "ttf"
    for typeface in TYPEFACES:
        font = ImageFont.truetype(folder / f"{typeface}.ttf", size=4 * BITMAP)
        for character in characters:
            for angle in angles:
                sign = "m" if angle < 0 else "p"
                name = f"{typeface.lower()}-{character.lower()}-{sign}{abs(angle)}"
                yield name, _counts(_glyph(character, font, angle)), character


def _glyph(text: str, font: object, angle: int) -> Image:
    """White on black, turned, cut to its bounding box."""
    from PIL import Image, ImageDraw

    canvas = Image.new("L", (8 * BITMAP, 8 * BITMAP))
    ImageDraw.Draw(canvas).text((2 * BITMAP, 2 * BITMAP), text, fill=255, font=font)  # type: ignore[arg-type]
    turned = canvas.rotate(angle, resample=Image.Resampling.BILINEAR)
    return turned.crop(turned.getbbox())


def _counts(glyph: Image) -> NDArray[np.uint8]:
    """Fit into the bitmap, binarise, and count the 4x4 blocks."""
    from PIL import Image

    scale = BITMAP / max(glyph.size)
    size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
    bitmap = Image.new("L", (BITMAP, BITMAP))
    bitmap.paste(glyph.resize(size, Image.Resampling.BILINEAR), ((BITMAP - size[0]) // 2, (BITMAP - size[1]) // 2))
    bits = np.asarray(bitmap) >= 128
    counts: NDArray[np.uint8] = bits.reshape(8, 4, 8, 4).sum(axis=(1, 3), dtype=np.uint8)
    return counts
