"""Which images an ensemble gets right when a model is added, certified from that model's largest probabilities.

The sum of the members is known in full; of the candidate the kept classes are known, and every other class has between
nothing and the tail. Guarantees: what is certified is what the full computation gives: rounding is monotone, so that a
bound holds for the rounded sums too, and leads of at most `MARGIN` are left uncertified, as are all ties. That is more
than the probabilities of one image differ between machines. Counts are integers; each image is judged by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

MARGIN = 2.0**-18
"""Lead of a sum of probabilities, up to which an image is not certified: 64 times the spacing of float32 below one."""

LEADERS = 8
"""Wrong classes with the largest sums of an image's members that are held ready, to be the rivals outside the kept."""


@dataclass(frozen=True)
class Standing:
    """How the classes stand among the members of an ensemble, before a candidate is added.

    Attributes:
        leaders: (n, `LEADERS`) int32, the classes of the largest sums that are not accepted, in descending order, the
            lower class first among equals; padded with -1.
        own: (n,) the largest sum of an accepted class.
        right: images whose arg-max, the lowest class on ties, is accepted.
    """

    leaders: NDArray[np.int32]
    own: NDArray[np.float64]
    right: int


def standing(
    running: NDArray[np.float64], accepted: NDArray[np.int32], before: NDArray[np.int32] | None = None
) -> Standing:
    """Of the sums of the members' probabilities, (n, K), with (n, L) accepted classes.

    Leaders that were found before, of whatever sums, change nothing but the time: with fewer members they tell at once
    which classes are too small.
    """
    leaders = np.full((len(running), LEADERS), -1, np.int32) if before is None else before.copy()
    own = np.empty(len(running))
    return Standing(leaders, own, int(_stand(running, accepted, leaders, own)))


def certified(
    running: NDArray[np.float64],
    stand: Standing,
    values: NDArray[np.float32],
    classes: NDArray[Any],
    tail: NDArray[np.float32],
    accepted: NDArray[np.int32],
    candidates: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Images certainly right with each candidate, (C,), and the images that are not certified, (n, C).

    Args:
        running: (n, K), the sum of the members' probabilities.
        stand: of that sum.
        values: (n, M, k), classes: (n, M, k), tail: (n, M): as in `Largest`, of all models.
        accepted: (n, L), as `truths.accepted` gives them.
        candidates: (C,) models.
    """
    right = np.zeros(len(candidates), np.int64)
    doubt = np.zeros((len(running), len(candidates)), np.bool_)
    _certify(running, stand.leaders, stand.own, values, classes, tail, accepted, candidates, right, doubt)
    return right, doubt


@compiled
def _is_among(number: int, accepted: NDArray[np.int32]) -> bool:
    found = False
    for one in accepted:
        found = found or one == number
    return found


@compiled
def _lead(
    row: NDArray[np.float64], accepted: NDArray[np.int32], found: NDArray[np.int32], large: NDArray[np.int32]
) -> None:
    """Find the leaders of one image; as many distinct classes as were found before bound the least of them."""
    bound = np.inf if found[-1] >= 0 else -1.0
    for place in range(len(found)):
        if found[place] >= 0:
            bound = min(bound, row[found[place]])
    count = 0
    for number in range(len(row)):  # a loop of its own, since it is nearly all of the work
        if row[number] >= bound:
            large[count] = number
            count += 1
    found[:] = -1
    last = len(found) - 1
    for number in large[:count]:
        if (found[last] >= 0 and row[number] <= row[found[last]]) or _is_among(number, accepted):
            continue
        place = last
        while place > 0 and (found[place - 1] < 0 or row[number] > row[found[place - 1]]):
            found[place] = found[place - 1]
            place -= 1
        found[place] = number


@compiled
def _stand(
    running: NDArray[np.float64],
    accepted: NDArray[np.int32],
    leaders: NDArray[np.int32],
    own: NDArray[np.float64],
) -> int:
    large = np.empty(running.shape[1], np.int32)
    right = 0
    for x in range(len(running)):
        row = running[x]
        own[x], first = -1.0, -1
        for number in accepted[x]:
            if number >= 0 and (row[number] > own[x] or (row[number] == own[x] and number < first)):
                own[x], first = row[number], number
        _lead(row, accepted[x], leaders[x], large)
        rival = leaders[x, 0]
        right += rival < 0 or own[x] > row[rival] or (own[x] == row[rival] and first < rival)
    return right


@compiled
def _settle(with_top: float, first: float, second: float, is_fine: bool, own: float, rival: float) -> int:
    """1 right, 0 wrong, -1 open: from the largest probability, the second being the bound of all other classes.

    Args:
        with_top: the sum of the class that the candidate says.
        first: the candidate's largest probability.
        second: what no other class exceeds.
        is_fine: whether the class it says is accepted.
        own: the largest sum of the members for an accepted class.
        rival: the same for another class.
    """
    if is_fine:
        if with_top > rival + second + MARGIN:
            return 1
        return 0 if rival > own + first + MARGIN else -1
    if own > max(with_top, rival + first) + MARGIN:
        return 1
    return 0 if max(rival, with_top) > own + second + MARGIN else -1


@compiled
def _judge(
    row: NDArray[np.float64],
    values: NDArray[np.float32],
    classes: NDArray[Any],
    tail: float,
    accepted: NDArray[np.int32],
    leaders: NDArray[np.int32],
    seen: NDArray[np.int64],
    stamp: int,
) -> int:
    """1 right, 0 wrong, -1 open: from all kept classes."""
    own_low, rival_low = -1.0, -1.0
    for place in range(len(values)):
        number = classes[place]
        seen[number] = stamp
        total = row[number] + np.float64(values[place])
        if _is_among(number, accepted):
            own_low = max(own_low, total)
        else:
            rival_low = max(rival_low, total)
    own_high, rival_high = own_low, rival_low
    for number in accepted:
        if number >= 0 and seen[number] != stamp:
            own_low = max(own_low, row[number])
            own_high = max(own_high, row[number] + tail)
    for number in leaders:
        if number >= 0 and seen[number] != stamp:
            rival_low = max(rival_low, row[number])
            rival_high = max(rival_high, row[number] + tail)
            break  # where all leaders are kept, the last one's own sum is above what is left of any other class
    if own_low > rival_high + MARGIN:
        return 1
    return 0 if rival_low > own_high + MARGIN else -1


@compiled
def _certify(
    running: NDArray[np.float64],
    leaders: NDArray[np.int32],
    own: NDArray[np.float64],
    values: NDArray[np.float32],
    classes: NDArray[Any],
    tail: NDArray[np.float32],
    accepted: NDArray[np.int32],
    candidates: NDArray[np.int64],
    right: NDArray[np.int64],
    doubt: NDArray[np.bool_],
) -> None:
    seen = np.full(running.shape[1], -1)
    stamp = 0
    for x in range(len(running)):
        row = running[x]
        rival = row[leaders[x, 0]] if leaders[x, 0] >= 0 else -4.0  # below every sum and margin
        for place in range(len(candidates)):
            model = candidates[place]
            top = classes[x, model, 0]
            first = np.float64(values[x, model, 0])
            second = np.float64(values[x, model, 1] if values.shape[2] > 1 else tail[x, model])
            verdict = _settle(row[top] + first, first, second, _is_among(top, accepted[x]), own[x], rival)
            if verdict < 0:
                kept = values[x, model], classes[x, model], np.float64(tail[x, model])
                verdict = _judge(row, kept[0], kept[1], kept[2], accepted[x], leaders[x], seen, stamp)
                stamp += 1
            right[place] += verdict > 0
            doubt[x, place] = verdict < 0
