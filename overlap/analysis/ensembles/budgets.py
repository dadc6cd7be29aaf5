"""The most accurate ensemble within a cost, and the front of accuracy over cost.

A model costs what it costs once, however often an ensemble holds it. Guarantees: nothing exceeds its budget; of two
greedy rules (most images right; most images gained per cost) the better on the selection split counts, which has a
bound where neither rule alone has one (Leskovec et al. 2007). Not guaranteed: the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.forward import MAX_SIZE, Allowed, Found, forward
from overlap.analysis.ensembles.parts import Parts

COSTS = ("parameters", "gflops", "milliseconds")
"""What models cost: parameters, 10^9 floating-point operations of an image, measured milliseconds of an image."""

GRID = (0.5, 1.0, 2.0, 4.0)
"""Budgets of the front, in costs of the best single model."""

Fractions = NDArray[np.float64]


def spend(name: str, parts: Parts, images: int, cost: Fractions, budget: float, *, max_size: int = MAX_SIZE) -> Found:
    """The best ensemble that costs at most the budget.

    Args:
        name: what the tables call it.
        parts: the selection images.
        images: how many they are.
        cost: (M,) of each model, above zero; NaN where unknown: such a model is left out.
        budget: in the same unit.
        max_size: steps at most.
    """
    by_count, by_rate = (
        forward(
            name,
            parts,
            images,
            kind="budget",
            allowed=Allowed(cost=cost, budget=budget, rate=rate),
            max_size=max_size,
            pool="affordable",
        )
        for rate in (False, True)
    )
    better = by_rate if max(by_rate.values, default=-1) > max(by_count.values, default=-1) else by_count
    return replace(better, reason=remark(bool(better.members), better.reason, cost, budget))


def remark(is_found: bool, reason: str | None, cost: Fractions, budget: float) -> str | None:
    """What is to be said of a search within a budget, beside what the search itself says."""
    if not is_found:
        return reason if (cost <= budget).any() else "no model is known to cost as little"
    unknown = int(np.isnan(cost).sum())
    left_out = [f"{unknown} models of unknown cost are left out"] if unknown else []
    return "; ".join([*([reason] if reason else []), *left_out]) or None


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which (cost, value) no other point dominates, by rising cost; of equal points the first."""
    order = sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1], place))
    found: list[int] = []
    for place in order:
        if not found or points[place][1] > points[found[-1]][1]:
            found.append(place)
    return found


def alone(parts: Parts, cost: Fractions) -> list[Found]:
    """The single models on the front, as ensembles of one."""
    known = np.flatnonzero(cost > 0).tolist()
    points = [(float(cost[model]), float(parts.single[model])) for model in known]
    return [
        Found("alone", "single", (known[place],), (points[place][1],))
        for place in front(points)
        if points[place][1] > 0
    ]


def grid(parts: Parts, images: int, cost: Fractions, *, max_size: int = MAX_SIZE) -> list[tuple[float, Found]]:
    """(budget, search) at the budgets of `GRID`, around the cost of the best single model of known cost."""
    known = np.flatnonzero(cost > 0)
    if not len(known):
        return []
    unit = float(cost[known[np.argmax(parts.single[known])]])
    searches = [(share * unit, spend("front", parts, images, cost, share * unit, max_size=max_size)) for share in GRID]
    return [(budget, found) for budget, found in searches if found.members]
