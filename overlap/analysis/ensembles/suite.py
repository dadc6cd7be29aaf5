"""Every search that a study asks for, in order: what is to be judged on the test split and told in tables.

Guarantees: searches see the selection split alone. What is asked for and cannot be done is found with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles import budgets, climbing, pools
from overlap.analysis.ensembles.bagging import bagged
from overlap.analysis.ensembles.forward import MAX_SIZE, Allowed, Found, forward
from overlap.analysis.ensembles.likelihood import FIXED, by_likelihood, log_likelihood
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.pairs import Categories


@dataclass(frozen=True)
class Asked:
    """What a study asks for.

    Attributes:
        anchors: models from which further searches start.
        max_size: steps of a search at most.
        without_replacement: whether to search also with every model at most once.
        bags: of bagged selection; none for no bagged selection.
        pool_below: accuracy below which a model is weak; None for the median of all models.
        budgets: greatest total cost, by a name of `budgets.COSTS`.
        objectives: of accuracy and nll, those to search by.
        weights: whether to search weights by CMA-ES.
    """

    anchors: tuple[int, ...] = ()
    max_size: int = MAX_SIZE
    without_replacement: bool = True
    bags: int = 20
    pool_below: float | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)
    objectives: Sequence[str] = ("accuracy", "nll")
    weights: bool = True


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
    for anchor in asked.anchors or (reference,):
        found += _pools(asked, zoo, parts, anchor)
    found += _budgets(asked, zoo, parts)
    if asked.weights:
        found += _weights(asked, zoo, parts, found)
    fronts: list[tuple[str, float | None, Found]] = []
    for name, cost in zoo.costs.items():
        fronts += [(name, None, one) for one in budgets.alone(parts, cost)]
        fronts += [(name, *one) for one in budgets.grid(parts, zoo.images, cost, max_size=asked.max_size)]
    return Suite(reference, found, fronts)


def _greedy(asked: Asked, zoo: Zoo, parts: Parts) -> Iterator[Found]:
    size = asked.max_size
    yield forward("greedy", parts, zoo.images, max_size=size)
    for anchor in asked.anchors:
        yield forward(f"greedy from {zoo.models[anchor]}", parts, zoo.images, anchor=anchor, max_size=size)
    if asked.without_replacement:
        once = Allowed(replacement=False)
        kind = "without_replacement"
        yield forward("greedy without replacement", parts, zoo.images, kind=kind, allowed=once, max_size=size)
    if asked.bags:
        yield bagged("bagged greedy", parts, zoo.images, zoo.models, bags=asked.bags, max_size=size)


def _pools(asked: Asked, zoo: Zoo, parts: Parts, anchor: int) -> Iterator[Found]:
    """Weak models added to an anchor; those of other training, and the control of its own training."""
    accuracy = parts.single / zoo.images
    weak, limit = pools.below(accuracy, asked.pool_below, anchor)
    text, name = f"below {limit:.4g}", zoo.models[anchor]

    def within(search: str, kind: str, pool: Sequence[int], told: str) -> Found:
        allowed = Allowed(pool)
        return forward(
            search, parts, zoo.images, kind=kind, anchor=anchor, allowed=allowed, max_size=asked.max_size, pool=told
        )

    if not weak:
        nothing = f"no other model is less accurate than {limit:.4g}"
        yield Found(f"weak models for {name}", "pool", anchor=anchor, pool=text, reason=nothing)
        return
    yield within(f"weak models for {name}", "pool", weak, f"{text}: {len(weak)} models")
    matched = pools.control(anchor, weak, accuracy, zoo.categories)
    if not matched.own:
        nothing = (
            f"no model trained like {name} is as accurate, within {pools.CALIPER:g}, as a weak one of other training"
        )
        yield Found(f"control for {name}", "control", anchor=anchor, pool=text, reason=nothing)
        return
    told = f"{len(matched.own)} of {matched.of} matched by accuracy"
    note = "; own training: same but for " + ", ".join(matched.level)
    yield within(f"weak models of other training for {name}", "pool", matched.other, f"{text}, {told}{note}")
    yield within(f"control for {name}", "control", matched.own, f"own training, {told}{note}")


def _budgets(asked: Asked, zoo: Zoo, parts: Parts) -> Iterator[Found]:
    for name, budget in asked.budgets.items():
        search = f"within {budget:,.10g} {name}"
        cost = zoo.costs.get(name)
        if cost is None or np.isnan(cost).all():
            yield Found(search, "budget", pool="affordable", reason=f"{name} of no model are known")
        else:
            yield budgets.spend(search, parts, zoo.images, cost, budget, max_size=asked.max_size)


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
