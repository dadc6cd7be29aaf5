"""Photographs of ImageNet's size for benchmarks: real JPEGs, composed from the two that scikit-learn ships."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from overlap.images.packing import Sample, is_packed, pack

SIZE = (500, 375)
"""Width and height; ImageNet's median."""
QUALITY = 90


def photographs(count: int, seed: int = 0) -> Iterator[Sample]:
    """Random crops of one photograph with a mirrored strip of another, so that no two compress alike."""
    random = np.random.default_rng(seed)
    sources = [Image.fromarray(array) for array in load_sample_images().images]
    for number in range(count):
        image = _crop(sources[number % len(sources)], random)
        strip = _crop(sources[random.integers(len(sources))], random).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        left = int(random.integers(SIZE[0] // 2))
        image.paste(strip.crop((left, 0, left + SIZE[0] // 4, SIZE[1])), (left, 0))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        yield Sample(f"photo-{number:05d}", buffer.getvalue(), "jpg", number % 10)


def photograph_shards(folder: Path, count: int, shards: int) -> str:
    """Pack photographs once; returns the folder as a study names it."""
    if not is_packed(folder):
        pack(photographs(count), folder, prefix="photos", shards=shards, classes=[*"0123456789"])
    return str(folder)


def _crop(source: Image.Image, random: np.random.Generator) -> Image.Image:
    scale = random.uniform(0.5, 0.95)
    width, height = int(source.width * scale), int(source.height * scale)
    left, top = random.integers(source.width - width), random.integers(source.height - height)
    return source.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
