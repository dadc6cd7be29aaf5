"""Forward selection: members are added one by one, each the model with which most selection images are right.

Guarantees: the choice at every step is that of trying every candidate in full (`Parts.choose`). A search ends when
nothing improves for `PATIENCE` steps, when no candidate is left or affordable, or at its size; its whole trajectory is
kept, and its best prefix is the first with the best value on the selection split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.part import Counts, Members
from overlap.analysis.ensembles.parts import Parts, Value

MAX_SIZE = 12
"""Steps of a search."""

PATIENCE = 5
"""Steps without a better ensemble after which a search ends."""

FREE = 2.0**-60
"""Cost at which a member is taken again where gains are compared per cost: less than any model has."""


@dataclass(frozen=True)
class Found:
    """A search and what it found.

    Attributes:
        name: what the tables call it.
        kind: forward, without_replacement, bagged, nll, pool, control, budget or weights; single for
            the points of a front that are one model.
        members: model indices in order of selection; step k is the ensemble of the first k, a model once or several
            times. Empty for weights, and where nothing was found.
        values: per step, what was maximised on the selection split: images right, or the mean log-likelihood.
        weights: (model, weight) with weights that sum to one; empty for members.
        anchor: the model it had to start from.
        pool: which models it could choose from.
        objective: accuracy or nll.
        uncertified: share of images of candidates that bounds left open; None where there were no bounds.
        reason: why it found nothing, or what was left out; None where there is nothing to say.
    """

    name: str
    kind: str
    members: Members = ()
    values: tuple[float, ...] = ()
    weights: tuple[tuple[int, float], ...] = ()
    anchor: int | None = None
    pool: str = "all"
    objective: str = "accuracy"
    uncertified: float | None = None
    reason: str | None = None

    @property
    def best(self) -> int:
        """Members of the best prefix (0 when there are no steps)."""
        return int(np.argmax(self.values)) + 1 if self.members else 0

    @property
    def chosen(self) -> tuple[tuple[int, float], ...]:
        """(model, weight) of the best prefix or of the weights, by model; weights sum to one."""
        if self.weights:
            return tuple(sorted(self.weights))
        members = self.members[: self.best]
        return tuple((model, members.count(model) / len(members)) for model in sorted(set(members)))


@dataclass(frozen=True)
class Allowed:
    """What a search may choose.

    Attributes:
        pool: models in ascending order; None for all.
        replacement: whether a model may be taken again.
        cost: (M,) of each model, paid once however often it is taken; NaN where unknown: such a model is not taken.
        budget: greatest total cost.
        rate: whether the gain in right images per cost is maximised, rather than their number; ends when none gains.
    """

    pool: Sequence[int] | None = None
    replacement: bool = True
    cost: NDArray[np.float64] | None = None
    budget: float = np.inf
    rate: bool = False

    def candidates(self, members: Members, models: int) -> Counts:
        """Models that can be added to these members, ascending."""
        pool = np.arange(models) if self.pool is None else np.array(sorted(self.pool), np.int64)
        if not self.replacement:
            pool = pool[~np.isin(pool, members)]
        if self.cost is not None:
            paid = np.array([self.total((*members, model)) for model in pool.tolist()])
            pool = pool[paid <= self.budget] if len(pool) else pool  # NaN is in no budget
        return pool

    def added(self, members: Members, candidates: Counts) -> NDArray[np.float64]:
        """What each candidate would cost beside these members, (C,); nothing where it is one of them."""
        cost = np.zeros(len(candidates)) if self.cost is None else self.cost[candidates]
        return np.where(np.isin(candidates, members), 0.0, cost)

    def total(self, members: Members) -> float:
        """What the members cost together, in ascending order of models so that no order of choice can matter."""
        return 0.0 if self.cost is None else float(sum(self.cost[model] for model in sorted(set(members))))


ANY = Allowed()


def forward(
    name: str,
    parts: Parts,
    images: int,
    *,
    kind: str = "forward",
    anchor: int | None = None,
    allowed: Allowed = ANY,
    max_size: int = MAX_SIZE,
    patience: int = PATIENCE,
    pool: str = "all",
) -> Found:
    """Select by accuracy.

    Args:
        name: what the tables call it.
        parts: the selection images.
        images: how many they are.
        kind: as in `Found`.
        anchor: the first member, from the pool or not; without it the best single model of the pool.
        allowed: what may be chosen.
        max_size: steps at most.
        patience: steps without a better ensemble after which it ends.
        pool: what the tables call the pool.
    """
    found = Found(name, kind, anchor=anchor, pool=pool)
    models = len(parts.single)
    before = parts.scored, parts.uncertified
    first = allowed.candidates((), models) if anchor is None else np.array([anchor])
    if not len(first):
        return replace(found, reason="no model can be chosen")
    if not parts.single.any():
        return replace(found, reason="no model is right on any image of the selection split")
    single = parts.single[first]
    members: Members = (int(first[np.argmax(rate_of(allowed, (), 0)(first, single) if allowed.rate else single)]),)
    right = [parts.right(members)]
    while len(members) < max_size and len(right) - (int(np.argmax(right)) + 1) < patience:
        candidates = allowed.candidates(members, models)
        if not len(candidates):
            break
        value = rate_of(allowed, members, right[-1]) if allowed.rate else None
        following = (*members, parts.choose(members, candidates, images, value))
        counted = parts.right(following)
        if allowed.rate and counted <= right[-1]:
            break
        members = following
        right.append(counted)
    scored, uncertified = parts.scored - before[0], parts.uncertified - before[1]
    return replace(
        found,
        members=members,
        values=tuple(float(count) for count in right),
        uncertified=uncertified / scored if scored else None,
    )


def rate_of(allowed: Allowed, members: Members, now: int) -> Value:
    """Images gained per cost. What costs nothing goes before all else where it gains, and behind where it loses."""

    def value(candidates: Counts, counts: Counts) -> NDArray[np.float64]:
        cost = allowed.added(members, candidates)
        gain = (counts - now).astype(np.float64)
        return np.asarray(np.where(gain > 0, gain / np.maximum(cost, FREE), gain))

    return value
