"""Bagged ensemble selection (Caruana et al. 2004): searches in random halves of the models, averaged.

Guarantees: a bag's models depend on the models' names and its number alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

import numpy as np

from overlap.analysis.ensembles.forward import MAX_SIZE, Allowed, Found, forward
from overlap.analysis.ensembles.parts import Parts

SHARE = 0.5
"""Of the models that a bag holds, as in the paper."""


def bag(models: Sequence[str], number: int) -> list[int]:
    """The models of one bag, ascending."""
    random = np.random.default_rng([crc32("\n".join(models).encode()), number])
    size = max(1, round(SHARE * len(models)))
    return sorted(random.choice(len(models), size, replace=False).tolist())


def bagged(
    name: str, parts: Parts, images: int, models: Sequence[str], *, bags: int, max_size: int = MAX_SIZE
) -> Found:
    """The mean of what forward searches with replacement find in each bag, as weights.

    Args:
        name: what the tables call it.
        parts: the selection images.
        images: how many they are.
        models: M names.
        bags: how many, at least one.
        max_size: steps of each search at most.
    """
    before = parts.scored, parts.uncertified
    found = [
        forward(name, parts, images, allowed=Allowed(bag(models, number)), max_size=max_size) for number in range(bags)
    ]
    full = [one for one in found if one.members]
    if not full:
        return Found(name, "bagged", reason=found[0].reason)
    weights: dict[int, float] = defaultdict(float)
    for one in full:
        for model, weight in one.chosen:
            weights[model] += weight / len(full)
    scored = parts.scored - before[0]
    return Found(
        name,
        "bagged",
        weights=tuple(sorted(weights.items())),
        pool=f"{bags} random halves",
        uncertified=(parts.uncertified - before[1]) / scored if scored else None,
    )
