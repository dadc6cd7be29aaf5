"""Which models a search may add to an anchor: the weak ones, and the control of models trained like the anchor.

A weak model of another training may help because of that training, or only because it is another model. So weak
models whose training diverges from the anchor's are matched one to one, by accuracy on the selection split, with models
trained as the anchor was; searches restricted to either side then differ in training alone (paper.md, 5.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from overlap.analysis.pairs import Categories

CALIPER = 0.01
"""Difference in accuracy up to which two models are matched."""

LEVELS = (("reinit", "hyper_parameters", "architecture"), ("reinit", "hyper_parameters"), ("reinit",))
"""Categories of pairs that count as the anchor's own training; the first at which anything can be matched is used."""

OUTER = ("hyper_parameters", "architecture", "framework", "dataset")


@dataclass(frozen=True)
class Matched:
    """Models of other training and of the anchor's own, matched one to one.

    Attributes:
        other: weak models whose training diverges, ascending.
        own: their partners, ascending.
        of: how many weak models of other training there were.
        level: the categories that counted as the anchor's own.
    """

    other: tuple[int, ...]
    own: tuple[int, ...]
    of: int
    level: tuple[str, ...]


def below(accuracy: NDArray[np.float64], limit: float | None, anchor: int) -> tuple[list[int], float]:
    """Models less accurate than the limit, the anchor left out; and the limit: by default the median of all models."""
    bound = float(np.median(accuracy)) if limit is None else limit
    return [model for model in np.flatnonzero(accuracy < bound).tolist() if model != anchor], bound


def control(anchor: int, weak: Sequence[int], accuracy: NDArray[np.float64], categories: Categories) -> Matched:
    """Match the weak models of other training with models trained as the anchor was.

    Args:
        anchor: the model that all are added to.
        weak: models of the pool.
        accuracy: (M,) on the selection split.
        categories: (M, M) categories of pairs, read above the diagonal; pairs without one take no part.
    """
    kinds = [categories[min(anchor, model), max(anchor, model)] for model in range(len(accuracy))]
    for level in LEVELS:
        own = [model for model, kind in enumerate(kinds) if kind in level and model != anchor]
        other = [model for model in weak if kinds[model] in OUTER and kinds[model] not in level]
        pairs = match(accuracy[other], accuracy[own])
        if pairs:
            first, second = zip(*pairs, strict=True)
            return Matched(
                tuple(sorted(other[place] for place in first)),
                tuple(sorted(own[place] for place in second)),
                len(other),
                level,
            )
    return Matched((), (), 0, LEVELS[0])


def match(first: NDArray[np.float64], second: NDArray[np.float64], caliper: float = CALIPER) -> list[tuple[int, int]]:
    """As many pairs as can be within the caliper, each model once, of the least total difference in accuracy."""
    if not len(first) or not len(second):
        return []
    difference = np.abs(first[:, None] - second[None, :])
    fits = difference <= caliper
    # a pair that does not fit costs more than all that do together
    cost = np.where(fits, difference, 1.0 + caliper * (len(first) + len(second)))
    return [(int(a), int(b)) for a, b in zip(*linear_sum_assignment(cost), strict=True) if fits[a, b]]
