"""Forward selection from counts that may be open by a few images: the same picks as from all logits, or none.

Guarantees: a model is taken only where no undecided image could have made another the choice (of equals the first); a
search whose next pick, or whose end, is not certain stops and says so. What it found until then stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.ensembles.forward import PATIENCE

Counts = NDArray[np.int64]
Members = tuple[int, ...]
Count = Callable[[Members, Sequence[int]], Counts]
"""From members and candidates to (2, C): images of the selection split certainly right with each, and undecided."""


@dataclass(frozen=True)
class Grown:
    """A search and what it found.

    Attributes:
        name: what the tables call it.
        members: in order of selection.
        low: images certainly right after each step, on the selection split; undecided: those that are open.
        anchor: the model it had to start from.
        reason: why it found nothing, or stopped before its end; None where there is nothing to say.
    """

    name: str
    members: Members = ()
    low: tuple[int, ...] = ()
    undecided: tuple[int, ...] = ()
    anchor: int | None = None
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
    anchor: int | None = None,
    patience: int = PATIENCE,
) -> Grown:
    """Select by accuracy, as `ensembles.forward.forward` does.

    Args:
        name: what the tables call it.
        count: of the selection split.
        single: (M,) images that each model gets right there alone.
        max_size: steps at most.
        anchor: the first member; without it the best single model.
        patience: steps without a better ensemble after which it ends.
    """
    if not single.any():
        return Grown(name, anchor=anchor, reason="no model is right on any image of the selection split")
    start = int(np.argmax(single)) if anchor is None else anchor
    members: Members = (start,)
    low, undecided = [int(single[start])], [0]
    candidates = range(len(single))
    reason = None
    while len(members) < max_size:
        going = {len(low) - place < patience for place in _bests(np.array(low), np.array(low) + np.array(undecided))}
        if len(going) > 1:
            reason = f"undecided images leave open whether the search ends after step {len(members)}"
            break
        if not going.pop():
            break
        right, is_open = count(members, candidates)
        best = first_of(right, right + is_open)
        if best is None:
            rivals = int((right + is_open >= right.max()).sum())
            reason = f"undecided images leave open which of {rivals} models is the best at step {len(members) + 1}"
            break
        members = (*members, best - 1)
        low.append(int(right[best - 1]))
        undecided.append(int(is_open[best - 1]))
    return Grown(name, members, tuple(low), tuple(undecided), anchor, reason)


def first_of(low: Counts, high: Counts) -> int | None:
    """The place, from 1, of the largest of numbers known within bounds, the first of equals; None if not certain."""
    found = _bests(low, high)
    return found.pop() if len(found) == 1 else None


def _bests(low: Counts, high: Counts) -> set[int]:
    """The places, from 1, at which the first of the largest may be."""
    places = np.arange(len(low))
    # one can be it if no earlier number is certainly as large, and no later one certainly larger
    before = np.concatenate([[-1], np.maximum.accumulate(low)[:-1]])
    after = np.concatenate([np.maximum.accumulate(low[::-1])[::-1][1:], [-1]])
    return {int(place) + 1 for place in places[(high > before) & (high >= after)]}
