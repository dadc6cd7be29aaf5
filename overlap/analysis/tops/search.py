"""Forward selection from counts that may be open by a few images: the same picks as from all logits, or none.

Guarantees: a model is taken only where no undecided image could have made another the choice (of equals the first); a
search whose next pick, or whose end, is not certain stops and says so. What it found until then stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles import budgets
from overlap.analysis.ensembles.forward import ANY, PATIENCE, Allowed, rate_of

Counts = NDArray[np.int64]
Numbers = NDArray[Any]
Members = tuple[int, ...]
Count = Callable[[Members, Sequence[int]], Counts]
"""From members and candidates to (2, C): images of the selection split certainly right with each, and undecided."""


@dataclass(frozen=True)
class Grown:
    """A search and what it found.

    Attributes:
        name: what the tables call it.
        kind, anchor, pool: as of `ensembles.forward.Found`.
        members: in order of selection.
        low: images certainly right after each step, on the selection split; undecided: those that are open.
        is_over: whether it came to its end; undecided images stopped it where not.
        reason: why it found nothing, or stopped before its end; None where there is nothing to say.
    """

    name: str
    kind: str = "forward"
    members: Members = ()
    low: tuple[int, ...] = ()
    undecided: tuple[int, ...] = ()
    anchor: int | None = None
    pool: str = "all"
    is_over: bool = True
    reason: str | None = None

    @property
    def size(self) -> int | None:
        """Members of the best prefix, the first of equals; None where undecided images could make it another."""
        return first_of(np.array(self.low), np.array(self.low) + np.array(self.undecided)) if self.members else None


def grow(
    name: str,
    count: Count,
    single: Counts,
    *,
    max_size: int,
    kind: str = "forward",
    anchor: int | None = None,
    allowed: Allowed = ANY,
    pool: str = "all",
    patience: int = PATIENCE,
) -> Grown:
    """Select by accuracy, as `ensembles.forward.forward` does.

    Args:
        name, kind, anchor, allowed, max_size, patience, pool: as there.
        count: of the selection split.
        single: (M,) images that each model gets right there alone.
    """
    found = Grown(name, kind, anchor=anchor, pool=pool)
    first = allowed.candidates((), len(single)) if anchor is None else np.array([anchor])
    if not len(first):
        return replace(found, reason="no model can be chosen")
    if not single.any():
        return replace(found, reason="no model is right on any image of the selection split")
    alone = rate_of(allowed, (), 0)(first, single[first]) if allowed.rate else single[first]
    members: Members = (int(first[np.argmax(alone)]),)
    low, high = [int(single[members[0]])], [int(single[members[0]])]
    reason = None
    while len(members) < max_size:
        candidates = allowed.candidates(members, len(single))
        going = {len(low) - place < patience for place in _bests(np.array(low), np.array(high))}
        if not len(candidates) or going == {False}:
            break
        if len(going) > 1:
            reason = f"undecided images leave open whether the search ends after step {len(members)}"
            break
        right, is_open = count(members, candidates.tolist())
        places, gains = _chosen(allowed, members, candidates, (right, right + is_open), (low[-1], high[-1]))
        if gains is False:
            break
        if len(places) > 1:
            reason = f"undecided images leave open which of {len(places)} models is the best at step {len(members) + 1}"
            break
        if gains is None:
            reason = f"undecided images leave open whether step {len(members) + 1} gains anything"
            break
        best = places.pop() - 1
        members = (*members, int(candidates[best]))
        low.append(int(right[best]))
        high.append(int(right[best] + is_open[best]))
    undecided = tuple(more - less for less, more in zip(low, high, strict=True))
    return replace(found, members=members, low=tuple(low), undecided=undecided, is_over=reason is None, reason=reason)


def _chosen(
    allowed: Allowed, members: Members, candidates: Counts, right: tuple[Counts, Counts], now: tuple[int, int]
) -> tuple[set[int], bool | None]:
    """The places, from 1, of those that may be the best candidate; and whether it is taken, None if not certain.

    Args:
        allowed: what a search may choose, and whether it goes by gain per cost.
        members: so far.
        candidates: (C,) models.
        right: (C,) least and most images that are right with each.
        now: least and most that are right without.
    """
    low, high = right
    if not allowed.rate:
        return _bests(low, high), True
    # gains rise with what is right then, and fall with what is right now
    least, most = rate_of(allowed, members, now[1]), rate_of(allowed, members, now[0])
    places = _bests(least(candidates, low), most(candidates, high))
    some = [place - 1 for place in places]
    if (high[some] <= now[0]).all():
        return places, False
    return places, True if (low[some] > now[1]).all() else None


def spend(name: str, count: Count, single: Counts, cost: NDArray[np.float64], budget: float, *, max_size: int) -> Grown:
    """The best ensemble that costs at most the budget, as `ensembles.budgets.spend` finds it.

    Args:
        name, count, single, max_size: as of `grow`.
        cost, budget: as there.
    """
    about: dict[str, Any] = {"max_size": max_size, "kind": "budget", "pool": "affordable"}
    by_count, by_rate = (
        grow(name, count, single, allowed=Allowed(cost=cost, budget=budget, rate=rate), **about)
        for rate in (False, True)
    )
    most = [
        max(np.add(one.low, one.undecided).tolist(), default=-1) if one.is_over else np.inf
        for one in (by_count, by_rate)
    ]
    least = [max(one.low, default=-1) for one in (by_count, by_rate)]
    if least[1] > most[0]:
        better = by_rate
    elif most[1] <= least[0] or (by_count.is_over and by_rate.is_over and by_count.members == by_rate.members):
        better = by_count
    else:
        nothing = "undecided images leave open which of two rules, most right or most gained per cost, is the better"
        better = replace(by_count, members=(), low=(), undecided=(), is_over=False, reason=nothing)
    return replace(better, reason=budgets.remark(bool(better.members), better.reason, cost, budget))


def first_of(low: Numbers, high: Numbers) -> int | None:
    """The place, from 1, of the largest of numbers known within bounds, the first of equals; None if not certain."""
    found = _bests(low, high)
    return found.pop() if len(found) == 1 else None


def _bests(low: Numbers, high: Numbers) -> set[int]:
    """The places, from 1, at which the first of the largest may be."""
    places = np.arange(len(low))
    # one can be it if no earlier number is certainly as large, and no later one certainly larger
    before = np.concatenate([[-np.inf], np.maximum.accumulate(low)[:-1]])
    after = np.concatenate([np.maximum.accumulate(low[::-1])[::-1][1:], [-np.inf]])
    return {int(place) + 1 for place in places[(high > before) & (high >= after)]}
