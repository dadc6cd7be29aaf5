"""Logits of several shapes, and what is stored of their largest."""

from __future__ import annotations

import numpy as np

from overlap.analysis.tops.bounded import Bounded, bounded
from overlap.store.tables import from_logits
from overlap.store.tops import Tops, tops_of

KINDS = ("wide", "narrow", "small", "skewed", "tied", "flat", "far")


def logits_of(kind: str, images: int, classes: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng([seed, *kind.encode()])
    z = random.normal(0, 2, (images, classes))
    if kind == "narrow":
        z /= 2
    if kind == "skewed":
        z = random.gamma(2, 1.2, (images, classes))
    if kind == "flat":
        z = np.zeros((images, classes))
    if kind == "far":
        z = random.normal(0, 3000, (images, classes))
    z[np.arange(images), random.integers(0, classes, images)] += random.normal(6, 4, images) * (kind != "flat")
    if kind == "small":
        z *= 0.05
    if kind == "tied":
        z = np.round(z)
    return z.astype(np.float16)


def related(models: int, images: int, classes: int, seed: int = 0) -> list[np.ndarray]:
    """Models that find the same classes likely, as networks do that learnt from the same images."""
    random = np.random.default_rng(seed)
    common = random.normal(0, 2, (images, classes))
    common[np.arange(images), random.integers(0, classes, images)] += random.normal(6, 3, images)
    return [(common + random.normal(0, 1, (images, classes))).astype(np.float16) for _ in range(models)]


def tops(logits: np.ndarray) -> Tops:
    return tops_of(from_logits([f"image-{number}" for number in range(len(logits))], logits))


def bounded_of(logits: np.ndarray, temperature: np.ndarray) -> Bounded:
    held = tops(logits)
    return bounded(held.largest, held.classes, held.least, held.moments, temperature, held.among)
