"""Every search that a study asks for, in order: what is to be judged on the test split and told in tables.

Guarantees: searches see the selection split alone. What is asked for and cannot be done is found with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles import budgets, climbing, plans
from overlap.analysis.ensembles.bagging import bagged
from overlap.analysis.ensembles.forward import Found, forward
from overlap.analysis.ensembles.likelihood import FIXED, by_likelihood, log_likelihood
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.ensembles.plans import Asked, Plan
from overlap.analysis.pairs import Categories


@dataclass(frozen=True)
class Zoo:
    """What searches need to know of the models beside the parts.

    Attributes:
        models: M names, ascending.
        images: of the selection split.
        likelihood: (M, images) float32 of the accepted classes together, out of fold, on the selection split.
        categories: (M, M) categories of pairs, read above the diagonal.
        costs: (M,) of each model by a name of `budgets.COSTS`; NaN where unknown. Costs not given are not searched by.
    """

    models: Sequence[str]
    images: int
    likelihood: NDArray[np.float32]
    categories: Categories
    costs: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """What was found.

    Attributes:
        reference: the best single model on the selection split.
        found: the searches of the tables, in their order.
        fronts: (cost, budget, ensemble) that only the front of accuracy over cost is drawn from; the budget is None for
            single models.
    """

    reference: int
    found: list[Found]
    fronts: list[tuple[str, float | None, Found]]

    @property
    def ensembles(self) -> list[Found]:
        """All that outcomes are needed of: `found`, then the ensembles of `fronts`, in order."""
        return [*self.found, *(found for *_, found in self.fronts)]


def searches(asked: Asked, zoo: Zoo, parts: Parts) -> Suite:
    """Do all of them, one after the other."""
    reference = int(np.argmax(parts.single)) if len(parts.single) else 0
    found = list(_greedy(asked, zoo, parts))
    if not parts.single.any():
        return Suite(reference, found, [])
    if "nll" in asked.objectives:
        found.append(by_likelihood("greedy by nll", zoo.likelihood, max_size=asked.max_size))
    accuracy = parts.single / zoo.images
    pooled = plans.pooled(asked, zoo.models, accuracy, zoo.categories, reference)
    found += [_planned(plan, asked, zoo, parts) for plan in pooled]
    found += _budgets(asked, zoo, parts)
    if asked.weights:
        found += _weights(asked, zoo, parts, found)
    fronts: list[tuple[str, float | None, Found]] = []
    for name, cost in zoo.costs.items():
        fronts += [(name, None, one) for one in budgets.alone(parts, cost)]
        fronts += [(name, *one) for one in budgets.grid(parts, zoo.images, cost, max_size=asked.max_size)]
    return Suite(reference, found, fronts)


def _greedy(asked: Asked, zoo: Zoo, parts: Parts) -> Iterator[Found]:
    for plan in plans.free(asked, zoo.models):
        yield _planned(plan, asked, zoo, parts)
    if asked.bags:
        yield bagged("bagged greedy", parts, zoo.images, zoo.models, bags=asked.bags, max_size=asked.max_size)


def _planned(plan: Plan, asked: Asked, zoo: Zoo, parts: Parts) -> Found:
    about: dict[str, Any] = {"kind": plan.kind, "anchor": plan.anchor, "pool": plan.pool}
    if plan.reason is not None:
        return Found(plan.name, reason=plan.reason, **about)
    return forward(plan.name, parts, zoo.images, allowed=plan.allowed, max_size=asked.max_size, **about)


def _budgets(asked: Asked, zoo: Zoo, parts: Parts) -> Iterator[Found]:
    for plan in plans.within(asked, zoo.costs):
        if plan.cost is None:
            yield Found(plan.name, "budget", pool="affordable", reason=plan.reason)
        else:
            yield budgets.spend(plan.name, parts, zoo.images, plan.cost, plan.most, max_size=asked.max_size)


def _weights(asked: Asked, zoo: Zoo, parts: Parts, found: Sequence[Found]) -> Iterator[Found]:
    sources = [one for one in found if one.kind in ("forward", "bagged", "nll") and one.anchor is None]
    models = climbing.dimensions(sources, parts.single)
    numbers, likelihood = np.array(models), zoo.likelihood[models].astype(np.float64)

    def images_right(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return parts.weighed(numbers, weights).astype(np.float64)

    def mean_log_likelihood(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        # added up one by one: a product of matrices may differ between machines, and the path with it
        mixed = (sum(weight * one for weight, one in zip(row / row.sum(), likelihood, strict=True)) for row in weights)
        return np.array([log_likelihood(np.asarray(one)) for one in mixed]) / (FIXED * max(1, zoo.images))

    for objective, score in (("accuracy", images_right), ("nll", mean_log_likelihood)):
        if objective in asked.objectives:
            starts = [one for one in sources if one.objective == objective and one.members]
            start = starts[0] if starts else Found("alike", "weights")
            yield climbing.climb(f"weights by {objective}", score, models, start, objective)
