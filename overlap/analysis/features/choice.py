"""Which pairs of a zoo the dear experiments on features are made for: a few of each category, around one base model.

Guarantees: deterministic, from names, categories and accuracies alone; at most `per_category` pairs of each of the
paper's five categories. The base is held fixed as in the paper (paper.md, 1.3); a category in which it has no pair
takes pairs around the next best base. Partners come closest in accuracy first, so that what a pair gains is as little
as possible a matter of one model being better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.pairs import CATEGORIES, Categories, check_axis

PAPERS = CATEGORIES[:5]
"""The categories of the paper; pairs of a shared lineage and duplicates are outside them."""

PER_CATEGORY = 3


def chosen_pairs(
    models: Sequence[str],
    categories: Categories,
    accuracies: NDArray[Any],
    base: str | None = None,
    per_category: int = PER_CATEGORY,
) -> list[tuple[str, str, str]]:
    """Base model, other model and category of each chosen pair, by category and then by closeness in accuracy.

    Args:
        models: M names in ascending order.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal.
        accuracies: (M,).
        base: the base model; by default the one that `bases` puts first.
        per_category: pairs of each category at most.

    Raises:
        ValueError: names do not fit, or the base is none of them.
    """
    check_axis(models, len(categories))
    if base is not None and base not in models:
        raise ValueError(f"no model {base!r} for a base")
    order = bases(categories, accuracies)
    if base is not None:
        order = [models.index(base), *(model for model in order if model != models.index(base))]
    chosen = []
    for category in PAPERS:
        for model in order:
            others = np.flatnonzero(_of_model(categories, model) == category)
            if len(others):
                nearest = sorted(others.tolist(), key=lambda other: (abs(accuracies[other] - accuracies[model]), other))
                chosen += [(models[model], models[other], category) for other in nearest[:per_category]]
                break
    return chosen


def bases(categories: Categories, accuracies: NDArray[Any]) -> list[int]:
    """All models as candidates for the base: most categories first, then closest to the median accuracy, then by name.

    Args:
        categories: (M, M), read above the diagonal.
        accuracies: (M,).
    """
    middle = np.sort(accuracies)[(len(accuracies) - 1) // 2] if len(accuracies) else 0.0  # the lower of two
    reach = [len({*_of_model(categories, model)} & {*PAPERS}) for model in range(len(accuracies))]
    return sorted(range(len(reach)), key=lambda model: (-reach[model], abs(accuracies[model] - middle), model))


def _of_model(categories: Categories, model: int) -> NDArray[np.object_]:
    """Category of the model's pair with each other, (M,); None with itself."""
    others = np.arange(len(categories))
    of_model = np.array(categories[np.minimum(others, model), np.maximum(others, model)], np.object_)
    of_model[model] = None
    return of_model
