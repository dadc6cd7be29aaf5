"""Two real photographs (scikit-learn ships them), and files of every kind that a shard may hold, made from them."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image


@cache
def photographs() -> tuple[Image.Image, ...]:
    """A temple and a flower, 640 x 427 RGB."""
    from sklearn.datasets import load_sample_images

    return tuple(Image.fromarray(pixels) for pixels in load_sample_images().images)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def odd_files() -> dict[str, bytes]:
    """Files that are no plain RGB photograph of common size, by what is odd about them."""
    temple, flower = photographs()
    levels = np.asarray(flower.convert("L"), np.uint16) * 257
    rotated = Image.Exif()
    rotated[0x0112] = 6  # to be shown turned by a quarter
    clear = temple.copy()
    clear.putalpha(flower.convert("L"))
    return {
        "portrait": encoded(temple.transpose(Image.Transpose.ROTATE_90), quality=90),
        "small": encoded(flower.resize((40, 30)), "PNG"),
        "wide": encoded(temple.resize((900, 60)), quality=80),
        "odd size": encoded(temple.crop((3, 5, 404, 338)), quality=95),
        "progressive": encoded(flower, quality=75, progressive=True, subsampling=0),
        "greyscale": encoded(temple.convert("L"), quality=90),
        "cmyk": encoded(flower.convert("CMYK"), quality=90),
        "exif-rotated": encoded(temple, quality=90, exif=rotated.tobytes()),
        "palette": encoded(temple.quantize(64), "PNG"),
        "palette with transparency": encoded(temple.quantize(64), "PNG", transparency=3),
        "alpha": encoded(clear, "PNG"),
        "grey with alpha": encoded(clear.convert("LA"), "PNG"),
        "one bit": encoded(flower.convert("1"), "PNG"),
        "16 bit": encoded(Image.fromarray(levels), "PNG"),
    }
