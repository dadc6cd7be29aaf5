"""Ensembles of pairs of models, counted image by image (paper.md, 1.2 and 1.3).

Guarantees: integer counts. Exact: an ensemble's class is the arg-max of the summed scores, the lowest class on ties;
where both models predict one class their average keeps it, so only disagreements are scored. What is calibrated is so
out of fold, and the result of a pair does not depend on which other models there are, so that it can be kept. Counted
from shortlists; what these leave open is looked up in all logits of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles import settling, verdicts
from overlap.analysis.ensembles.questions import OPEN
from overlap.analysis.ensembles.shortlists import Answered, answered
from overlap.analysis.pairs import CATEGORIES, pair_count
from overlap.analysis.some_pairs import OfPairs, SomePairs, Square
from overlap.analysis.tally import Tally, Together

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]

LookUp = Callable[[int, Counts], NDArray[np.float16]]
"""From the place of a model and m images, ascending, to its (m, K) stored logits there."""

TWO_TEMPERATURES = "two_temperatures"
MAIN = "mean_probability"
"""The combiner of whose ensembles the images are kept."""
COMBINERS = {
    MAIN: (settling.PROBABILITY, True),
    "mean_log_probability": (settling.LOG, True),
    "mean_probability_uncalibrated": (settling.PROBABILITY, False),
    "mean_log_probability_uncalibrated": (settling.LOG, False),
    TWO_TEMPERATURES: (settling.WEIGHTED, False),
}
"""What an ensemble sums, and whether each model's own temperature calibrates it before.

The first four average probabilities or their logarithms. `two_temperatures` is softmax(z_a / T_a + z_b / T_b) with both
temperatures fitted together (Asymmetric Duos; see `ensembles.temperatures`).
"""

CHUNK = 1 << 22
"""Listed logits held at a time: 16 MiB in float32, and as many classes (at least one image of all models)."""


@dataclass(frozen=True)
class EnsembleCounts:
    """Images that the pairs of M models get right together, by what each gets right alone.

    Attributes:
        n: images counted.
        kept: (M, M) int64 above the diagonal, or of some pairs; both are right alone and the ensemble is.
        converted: (M, M) int64, likewise; only the row's model is right alone, and the ensemble of the two is.
        recovered: (M, M) int64 above the diagonal, likewise; both are wrong alone, the ensemble is right.
        gain: (C,) int64, by `CATEGORIES`; over images and pairs, ensemble right minus better model right; 0 where that
            was not counted.
        gain_square: (C,) int64; over images, the square of that difference summed over pairs.
    """

    n: int
    kept: Square
    converted: Square
    recovered: Square
    gain: Counts
    gain_square: Counts

    @classmethod
    def of(cls, n: int, models: int, first: Counts, second: Counts, counts: Counts) -> EnsembleCounts:
        """From (P, 4) counts by `tally.CELLS` of pairs first < second, all or some in their order; without gains."""
        nothing = np.zeros(len(CATEGORIES), np.int64)
        if len(first) < pair_count(models):
            some = SomePairs(models, first, second)
            neither, by_second, by_first, both = counts.T
            of_one = OfPairs(some, by_first, mirrored=by_second)
            return cls(n, OfPairs(some, both), of_one, OfPairs(some, neither), nothing, nothing)
        kept, converted, recovered = (np.zeros((models, models), np.int64) for _ in range(3))
        recovered[first, second] = counts[:, 0]
        converted[second, first] = counts[:, 1]
        converted[first, second] = counts[:, 2]
        kept[first, second] = counts[:, 3]
        return cls(n, kept, converted, recovered, nothing, nothing)

    def with_gains(self, totals: NDArray[np.int32]) -> EnsembleCounts:
        """The same with gains, from `add_gains` over all pairs."""
        held = totals[: len(CATEGORIES)].astype(np.int64)
        return replace(self, gain=held.sum(axis=1), gain_square=(held * held).sum(axis=1))


def count_pairs(
    models: Sequence[Answered],
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    first: Counts,
    second: Counts,
    weights: Fractions,
    look_up: LookUp,
) -> Together:
    """Count some pairs of models by all combiners.

    Args:
        models: shortlists of the models, of the same n images.
        labels: (n,) true classes, or (n, L) accepted ones (see `truths`).
        folds: (n,) calibration folds.
        first, second: (P,) places of the pairs' models.
        weights: (P, 5, 2), >= 0: by fold, 1 / T of both models in this pair.
        look_up: asked about images that the shortlists leave open.

    Raises:
        ValueError: models of different images or classes, or weights that do not fit.
    """
    n, pairs = len(labels), len(first)
    if weights.shape[::2] != (pairs, 2) or not (weights >= 0).all():
        raise ValueError(f"weights of shape {weights.shape} for {pairs} pairs, or some below 0")
    tally = Tally(first, second, len(COMBINERS))
    accepted = truths.accepted(labels)
    step = max(1, CHUNK // max(1, sum(one.short.logits.shape[1] for one in models)))
    for start in range(0, n if pairs else 0, step):
        images = slice(start, min(start + step, n))
        some = [one.take(images) for one in models]
        judge = Judge(accepted[images], folds[images], weights)
        found = judge(some, first, second, np.arange(pairs))
        _settle_open(found, judge, some, labels[images], first, second, look_up, start)
        said = np.stack([one.short.classes[:, 0].astype(np.int32) for one in some])
        tally.add(found, said, labels[images])
    return tally.together


@dataclass(frozen=True)
class Judge:
    """`verdicts.verdicts` of some pairs and images, by all combiners."""

    accepted: NDArray[np.int32]
    folds: NDArray[np.int8]
    weights: Fractions

    def __call__(
        self,
        models: Sequence[Answered],
        first: Counts,
        second: Counts,
        pairs: Counts,
        images: slice | Counts = slice(None),
    ) -> NDArray[np.uint16]:
        """(P, n); `pairs` are the rows of `weights`, `images` those of the truth that the models are about."""
        held = verdicts.stacked(models)
        kinds = list(COMBINERS.values())
        weights = self.weights[pairs]
        return verdicts.verdicts(held, first, second, weights, self.folds[images], self.accepted[images], kinds)


def _settle_open(
    found: NDArray[np.uint16],
    judge: Judge,
    models: Sequence[Answered],
    labels: NDArray[np.int32],
    first: Counts,
    second: Counts,
    look_up: LookUp,
    start: int,
) -> None:
    """Judge again by all classes what was left open."""
    unsure = found >> OPEN != 0
    wanted: dict[int, NDArray[np.bool_]] = {}
    for pair in np.flatnonzero(unsure.any(axis=1)).tolist():
        for model in (int(first[pair]), int(second[pair])):
            wanted[model] = wanted.get(model, False) | unsure[pair]
    rows = {}
    for model, asked in wanted.items():
        places = np.flatnonzero(asked)
        rows[model] = places, look_up(model, places + start)
    for pair in np.flatnonzero(unsure.any(axis=1)).tolist():
        images = np.flatnonzero(unsure[pair])
        whole = []
        for model in (int(first[pair]), int(second[pair])):
            places, logits = rows[model]
            own = logits[np.searchsorted(places, images)]
            whole.append(answered([own], labels[images], models[model].temperature[images], own.shape[1]))
        found[pair, images] = judge(whole, np.array([0]), np.array([1]), np.array([pair]), images)[0]
