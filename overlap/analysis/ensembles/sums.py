"""Whether ensembles are right, image by image, from the shortlists of their members.

Guarantees: what the full computation gives: an ensemble's class is the arg-max of the sums over members of weight times
calibrated probability, float64 in the order of the members, the lowest class on ties. Sums of accepted classes are
exact, those of other classes too where all members list them; else they lie between the sum of what is known and that
with the members' tails. Where that does not settle it, all logits of the image are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.combining import LookUp
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.shortening import PAD
from overlap.analysis.ensembles.shortlists import Answered, answered

Fractions = NDArray[np.float64]
Singles = NDArray[np.float32]

WRONG, RIGHT, OPEN = 0, 1, 2

WIDER = 1 + 1e-6
"""Widens tails, since an exponential in float32 need not be monotone in its last digit."""

ROUNDING = 1e-11
"""More than differently ordered float64 sums of members' probabilities differ by, and less than any tail matters by."""

CHUNK = 1 << 22
"""Probabilities held at a time: 16 MiB in float32, and as many classes (at least one image of all models)."""


@dataclass(frozen=True)
class Terms:
    """An ensemble: its members, which may be there several times, in the order in which they are added."""

    models: tuple[int, ...]
    weights: tuple[float, ...]
    every: bool = False
    """Whether it is judged after every member, or after the last."""

    @classmethod
    def alike(cls, models: Sequence[int], *, every: bool = False) -> Terms:
        """Members that weigh one each."""
        return cls(tuple(models), (1.0,) * len(models), every)

    @property
    def judged(self) -> int:
        """How often it is judged."""
        return len(self.models) if self.every else min(1, len(self.models))


