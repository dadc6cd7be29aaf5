"""Where a model stands among the others of a panel: its rank, and what it gets right that nobody else does.

Guarantees: functions of right answers alone. A rank is an interval of ranks too: models that are better or worse beyond
chance bound it, each compared on the same images, by an exact test with Bonferroni's correction for their number; so
the model's true rank is in it with a confidence of 95% at least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import bits
from overlap.analysis.paired import sign_test

LEVEL = 0.05
"""Of all comparisons of one model together."""


@dataclass(frozen=True)
class Rank:
    """A place by accuracy among so many models, 1 the best; models that are equally accurate share the better place."""

    place: int
    low: int
    """The best place that is not beyond chance."""
    high: int
    """The worst such place."""
    of: int


def rank(row: int, words: bits.Words) -> Rank:
    """The rank of one model of a panel.

    Args:
        row: of the model.
        words: which images each of the panel's M models gets right, as `bits.packed` has them.
    """
    right = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    both = bits.joint(words[row : row + 1], words)[0]
    models = len(right)
    p_values = sign_test(right[row] - both, right - both)
    beyond = p_values * max(1, models - 1) < LEVEL
    better = int((right > right[row]).sum())
    return Rank(
        1 + better,
        1 + int((beyond & (right > right[row])).sum()),
        models - int((beyond & (right < right[row])).sum()),
        models,
    )


def only_right(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(M,): images that each of M models gets right and no other does, of correctness (M, N)."""
    alone = correct.sum(axis=0) == 1
    return np.asarray(correct[:, alone].sum(axis=1), np.int64)
