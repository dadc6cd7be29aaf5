"""Small synthetic zoos: logits with a common difficulty, so that models err together more than by chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
