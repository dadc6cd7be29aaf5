"""Weights found by CMA-ES (Hansen; the library `cma`): the stronger search that greedy selection is compared with.

Guarantees: weights are not negative and sum to one; the seed is fixed, and the start is one of the points compared, so
that what is found is never worse than it by the score climbed. Not guaranteed: an optimum. By accuracy, the score is of
the kept classes alone; like all others the weights are then judged in full, on images that they never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.forward import Found

DIMENSIONS = 30
"""Models that are weighed at most."""

EVALUATIONS = 50
"""Points tried for each model that is weighed (Purucker & Beel 2023)."""

STEP = 0.5
"""Initial standard deviation, where the mean weight is one."""

Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From (V, D) weights, none of them all zero, to (V,) scores; higher is better."""


def dimensions(found: Sequence[Found], single: NDArray[np.int64]) -> list[int]:
    """The models to weigh: those that searches chose, the heaviest first, then the best single models; ascending."""
    order: list[int] = []
    for one in found:
        order += [model for model, _ in sorted(one.chosen, key=lambda chosen: (-chosen[1], chosen[0]))]
    order += np.argsort(-single, kind="stable").tolist()
    return sorted(list(dict.fromkeys(order))[:DIMENSIONS])


def climb(name: str, score: Score, models: Sequence[int], start: Found, objective: str) -> Found:
    """Weigh these models, from the weights of a search.

    Args:
        name: what the tables call it.
        score: of weights; by accuracy images right, by nll the mean log-likelihood.
        models: D of them, ascending.
        start: what a search found; where it chose none of these models, all weigh the same.
        objective: accuracy or nll.
    """
    begin = np.array([dict(start.chosen).get(model, 0.0) for model in models])
    begin = np.ones(len(models)) if not begin.any() else begin * len(models) / begin.sum()
    best, best_score = begin, float(score(begin[None])[0])
    if len(models) > 1:
        strategy = _strategy(begin)
        for _ in range(max(1, EVALUATIONS * len(models) // strategy.popsize)):
            points = strategy.ask()
            weights = np.maximum(np.array(points), 0)
            usable = weights.any(axis=1)
            scores = np.full(len(points), -np.inf)
            if usable.any():
                scores[usable] = score(weights[usable])
            leader = int(np.argmax(scores))
            if scores[leader] > best_score:
                best, best_score = weights[leader], float(scores[leader])
            strategy.tell(points, np.where(usable, -scores, np.finfo(np.float64).max))
            if strategy.stop():
                break
    weights = best / best.sum()
    chosen = tuple((model, float(weight)) for model, weight in zip(models, weights, strict=True) if weight > 0)
    pool = f"{len(models)} models"
    return Found(name, "weights", values=(best_score,), weights=chosen, pool=pool, objective=objective)


def _strategy(begin: NDArray[np.float64]) -> Any:
    """CMA-ES with random numbers of its own: the library would seed those of the whole process."""
    import cma  # imported here for its weight

    random = np.random.default_rng(len(begin))
    options = {
        "seed": np.nan,
        "randn": lambda *shape: random.standard_normal(shape),
        "verbose": -9,
        "verb_log": 0,
        "verb_disp": 0,
    }
    return cma.CMAEvolutionStrategy(begin, STEP, options)
