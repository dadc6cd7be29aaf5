"""Which images an ensemble gets right when a model is added, certified from that model's largest probabilities.

Of the members' sum a lower end is known, which is the sum itself for accepted classes, and what each class may have
above it; of the candidate the kept classes are known, and every other class has between nothing and the tail.
Guarantees: what is certified is what the full computation gives: rounding is monotone, so that a
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
        right: images whose arg-max, the lowest class on ties, is certainly accepted.
        open: (n,) where that is not certain.
    """

    leaders: NDArray[np.int32]
    own: NDArray[np.float64]
    right: int
    open: NDArray[np.bool_]

    def take(self, images: NDArray[np.int64]) -> Standing:
        """That of some images, of which none is counted as right."""
        return Standing(self.leaders[images], self.own[images], 0, self.open[images])


@dataclass(frozen=True)
class Above:
    """What sums may have above what is known of them; nothing where all of it is.

    Attributes:
        each: (n, K) float32, of each class: the tails of the members that do not list it; empty where all are 0.
        most: (n,) float64, no less than that of any class.
    """

    each: NDArray[np.float32]
    most: NDArray[np.float64]

    @classmethod
    def nothing(cls, images: int) -> Above:
        """Of sums that are known in full."""
        return cls(np.zeros((0, 0), np.float32), np.zeros(images))

    def take(self, images: NDArray[np.int64]) -> Above:
        """That of some images."""
        return Above(self.each[images] if len(self.each) else self.each, self.most[images])


def standing(
    running: NDArray[np.float64],
    accepted: NDArray[np.int32],
    above: Above,
    before: NDArray[np.int32] | None = None,
) -> Standing:
    """Of the sums of the members' probabilities, (n, K), with (n, L) accepted classes.

    Leaders that were found before, of whatever sums, change nothing but the time: with fewer members they tell at once
    which classes are too small.
    """
    leaders = np.full((len(running), LEADERS), -1, np.int32) if before is None else before.copy()
    own, is_open = np.empty(len(running)), np.zeros(len(running), np.bool_)
    right = int(_stand(running, accepted, above.each, above.most, leaders, own, is_open))
    return Standing(leaders, own, right, is_open)


def certified(
    running: NDArray[np.float64],
    above: Above,
    stand: Standing,
    values: NDArray[np.float32],
    classes: NDArray[Any],
    tail: NDArray[np.float32],
    accepted: NDArray[np.int32],
    candidates: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Images certainly right with each candidate, (C,), and the images that are not certified, (n, C).

    Args:
        running: (n, K), what is known of the sum of the members' probabilities.
        above: what classes may have above it.
        stand: of that sum.
        values: (n, M, k), classes: (n, M, k), tail: (n, M): as in `Largest`, of all models.
        accepted: (n, L), as `truths.accepted` gives them.
        candidates: (C,) models.
    """
    right = np.zeros(len(candidates), np.int64)
    doubt = np.zeros((len(running), len(candidates)), np.bool_)
    own = stand.leaders, stand.own
    _certify(running, above.each, above.most, *own, values, classes, tail, accepted, candidates, right, doubt)
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
    each: NDArray[np.float32],
    most: NDArray[np.float64],
    leaders: NDArray[np.int32],
    own: NDArray[np.float64],
    is_open: NDArray[np.bool_],
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
        verdict, last = 1, leaders[x, -1]
        if most[x] > 0 and last >= 0 and row[last] + most[x] >= own[x]:
            verdict = -1
        for rival in leaders[x]:
            if rival < 0 or verdict == 0:
                break
            further = np.float64(each[x, rival]) if most[x] > 0 else 0.0
            if row[rival] > own[x] or (further == 0 and row[rival] == own[x] and rival < first):
                verdict = 0
            elif further > 0 and row[rival] + further >= own[x]:
                verdict = -1
        right += verdict > 0
        is_open[x] = verdict < 0
    return right


@compiled
def _settle(
    with_top: float, first: float, second: float, is_fine: bool, own: float, rival: float, margin: float
) -> int:
    """1 right, 0 wrong, -1 open: from the largest probability, the second being the bound of all other classes.

    Args:
        with_top: the sum of the class that the candidate says.
        first: the candidate's largest probability.
        second: what no other class exceeds.
        is_fine: whether the class it says is accepted.
        own: the largest sum of the members for an accepted class.
        rival: the same for another class.
        margin: by how much one has to lead.
    """
    if is_fine:
        if with_top > rival + second + margin:
            return 1
        return 0 if rival > own + first + margin else -1
    if own > max(with_top, rival + first) + margin:
        return 1
    return 0 if max(rival, with_top) > own + second + margin else -1


@compiled
def _judge(
    row: NDArray[np.float64],
    further: NDArray[np.float32],
    most: float,
    values: NDArray[np.float32],
    classes: NDArray[Any],
    tail: float,
    accepted: NDArray[np.int32],
    leaders: NDArray[np.int32],
    seen: NDArray[np.int64],
    stamp: int,
) -> int:
    """1 right, 0 wrong, -1 open: from all kept classes."""
    own_low, rival_low, rival_high = -1.0, -1.0, -1.0
    for place in range(len(values)):
        number = classes[place]
        seen[number] = stamp
        total = row[number] + np.float64(values[place])
        if _is_among(number, accepted):
            own_low = max(own_low, total)
        else:
            rival_low = max(rival_low, total)
            rival_high = max(rival_high, total + np.float64(further[number]) if most > 0 else total)
    own_high = own_low
    for number in accepted:
        if number >= 0 and seen[number] != stamp:
            own_low = max(own_low, row[number])
            own_high = max(own_high, row[number] + tail)
    for number in leaders:
        if number >= 0 and seen[number] != stamp:
            rival_low = max(rival_low, row[number])
            rival_high = max(rival_high, row[number] + tail + most)
            break  # where all leaders are kept, the last one's own sum is above what is left of any other class
    if most > 0 and leaders[-1] >= 0:
        rival_high = max(rival_high, row[leaders[-1]] + tail + most)
    if own_low > rival_high + MARGIN:
        return 1
    return 0 if rival_low > own_high + MARGIN else -1


@compiled
def _certify(
    running: NDArray[np.float64],
    each: NDArray[np.float32],
    most: NDArray[np.float64],
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
    seen, nothing = np.full(running.shape[1], -1), np.zeros(0, np.float32)
    stamp = 0
    for x in range(len(running)):
        row = running[x]
        rival = row[leaders[x, 0]] if leaders[x, 0] >= 0 else -4.0  # below every sum and margin
        margin = MARGIN + most[x]
        further = each[x] if most[x] > 0 else nothing
        for place in range(len(candidates)):
            model = candidates[place]
            top = classes[x, model, 0]
            first = np.float64(values[x, model, 0])
            second = np.float64(values[x, model, 1] if values.shape[2] > 1 else tail[x, model])
            verdict = _settle(row[top] + first, first, second, _is_among(top, accepted[x]), own[x], rival, margin)
            if verdict < 0:
                kept = values[x, model], classes[x, model], np.float64(tail[x, model])
                verdict = _judge(row, further, most[x], kept[0], kept[1], kept[2], accepted[x], leaders[x], seen, stamp)
                stamp += 1
            right[place] += verdict > 0
            doubt[x, place] = verdict < 0
