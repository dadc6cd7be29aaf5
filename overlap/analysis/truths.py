"""What is held to be true of each image: one class, or several of which any is accepted.

Labels are (N,) class numbers, or (N, L) of accepted classes: the first column holds the primary class, the others
further ones, padded with -1. Guarantees that both forms of one truth give one answer. An image that has no accepted
class is not part of a truth; who reads the truth leaves it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -1
"""Fills the columns after an image's last accepted class."""


def accepted(labels: NDArray[Any]) -> NDArray[np.int32]:
    """(N, L) int32, L >= 1: the accepted classes of each image, whichever form the labels have.

    Raises:
        ValueError: labels of another shape, or an image without a primary class.
    """
    rows = labels[:, None] if labels.ndim == 1 else labels
    if rows.ndim != 2 or not rows.shape[1] or (rows[:, 0] < 0).any():
        raise ValueError(f"labels of shape {labels.shape} are no (N,) classes nor (N, L) accepted ones")
    return np.ascontiguousarray(rows, np.int32)


def primary(labels: NDArray[Any]) -> NDArray[Any]:
    """(N,): the class that stands for each image where one is needed, as in figures by class."""
    return labels if labels.ndim == 1 else np.ascontiguousarray(labels[:, 0])


def right(prediction: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each prediction, (N,) or (M, N), is an accepted class of its image; in the predictions' shape."""
    if labels.ndim == 1:
        return np.asarray(prediction == labels)
    found = prediction == labels[:, 0]
    for further in labels.T[1:]:
        found |= (prediction == further) & (further != NONE)
    return np.asarray(found)
