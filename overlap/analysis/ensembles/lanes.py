"""Logits of a sample of images laid out for kernels that work on `LANES` images at once, one in each lane of a vector.

Guarantees: images are grouped by calibration fold, and a group is one fold's; what a lane yields depends on its own
image alone. Memory: four bytes a logit of the models asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.blocks import Block
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.floats import widened

LANES = 32
"""Images handled together; 128 KiB of float32 a model at 1,000 classes, so that a pair stays in a core's cache."""

TOGETHER = 64
"""Classes moved together: 8 KiB of them stay in the first-level cache."""

LOGITS = 1 << 20
"""Logits of each model in the sample: 1,048 images of 1,000 classes, all images of most smaller studies."""


@dataclass(frozen=True)
class Lanes:
    """n images in G groups of `LANES`, as m models see them. Empty lanes come last and repeat no image.

    Attributes:
        z: (m, G, K, LANES) float32; logits less the largest of the image, 0 in empty lanes.
        top: (m, G, LANES) int32; predicted classes.
        folds: (G,) int64; the calibration fold of the group's images.
        sizes: (G,) int64; images of the group.
        accepted: (G, LANES, L) int32 accepted classes, padded with -1.
    """

    z: NDArray[np.float32]
    top: NDArray[np.int32]
    folds: NDArray[np.int64]
    sizes: NDArray[np.int64]
    accepted: NDArray[np.int32]


def sample_size(classes: int) -> int:
    """Images of the sample of a study of so many classes."""
    return max(1, LOGITS // max(1, classes))


def sampled(block: Block, chosen: NDArray[np.bool_]) -> Block:
    """A copy of the chosen images of one block; `chosen` (n,) as of `divergence.soft.choose`."""
    keys = [key for key, taken in zip(block.keys, chosen, strict=True) if taken] if block.keys else ()
    return Block(
        [values[chosen] for values in block.logits],
        block.calibrations,
        block.labels[chosen],
        block.folds[chosen],
        block.selection[chosen],
        keys,
    )


def lanes(parts: Sequence[Block], models: Sequence[int]) -> Lanes:
    """Lay out some models of the sample, given in any number of parts.

    Raises:
        ValueError: models of different numbers of classes.
    """
    labels = np.concatenate([truths.accepted(part.labels) for part in parts])
    folds = np.concatenate([part.folds for part in parts])
    groups = []
    for fold in np.unique(folds):
        images = np.flatnonzero(folds == fold)
        groups += [images[start : start + LANES] for start in range(0, len(images), LANES)]
    accepted = np.full((len(groups), LANES, labels.shape[1]), truths.NONE, np.int32)
    for place, images in enumerate(groups):
        accepted[place, : len(images)] = labels[images]
    z, top = _laid_out(parts, models, groups)
    return Lanes(
        z,
        top,
        np.array([folds[images[0]] for images in groups], np.int64),
        np.array([len(images) for images in groups], np.int64),
        accepted,
    )


def _laid_out(
    parts: Sequence[Block], models: Sequence[int], groups: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    widths = {part.logits[model].shape[1] for part in parts for model in models}
    if len(widths) > 1:
        raise ValueError(f"models of {sorted(widths)} classes")
    z = np.zeros((len(models), len(groups), max(widths, default=0), LANES), np.float32)
    top = np.zeros((len(models), len(groups), LANES), np.int32)
    for place, model in enumerate(models):
        rows: NDArray[Any] = widened(np.concatenate([part.logits[model] for part in parts]))
        if not rows.size:
            continue
        predicted = rows.argmax(axis=1)
        rows -= np.take_along_axis(rows, predicted[:, None], axis=1)
        for group, images in enumerate(groups):
            _transpose(rows, images, z[place, group])
            top[place, group, : len(images)] = predicted[images]
    return z, top


@compiled
def _transpose(rows: NDArray[np.float32], images: NDArray[np.int64], z: NDArray[np.float32]) -> None:
    for start in range(0, rows.shape[1], TOGETHER):
        for lane in range(len(images)):
            row = rows[images[lane]]
            for c in range(start, min(start + TOGETHER, len(row))):
                z[c, lane] = row[c]
