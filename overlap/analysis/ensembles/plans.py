"""Which greedy searches a study asks for, and what each may choose: the same plan however ensembles are counted.

Guarantees: who is in a pool depends on what models get right alone and on their training; not on any ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles import pools
from overlap.analysis.ensembles.forward import ANY, MAX_SIZE, Allowed
from overlap.analysis.pairs import Categories

Costs = Mapping[str, NDArray[np.float64]]
"""(M,) of each model by a name of `budgets.COSTS`, NaN where unknown."""


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
class Plan:
    """One greedy search.

    Attributes:
        name: what the tables call it.
        kind, anchor, pool: as of `forward.Found`.
        allowed: what may be chosen.
        reason: why there is nothing to search; None where there is.
    """

    name: str
    kind: str = "forward"
    anchor: int | None = None
    pool: str = "all"
    allowed: Allowed = ANY
    reason: str | None = None


@dataclass(frozen=True)
class Budget:
    """One search within a budget; `cost` is None where it is known of no model, which is then the `reason`."""

    name: str
    cost: NDArray[np.float64] | None
    most: float
    reason: str | None = None


def free(asked: Asked, models: Sequence[str]) -> Iterator[Plan]:
    """Over all models."""
    yield Plan("greedy")
    for anchor in asked.anchors:
        yield Plan(f"greedy from {models[anchor]}", anchor=anchor)
    if asked.without_replacement:
        yield Plan("greedy without replacement", "without_replacement", allowed=Allowed(replacement=False))


def pooled(
    asked: Asked, models: Sequence[str], accuracy: NDArray[np.float64], categories: Categories, reference: int
) -> Iterator[Plan]:
    """Weak models added to each anchor (the best single model where there is none); of them those of other training,
    and the control of the anchor's own training.

    Args:
        asked: by the study.
        models: M names.
        accuracy: (M,) on the selection split.
        categories: (M, M) of pairs, read above the diagonal.
        reference: the best single model.
    """
    for anchor in asked.anchors or (reference,):
        yield from _around(asked, models[anchor], anchor, accuracy, categories)


def _around(
    asked: Asked, name: str, anchor: int, accuracy: NDArray[np.float64], categories: Categories
) -> Iterator[Plan]:
    weak, limit = pools.below(accuracy, asked.pool_below, anchor)
    text = f"below {limit:.4g}"
    if not weak:
        nothing = f"no other model is less accurate than {limit:.4g}"
        yield Plan(f"weak models for {name}", "pool", anchor, text, reason=nothing)
        return
    yield Plan(f"weak models for {name}", "pool", anchor, f"{text}: {len(weak)} models", Allowed(weak))
    matched = pools.control(anchor, weak, accuracy, categories)
    if not matched.own:
        nothing = (
            f"no model trained like {name} is as accurate, within {pools.CALIPER:g}, as a weak one of other training"
        )
        yield Plan(f"control for {name}", "control", anchor, text, reason=nothing)
        return
    told = f"{len(matched.own)} of {matched.of} matched by accuracy"
    note = "; own training: same but for " + ", ".join(matched.level)
    other, own = Allowed(matched.other), Allowed(matched.own)
    yield Plan(f"weak models of other training for {name}", "pool", anchor, f"{text}, {told}{note}", other)
    yield Plan(f"control for {name}", "control", anchor, f"own training, {told}{note}", own)


def within(asked: Asked, costs: Costs) -> Iterator[Budget]:
    """Within each budget."""
    for name, most in asked.budgets.items():
        cost = costs.get(name)
        search = f"within {most:,.10g} {name}"
        if cost is None or np.isnan(cost).all():
            yield Budget(search, None, most, f"{name} of no model are known")
        else:
            yield Budget(search, cost, most)