def right_together(
    ensembles: Sequence[Terms], held: Mapping[int, Answered], labels: NDArray[np.int32], look_up: LookUp
) -> NDArray[np.bool_]:
    """(n, S): whether each ensemble is right, one column for each time that it is judged.

    Args:
        ensembles: of the models.
        held: shortlists of the models that are members, of the same n images.
        labels: (n,) true classes, or (n, L) accepted ones.
        look_up: logits of models on some of the images.
    """
    models = sorted({model for one in ensembles for model in one.models})
    edges = np.cumsum([0, *(one.judged for one in ensembles)])
    found = np.zeros((len(labels), edges[-1]), np.bool_)
    width = sum(held[model].short.logits.shape[1] for model in models)
    step = max(1, CHUNK // max(1, width))
    for start in range(0, len(labels) if models else 0, step):
        images = slice(start, min(start + step, len(labels)))
        some = {model: held[model].take(images) for model in models}
        verdicts = _judge(ensembles, some, labels[images])
        unsure = [verdicts[:, one:end] == OPEN for one, end in pairwise(edges)]
        unsure = [each.any(axis=1) for each in unsure]
        wanted: dict[int, NDArray[np.bool_]] = {}
        for one, open_images in zip(ensembles, unsure, strict=True):
            for model in set(one.models) if open_images.any() else ():
                wanted[model] = wanted.get(model, False) | open_images
        rows = {}
        for model, asked in wanted.items():
            places = np.flatnonzero(asked)
            rows[model] = places, look_up(model, places + start)
        for number, (one, open_images) in enumerate(zip(ensembles, unsure, strict=True)):
            if open_images.any():
                places = np.flatnonzero(open_images)
                whole = {}
                for model in set(one.models):
                    there, logits = rows[model]
                    own = logits[np.searchsorted(there, places)]
                    temperature = some[model].temperature[places]
                    whole[model] = answered([own], labels[images][places], temperature, own.shape[1])
                columns = slice(edges[number], edges[number + 1])
                verdicts[places, columns] = _judge([one], whole, labels[images][places])
        found[images] = verdicts == RIGHT
    return found


def _judge(ensembles: Sequence[Terms], held: Mapping[int, Answered], labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(n, S) of `WRONG`, `RIGHT`, `OPEN`."""
    models = sorted(held)
    place = {model: number for number, model in enumerate(models)}
    first = held[models[0]]
    shape = (len(first), len(models))
    width, accepted = first.short.logits.shape[1], truths.accepted(labels)
    values, classes = np.empty((*shape, width), np.float32), np.empty((*shape, width), np.int32)
    own, tail = np.empty((*shape, accepted.shape[1]), np.float32), np.zeros(shape)
    for number, model in enumerate(models):
        one = held[model]
        values[:, number], own[:, number], rest = one.probabilities()
        classes[:, number] = np.where(one.short.classes == PAD, -1, one.short.classes.astype(np.int32))
        if not one.short.complete:
            tail[:, number] = rest * WIDER
    members = np.array([place[model] for one in ensembles for model in one.models], np.int64)
    weights = np.array([weight for one in ensembles for weight in one.weights], np.float64)
    ends = np.cumsum([0, *(len(one.models) for one in ensembles)]).astype(np.int64)
    every = np.array([one.every for one in ensembles], np.bool_)
    found = np.zeros((len(first), sum(one.judged for one in ensembles)), np.uint8)
    _sum(values, classes, own, tail, accepted, members, weights, ends, every, first.short.among, found)
    return found


@compiled
def _sum(
    values: Singles,
    classes: NDArray[np.int32],
    own: Singles,
    tail: Fractions,
    accepted: NDArray[np.int32],
    members: NDArray[np.int64],
    weights: Fractions,
    ends: NDArray[np.int64],
    every: NDArray[np.bool_],
    among: int,
    found: NDArray[np.uint8],
) -> None:
    known, covered = np.zeros(among), np.zeros(among)
    hits, touched = np.zeros(among, np.int64), np.empty(among + 1, np.int64)
    is_own = np.zeros(among + 1, np.bool_)  # the last one stands for no class
    of_own = np.empty(accepted.shape[1])
    for x in range(len(values)):
        is_own[accepted[x]] = True
        is_own[among] = True
        column = 0
        for ensemble in range(len(ends) - 1):
            count, missing, largest = 0, 0.0, -1.0
            of_own[:] = 0.0
            for term in range(ends[ensemble], ends[ensemble + 1]):
                model, weight = members[term], weights[term]
                without = weight * tail[x, model]
                missing += without
                for place in range(accepted.shape[1]):
                    of_own[place] += weight * np.float64(own[x, model, place])
                for rank in range(values.shape[2]):
                    number = classes[x, model, rank]
                    if is_own[number]:
                        continue
                    touched[count] = number
                    count += hits[number] == 0
                    hits[number] += 1
                    known[number] += weight * np.float64(values[x, model, rank])
                    covered[number] += without
                    largest = max(largest, known[number])
                if every[ensemble] or term == ends[ensemble + 1] - 1:
                    terms = term - ends[ensemble] + 1
                    some = touched[:count]
                    found[x, column] = _verdict(
                        accepted[x], of_own, largest, missing, terms, some, known, covered, hits
                    )
                    column += 1
            for number in touched[:count]:
                known[number], covered[number], hits[number] = 0.0, 0.0, 0
        is_own[accepted[x]] = False


@compiled
def _verdict(
    accepted: NDArray[np.int32],
    of_own: Fractions,
    largest: float,
    missing: float,
    terms: int,
    touched: NDArray[np.int64],
    known: Fractions,
    covered: Fractions,
    hits: NDArray[np.int64],
) -> int:
    best, own = -1, -1.0
    for place in range(len(accepted)):
        number = accepted[place]
        if number >= 0 and (of_own[place] > own or (of_own[place] == own and number < best)):
            best, own = number, of_own[place]
    if largest > own:
        return WRONG
    rounding = ROUNDING * (1.0 + own) if missing > 0 else 0.0
    if largest + missing + rounding < own:
        return RIGHT
    # Nobody lists these; where members list all classes, there are none.
    verdict = OPEN if missing > 0 and missing + rounding >= own else RIGHT
    for number in touched:
        if hits[number] == terms:
            if known[number] == own and number < best:
                return WRONG
        elif known[number] + (missing - covered[number]) + rounding >= own:
            verdict = OPEN
    return verdict
