"""Small zoos as the calibration pass gives them: confidences, right answers, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.pairs import CATEGORIES


def zoo(
    models: int, images: int, classes: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int32]]:
    """Confidence (M, N), correct (M, N) and labels (N,) of models that share the images' difficulty."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images).astype(np.int32)
    ease = random.normal(0.8, 1, images)
    surety = ease + random.standard_normal((models, images)) + random.normal(0, 0.3, (models, 1))
    confidence = (1 / (1 + np.exp(-np.abs(surety)))).astype(np.float32)
    return confidence, surety > random.normal(0, 0.2, (models, 1)), labels


def categories_of(models: int, seed: int = 0) -> NDArray[Any]:
    """(M, M) categories, some of them None."""
    random = np.random.default_rng(seed)
    return np.array([*CATEGORIES[:3], None], np.object_)[random.integers(0, 4, (models, models))]
