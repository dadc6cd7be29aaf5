"""Which images ensembles get right, one by one, so that any two of them can be compared on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from workflows.cluster import fetch
from workflows.reductions.answers import Answers
from workflows.reductions.searches import Full
from workflows.remote import remote

Members = tuple[int, ...]
"""Models of `Answers`, in the order in which they were selected; one may be there several times."""


def rights(ensembles: Sequence[Members], answers: Answers, held: Any) -> NDArray[np.bool_]:
    """Which images the mean of the members' calibrated probabilities (out of fold) gets right.

    Args:
        ensembles: E ensembles of at least one member each.
        answers: of the models, `held` a reference to them.

    Returns:
        (E, N); sums are float64 in the order of the members, the lowest class on ties.
    """
    used = {model for members in ensembles for model in members}
    wanted = ray.put(tuple(ensembles))
    blocks = answers.reader.blocks(max(1, len(used)), answers.classes)
    return np.concatenate(fetch([_rights.remote(held, wanted, images) for images in blocks]), axis=1)


@remote(num_cpus=1)
def _rights(answers: Answers, ensembles: Sequence[Members], images: slice) -> NDArray[np.bool_]:
    full, numbers = Full(answers), np.r_[images]
    held = {model: full(model, numbers) for model in {model for members in ensembles for model in members}}
    right = []
    for members in ensembles:
        total = np.zeros((len(numbers), answers.classes))
        for model in members:
            total += held[model]
        right.append(truths.right(total.argmax(axis=1), answers.labels[images]))
    return np.stack(right) if right else np.empty((0, len(numbers)), np.bool_)
