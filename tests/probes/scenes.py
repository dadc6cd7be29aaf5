"""Small feature spaces of two models that see different parts of what tells classes apart."""

from __future__ import annotations

import numpy as np

from overlap.probes.trial import Sight, Trial

CLASSES = 4


def trial(images: int = 400, train: int | None = 200, seed: int = 0, classes: int = CLASSES) -> Trial:
    random = np.random.default_rng(seed)
    folds = random.integers(0, 5, images).astype(np.int8)
    labels = random.integers(0, classes, images).astype(np.int32)
    if train is None:
        return Trial(labels, classes, folds, device="cpu")
    return Trial(
        labels,
        classes,
        folds,
        random.integers(0, classes, train).astype(np.int32),
        random.integers(0, 5, train).astype(np.int8),
        device="cpu",
    )


def seen(trial: Trial, part: slice, dimension: int = 12, seed: int = 0, noise: float = 1.0) -> Sight:
    """Features of a model that sees some of eight latent dimensions; `part` of two models may overlap."""
    world = np.random.default_rng(99).standard_normal((trial.classes, 8))
    mixed = np.random.default_rng(seed).standard_normal((8, dimension))

    def features(labels: np.ndarray, split: int) -> np.ndarray:
        scene = world[labels] + noise * np.random.default_rng(split).standard_normal((len(labels), 8))
        own = np.random.default_rng(seed + 10 * split).standard_normal((len(labels), dimension))
        return (scene[:, part] @ mixed[part] + 0.1 * own + 5).astype(np.float32)

    train = None if trial.train_labels is None else features(trial.train_labels, 2)
    return Sight(features(trial.labels, 1), train)
