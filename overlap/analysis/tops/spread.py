"""Which ensembles are right, from bounds on their members' probabilities: the loop that searches and tables stand on.

Guarantees: what is certified is what all logits say: an ensemble's class is the arg-max of the members' summed
calibrated probabilities, the lowest class on ties. Bounds hold the rounding of the full computation (`bounded.MARGIN`),
so that ties and leads within rounding are left open, but for members that all say one class and do so clearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.settling import is_among
from overlap.analysis.tops.bounded import MARGIN, SLOPE, TINY, Bounded

Fractions = NDArray[np.float64]

WRONG, RIGHT, OPEN = 0, 1, 2

ROUNDED = 2.0**-23
"""Relative error of bounds that are kept in float32, and more than it."""

ABOVE = 1 + 1e-12
"""Covers the rounding of sums in float64."""

CLEAR = 1e-6
"""By how much less of a probability a class must have to stay behind in full computations, rounding included."""


@dataclass(frozen=True)
class Spread:
    """Calibrated probabilities of one model on n images, as bounds.

    Attributes:
        low, high: (n, k) float32, between which the probability of each listed class lies, descending; any other class
            has at most the last high.
        classes: (n, k) int32, whose they are.
        clear: (n,) whether every other class is behind the first by more than rounding, or is as large and higher.
        among: K.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    classes: NDArray[np.int32]
    clear: NDArray[np.bool_]
    among: int

    @classmethod
    def of(cls, one: Bounded) -> Spread:
        """Of what is known of a model."""
        low, high = np.empty((2, *one.largest.shape), np.float32)
        clear = np.empty(len(low), np.bool_)
        # copies, since read-only memory would be another type to compile for
        _spread(one.z, np.array(one.temperature), np.array(one.low[1]), np.array(one.high[1]), low, high, clear)
        return cls(low, high, one.classes.astype(np.int32), clear, one.among)

    def __len__(self) -> int:
        return len(self.low)

    def take(self, images: slice | NDArray[Any]) -> Spread:
        """Those of some images."""
        parts = (self.low[images], self.high[images], self.classes[images], self.clear[images])
        return Spread(*parts, self.among)


def verdicts(
    members: Sequence[Spread], candidates: Sequence[Spread], accepted: NDArray[np.int32], chunk: int = 1 << 20
) -> NDArray[np.uint8]:
    """(n, C) of `WRONG`, `RIGHT`, `OPEN`: the members, each with weight one, with each candidate beside them.

    Args:
        members: of the same n images, in any order; one may be there several times.
        candidates: likewise.
        accepted: (n, L), as `truths.accepted` gives them.
        chunk: odds that are copied together.
    """
    found = np.zeros((len(accepted), len(candidates)), np.uint8)
    models = [*members, *candidates]
    width = sum(one.low.shape[1] for one in models)
    step = max(1, chunk // max(1, width))
    for start in range(0, len(accepted) if candidates else 0, step):
        images = slice(start, start + step)
        some = [one.take(images) for one in models]
        _judge(
            np.stack([one.low for one in some], axis=1),
            np.stack([one.high for one in some], axis=1),
            np.stack([one.classes for one in some], axis=1),
            np.stack([one.clear for one in some], axis=1),
            len(members),
            models[0].among,
            np.array(accepted[images], np.int32, order="C"),
            found[images],
        )
    return found


@compiled
def _spread(
    z: NDArray[np.float32],
    temperature: Fractions,
    least: Fractions,
    most: Fractions,
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    clear: NDArray[np.bool_],
) -> None:
    """Write bounds of probabilities; `least` and `most` are of the log of the sum over all classes."""
    for x in range(len(z)):
        under, over = exp(-most[x]), exp(-least[x])
        is_clear, behind = True, False
        for rank in range(z.shape[1]):
            scaled = np.float64(z[x, rank]) / temperature[x]
            odds, error = exp(scaled), ROUNDED + MARGIN - SLOPE * scaled
            # equals of the first have higher classes; what is nearly equal may become equal by rounding, and be lower
            behind = odds < 1 - CLEAR
            is_clear = is_clear and (behind or z[x, rank] == 0)
            low[x, rank] = max(0.0, odds * under * (1 - error) - TINY)
            high[x, rank] = odds * over * (1 + error) + TINY
        clear[x] = is_clear and behind


@compiled
def _judge(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    classes: NDArray[np.int32],
    clear: NDArray[np.bool_],
    members: int,
    among: int,
    accepted: NDArray[np.int32],
    found: NDArray[np.uint8],
) -> None:
    k = low.shape[2]
    under, over = np.zeros(among), np.zeros(among)
    hit, seen = np.zeros(among, np.bool_), np.full(among, -1)
    rank_of, touched = np.zeros(among, np.int64), np.empty(among, np.int64)
    stamp = 0
    for x in range(len(low)):
        count, rest = 0, 0.0  # what a class has at most that no member lists
        agreed, is_clear = True, False
        for m in range(members):
            last = np.float64(high[x, m, k - 1])
            rest += last
            agreed = agreed and classes[x, m, 0] == classes[x, 0, 0]
            is_clear = is_clear or clear[x, m]
            for rank in range(k):
                number = classes[x, m, rank]
                touched[count] = number
                count += not hit[number]
                hit[number] = True
                under[number] += np.float64(low[x, m, rank])
                over[number] += np.float64(high[x, m, rank]) - last
        some = touched[:count]
        order = some[np.argsort(-over[some])]
        for c in range(low.shape[1] - members):
            m = members + c
            if members == 0 or (agreed and classes[x, m, 0] == classes[x, 0, 0] and (is_clear or clear[x, m])):
                found[x, c] = RIGHT if is_among(classes[x, m, 0], accepted[x]) else WRONG
                continue
            stamp += 1
            for rank in range(k):
                seen[classes[x, m, rank]] = stamp
                rank_of[classes[x, m, rank]] = rank
            own = low[x, m], high[x, m], rank_of, seen, stamp
            found[x, c] = _compare(own, classes[x, m], under, over, rest, order, accepted[x])
        for number in some:
            under[number], over[number], hit[number] = 0.0, 0.0, False


@compiled
def _compare(
    candidate: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int],
    classes: NDArray[np.int32],
    under: Fractions,
    over: Fractions,
    rest: float,
    order: NDArray[np.int64],
    accepted: NDArray[np.int32],
) -> int:
    """The members' sums and what a candidate adds: the best accepted class against all others."""
    low, high, rank_of, seen, stamp = candidate
    last = np.float64(high[-1])
    own_low, own_high = -1.0, -1.0
    for number in accepted:
        if number >= 0:
            from_, to = under[number], over[number] + rest + last
            if seen[number] == stamp:
                from_ += np.float64(low[rank_of[number]])
                to = over[number] + rest + np.float64(high[rank_of[number]])
            own_low, own_high = max(own_low, from_), max(own_high, to)
    rival_low, rival_high = 0.0, rest + last  # of a class that nobody lists
    for number in order:
        if seen[number] != stamp and not is_among(number, accepted):
            rival_low = max(rival_low, under[number])
            rival_high = max(rival_high, over[number] + rest + last)
            break  # none of those that follow is larger
    for rank in range(len(classes)):
        number = classes[rank]
        if not is_among(number, accepted):
            rival_low = max(rival_low, under[number] + np.float64(low[rank]))
            rival_high = max(rival_high, over[number] + rest + np.float64(high[rank]))
    if own_low > rival_high * ABOVE:
        return RIGHT
    return WRONG if rival_low > own_high * ABOVE else OPEN
