"""Which pairs of models are right together on an image, from their largest logits: certified, or left open.

Guarantees: what is certified is what `combining` counts from all logits. Sums of logits are compared as they are there,
bit for bit, where both models list a class; probabilities lie between bounds that hold their rounding too
(`bounded.MARGIN`). A class that a model does not list lies between its least logit and its last listed one; that goes
for accepted classes too. Pairs that predict one class keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.combining import COMBINERS
from overlap.analysis.compiler import compiled
from overlap.analysis.ensembles.questions import agreed, mark, question, told
from overlap.analysis.ensembles.settling import PROBABILITY, WEIGHTED, is_among
from overlap.analysis.tops.bounded import MARGIN, SLOPE, TINY, Bounded

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """m models on the same n images, as the kernel takes them; see `Bounded`.

    Attributes:
        z: (n, m, k) float32.
        classes: (n, m, k) int32.
        least: (n, m) float32.
        inverse: (2, n, m) float64; 1, and 1 / T.
        low, high: (2, n, m) float64, log of the sums.
        among: K.
    """

    z: NDArray[np.float32]
    classes: NDArray[np.int32]
    least: NDArray[np.float32]
    inverse: Fractions
    low: Fractions
    high: Fractions
    among: int

    @classmethod
    def of(cls, models: Sequence[Bounded]) -> Side:
        """Of at least one model.

        Raises:
            ValueError: models of different images or classes.
        """
        if len({(one.largest.shape, one.among) for one in models}) != 1:
            raise ValueError("largest logits of different images or classes")
        inverse = np.stack([1 / one.temperature for one in models], axis=1)
        return cls(
            np.stack([one.z for one in models], axis=1),
            np.stack([one.classes for one in models], axis=1).astype(np.int32),
            np.stack([one.lowest for one in models], axis=1),
            np.stack([np.ones_like(inverse), inverse]),
            np.stack([one.low for one in models], axis=2),
            np.stack([one.high for one in models], axis=2),
            models[0].among,
        )


def verdicts(
    held: Side,
    first: Counts,
    second: Counts,
    weights: Fractions,
    folds: NDArray[np.int8],
    accepted: NDArray[np.int32],
) -> NDArray[np.uint16]:
    """(P, n), as of `verdicts.verdicts`, by all of `COMBINERS`; arguments too, but for what is held of the models."""
    about = question(first, second, weights, folds, accepted, [*COMBINERS.values()])
    _judge_all(
        np.array(held.z, order="C"),
        np.array(held.classes, order="C"),
        np.array(held.least, order="C"),
        np.array(held.inverse, order="C"),
        np.array(held.low, order="C"),
        np.array(held.high, order="C"),
        held.among,
        *about,
    )
    return about[-1]


@compiled
def _judge_all(
    z: NDArray[np.float32],
    classes: NDArray[np.int32],
    least: NDArray[np.float32],
    inverse: Fractions,
    low: Fractions,
    high: Fractions,
    among: int,
    accepted: NDArray[np.int32],
    folds: NDArray[np.int8],
    first: Counts,
    second: Counts,
    weights: Fractions,
    kinds: Counts,
    calibrated: Counts,
    found: NDArray[np.uint16],
) -> None:
    images, models, k = z.shape
    ranks = np.full((models, among), -1, np.int32)
    lows, highs = np.empty((len(kinds), models, k + 1)), np.empty((len(kinds), models, k + 1))
    weight = np.ones(2)
    for x in range(images):
        if (classes[x, :, 0] == classes[x, 0, 0]).all():
            found[:, x] = agreed(classes[x, 0, 0], len(kinds), accepted[x])
            continue
        mark(classes[x], ranks, True)
        for model in range(models):
            for c in range(len(kinds)):
                by = calibrated[c]
                sums = low[by, x, model], high[by, x, model]
                scale = inverse[by, x, model]
                _score(kinds[c], z[x, model], least[x, model], scale, sums, lows[c, model], highs[c, model])
        for pair in range(len(first)):
            a, b = first[pair], second[pair]
            if classes[x, a, 0] == classes[x, b, 0]:
                found[pair, x] = agreed(classes[x, a, 0], len(kinds), accepted[x])
                continue
            verdict = np.int64(0)
            for c in range(len(kinds)):
                weight[:] = 1.0
                if kinds[c] == WEIGHTED:
                    weight[:] = weights[pair, folds[x]]
                said = _settle(
                    lows[c, a], highs[c, a], classes[x, a], ranks[a], lows[c, b], highs[c, b], classes[x, b], ranks[b],
                    weight, accepted[x], kinds[c] != PROBABILITY,
                )  # fmt: skip
                verdict |= told(said, c)
            found[pair, x] = verdict
        mark(classes[x], ranks, False)


@compiled
def _score(
    kind: int,
    z: NDArray[np.float32],
    least: float,
    inverse: float,
    sums: tuple[float, float],
    low: Fractions,
    high: Fractions,
) -> None:
    """From which to which score each listed class has, and in the last place any other."""
    k = len(z)
    if kind == PROBABILITY:
        under, over = exp(-sums[1]), exp(-sums[0])
        for rank in range(k):
            scaled = np.float64(z[rank]) * inverse
            odds, error = exp(scaled), MARGIN - SLOPE * scaled
            low[rank], high[rank] = max(0.0, odds * under * (1 - error) - TINY), odds * over * (1 + error) + TINY
        scaled = np.float64(least) * inverse
        low[k], high[k] = max(0.0, exp(scaled) * under * (1 - MARGIN + SLOPE * scaled) - TINY), high[k - 1]
    else:
        for rank in range(k):
            low[rank] = high[rank] = np.float64(z[rank]) * inverse
        low[k], high[k] = np.float64(least) * inverse, high[k - 1]


@compiled
def _settle(
    low_a: Fractions,
    high_a: Fractions,
    classes_a: NDArray[np.int32],
    ranks_a: NDArray[np.int32],
    low_b: Fractions,
    high_b: Fractions,
    classes_b: NDArray[np.int32],
    ranks_b: NDArray[np.int32],
    weight: Fractions,
    accepted: NDArray[np.int32],
    exact: bool,
) -> int:
    """1 right, 0 wrong, -1 open; `exact` says that scores of listed classes are those of the full computation."""
    wa, wb = weight[0], weight[1]
    k = len(classes_a)
    own_low, own_high, label = -np.inf, -np.inf, -1
    known = exact
    for number in accepted:
        if number >= 0:
            i, j = ranks_a[number], ranks_b[number]
            known = known and i >= 0 and j >= 0
            from_, to = wa * low_a[i] + wb * low_b[j], wa * high_a[i] + wb * high_b[j]  # -1 is the last place
            if from_ > own_low or (from_ == own_low and number < label):
                own_low, label = from_, number
            own_high = max(own_high, to)
    is_open = wa * high_a[k] + wb * high_b[k] >= own_low
    for rank in range(k):
        if wa * high_a[rank] + wb * high_b[0] < own_low:
            break  # nor has any class further down
        number = classes_a[rank]
        if is_among(number, accepted):
            continue
        j = ranks_b[number]
        from_, to = wa * low_a[rank] + wb * low_b[j], wa * high_a[rank] + wb * high_b[j]
        if from_ > own_high or (known and j >= 0 and from_ == own_low and number < label):
            return 0
        if not (known and j >= 0) and to >= own_low:
            is_open = True
    for rank in range(k):
        if wa * high_a[k] + wb * high_b[rank] < own_low:
            break
        number = classes_b[rank]
        if ranks_a[number] >= 0 or is_among(number, accepted):
            continue
        if wa * low_a[k] + wb * low_b[rank] > own_high:
            return 0
        is_open = is_open or wa * high_a[k] + wb * high_b[rank] >= own_low
    return -1 if is_open else 1
