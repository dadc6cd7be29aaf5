"""Faults in the order of classes: would a permutation of a head's outputs explain what a checkpoint answers?

An order maps each output of the head to the class of the data that it stands for, -1 for none. Known orders are tried
by name; beside them the best of all permutations, by linear assignment on the confusion matrix. Either is chosen on one
half of the images and judged on the other, so that a permutation fitted to chance shows as what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from overlap.analysis.splits import uniform

Order = NDArray[np.int64]
"""Shape (classes,): the data's class for each output of the head, -1 for none."""
OTHER = "another order of the classes"
"""Name of an order that is none of the known ones."""


@dataclass(frozen=True)
class Explanation:
    """An order that does better on the images it was not chosen on."""

    name: str
    mapping: tuple[int, ...]
    """The data's class for each output of the head, -1 for none."""
    images: int
    """Held-out images."""
    right: int
    """Of them right under this order."""
    right_before: int
    """Of them right as the outputs stand."""

    @property
    def accuracy(self) -> float:
        """Held-out accuracy under this order."""
        return self.right / self.images

    @property
    def moved(self) -> int:
        """Number of outputs that stand for another class than their number says."""
        return sum(place != held for place, held in enumerate(self.mapping))


def known_orders(classes: int, others: Mapping[str, Sequence[int]] | None = None) -> dict[str, Order]:
    """Orders that heads and data sets are confused in, by name; those that move nothing are left out.

    Args:
        classes: of the data.
        others: further orders of the same classes, each as the data's class by place; tried in both directions.
    """
    count = np.arange(classes)
    strings = np.array(sorted(range(classes), key=str), np.int64)
    named: dict[str, Order] = {}
    for name, order in {"class numbers sorted as text (0, 1, 10, 11, …)": strings, **(others or {})}.items():
        held = np.asarray(order, np.int64)
        if sorted(held.tolist()) != count.tolist():
            raise ValueError(f"order {name!r} does not name each of {classes} classes once")
        named[f"the head is in the order of {name}"] = held
        named[f"the data is in the order of {name}, the head is not"] = np.argsort(held)
    named["the head is reversed"] = count[::-1].copy()
    named["the head is one class ahead (a background class comes first)"] = count - 1
    named["the head is one class behind (its first class is missing)"] = np.append(count[1:], -1)
    return {name: order for name, order in named.items() if (order != count).any()}


def confusion(prediction: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Images by output and label, shape (classes, classes); predictions of no class of the data are left out."""
    inside = (prediction >= 0) & (prediction < classes)
    pairs = prediction[inside].astype(np.int64) * classes + labels[inside]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def best_order(counts: NDArray[np.int64]) -> Order:
    """The permutation with the most right answers; of equals one that leaves the most classes where they are.

    Linear assignment (Jonker and Volgenant; Crouse 2016, as in scipy): exact, O(classes^3).
    """
    classes = len(counts)
    # A class left in place is worth less than any image: all of them together come to `classes`.
    gains = counts * (classes + 1) + np.eye(classes, dtype=np.int64)
    return np.asarray(linear_sum_assignment(gains, maximize=True)[1], np.int64)


def halves(keys: Sequence[str]) -> NDArray[np.bool_]:
    """True for the images that an order is chosen on, False for those that it is judged on, shape (N,)."""
    return uniform(keys, "overlap/gate/1") < 0.5


def explain(
    prediction: NDArray[np.integer],
    labels: NDArray[np.integer],
    fit: NDArray[np.bool_],
    classes: int,
    known: Mapping[str, Order],
    alpha: float,
) -> Explanation | None:
    """The order that explains the answers better than the present one, None where none does.

    A known order is preferred to the best of all, unless that is better still on the held-out images.

    Args:
        prediction: outputs with the highest logit, shape (N,).
        labels: shape (N,), in 0..classes-1.
        fit: images that orders are chosen on; the others judge. Shape (N,).
        classes: of the data.
        known: as `known_orders` gives them.
        alpha: two orders differ where the sign test over the images that one of them alone gets right says so at this
            level.
    """
    counts = confusion(prediction[fit], labels[fit], classes)
    held, truth = prediction[~fit], labels[~fit]
    before = held == truth
    best: tuple[str, Order] | None = None
    right = before
    candidates = [(OTHER, best_order(counts))]
    if known:
        rights = {name: _right_under(order, counts) for name, order in known.items()}
        name = max(rights, key=rights.__getitem__)  # the first of equals
        candidates.insert(0, (name, known[name]))
    for name, order in candidates:
        inside = (held >= 0) & (held < classes)
        under = inside & (order[np.where(inside, held, 0)] == truth)
        if _better(under, right, alpha):
            best, right = (name, order), under
    if best is None:
        return None
    return Explanation(best[0], tuple(best[1].tolist()), len(held), int(right.sum()), int(before.sum()))


def _right_under(order: Order, counts: NDArray[np.int64]) -> int:
    told = order >= 0
    return int(counts[np.flatnonzero(told), order[told]].sum())


def _better(one: NDArray[np.bool_], other: NDArray[np.bool_], alpha: float) -> bool:
    plus, minus = int((one & ~other).sum()), int((other & ~one).sum())
    return plus > minus and bool(stats.binomtest(plus, plus + minus, alternative="greater").pvalue < alpha)
