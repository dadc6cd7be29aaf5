"""How a checkpoint was trained, and how far two trainings diverge.

The axes are those of "No One Representation to Rule Them All" (Gontijo-Lopes et al., ICLR 2022), outermost first.
What is not declared is missing: a category is never guessed from what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from overlap.analysis.pair_categories import PairCategories

AXES: Final = ("dataset", "framework", "architecture", "hyper_parameters")
"""Axes of a training, outermost first: a pair's category is the first of them in which it differs."""

CATEGORIES: Final = ("reinit", "hyper_parameters", "architecture", "framework", "dataset")
"""The paper's five categories, least divergent first."""

LINEAGE: Final = ("duplicate", "shared_lineage")
"""Relations that take a pair out of the five: it does not consist of two independent trainings."""


Declared = Annotated[str, Field(min_length=1)]


class Training(BaseModel):
    """The training columns of one checkpoint; None means not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    dataset: Declared | None = None
    """What it was trained on, for instance `in1k`."""
    framework: Declared | None = None
    """The objective, for instance `supervised` or `simclr`."""
    architecture: Declared | None = None
    """Its name, for instance `resnet50`."""
    hyper_parameters: Declared | None = None
    """A name for the recipe: equal names mean equal settings."""
    seed: Declared | None = None
    """What tells apart trainings that are equal in all else; a pair of these is a re-initialisation."""
    parent: Declared | None = None
    """The checkpoint this one was fine-tuned from."""
    teacher: Declared | None = None
    """The checkpoint this one was distilled from."""


def shares_lineage(id_a: str, a: Training, id_b: str, b: Training) -> bool:
    """Whether one is the other's parent or teacher, or both stem from one parent."""
    return (
        id_a in (b.parent, b.teacher)
        or id_b in (a.parent, a.teacher)
        or (a.parent is not None and a.parent == b.parent)
    )


def category(
    id_a: str, a: Training, weights_a: str | None, id_b: str, b: Training, weights_b: str | None
) -> str | None:
    """The category of a pair of checkpoints, symmetric in the two.

    Args:
        id_a: name of the first checkpoint, to which `parent` and `teacher` refer.
        a: its training columns.
        weights_a: digest of its weights, None where they are unknown (imported predictions).
        id_b: name of the second.
        b: its training columns.
        weights_b: digest of its weights.

    Returns:
        One of `LINEAGE` or `CATEGORIES`; None where an axis is missing before one is seen to differ.
    """
    if weights_a is not None and weights_a == weights_b:
        return "duplicate"
    if shares_lineage(id_a, a, id_b, b):
        return "shared_lineage"
    for axis in AXES:
        value_a, value_b = getattr(a, axis), getattr(b, axis)
        if value_a is None or value_b is None:
            return None
        if value_a != value_b:
            return axis
    return "reinit"


def pair_categories(ids: Sequence[str], trainings: Sequence[Training], weights: Sequence[str | None]) -> PairCategories:
    """The categories of all pairs of a zoo: what `category` says of each.

    Args:
        ids: names of M checkpoints.
        trainings: their training columns.
        weights: digests of their weights, None where unknown.
    """
    import numpy as np

    from overlap.analysis.pair_categories import PairCategories

    numbers: dict[str, int] = {}

    def coded(values: Iterable[str | None]) -> NDArray[np.int64]:
        return np.array([-1 if text is None else numbers.setdefault(text, len(numbers)) for text in values], np.int64)

    axes = [coded(getattr(training, axis) for training in trainings) for axis in AXES]
    return PairCategories(
        np.stack(axes),
        coded(ids),
        coded(training.parent for training in trainings),
        coded(training.teacher for training in trainings),
        coded(weights),
    )
