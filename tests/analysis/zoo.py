"""Small synthetic zoos: logits with a common difficulty, so that models err together more than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import Calibration, score
from overlap.analysis.consistency import PairCounts, disagreement_counts, joint_counts


def logits(
    models: int, images: int, classes: int, seed: int = 0
) -> tuple[list[NDArray[np.float16]], NDArray[np.int32]]:
    """Stored logits of each model (n, K), and the labels (n,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images).astype(np.int32)
    ease = random.normal(1.5, 1.5, images)
    zoo = []
    for _ in range(models):
        z = random.standard_normal((images, classes)) * random.uniform(0.5, 2)
        z[np.arange(images), labels] += ease + random.normal(0, 1, images)
        zoo.append((z * random.uniform(0.3, 3)).astype(np.float16))
    return zoo, labels


def predictions(zoo: list[NDArray[np.float16]]) -> NDArray[np.int32]:
    """Hard predictions (M, n)."""
    return np.stack([z.argmax(axis=1) for z in zoo]).astype(np.int32)


def correctness(models: int, images: int, seed: int = 0) -> NDArray[np.bool_]:
    """Correctness bits (M, n) of correlated models."""
    random = np.random.default_rng(seed)
    ease = random.normal(0.7, 1, images)
    return np.asarray(ease + random.standard_normal((models, images)) > 0)


def calibrate(logits: Sequence[NDArray[Any]], labels: NDArray[Any], folds: NDArray[np.int8]) -> Calibration:
    """The calibration of one model."""
    return score(logits, labels, folds).calibration


def pair_counts(prediction: NDArray[Any], labels: NDArray[Any]) -> PairCounts:
    """Joint counts of all pairs in one block; labels may be several that are accepted."""
    correct = truths.right(prediction, labels)
    return PairCounts(len(labels), joint_counts(correct, correct), disagreement_counts(prediction, prediction))
