"""Pairs of models counted over images from their largest logits: what is certain, what is open, and a check of both.

Guarantees: integer counts; an image that bounds leave open is judged by all logits where these are stored, and is
counted as undecided where they are not: never guessed. On audited images bounds are compared with all logits, and one
disagreement is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.combining import COMBINERS, Judge
from overlap.analysis.ensembles.questions import OPEN
from overlap.analysis.ensembles.shortlists import answered
from overlap.analysis.tally import Tally, Together
from overlap.analysis.tops.bounded import Bounded
from overlap.analysis.tops.pairs import Counts, Fractions, Side, verdicts

CHUNK = 1 << 20
"""Listed logits held at a time."""


class Disagreement(ValueError):
    """What bounds certified is not what all logits say: a bug, or a damaged table; nothing may be published."""


@dataclass(frozen=True)
class Whole:
    """All logits of some images of each model, the same images of all.

    Attributes:
        rows: (s,) int64, ascending, among n images.
        logits: of each model (s, K) float16.
        audited: (s,) bool, whether what bounds say of the image is to be compared.
    """

    rows: Counts
    logits: tuple[NDArray[np.float16], ...]
    audited: NDArray[np.bool_]

    def within(self, images: slice) -> Whole:
        """Those of a range of images, numbered from its first."""
        some = slice(*np.searchsorted(self.rows, [images.start, images.stop]))
        return Whole(self.rows[some] - images.start, tuple(one[some] for one in self.logits), self.audited[some])


@dataclass(frozen=True)
class PairCounts:
    """What P pairs come to.

    Attributes:
        together: images that are certainly right, in the form of full counts; bits of undecided images are 0.
        undecided: (P, combiners, 4) int64, images that neither bounds nor stored logits decide, by `tally.CELLS`.
        compared: (P, 2) int64, decisions (a combiner and an audited image) that were compared with all logits, and how
            many of these bounds had certified; all of them agreed.
    """

    together: Together
    undecided: Counts
    compared: Counts


def count(
    models: Sequence[Bounded],
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    first: Counts,
    second: Counts,
    weights: Fractions,
    whole: Whole,
) -> PairCounts:
    """Count some pairs of models by all combiners.

    Args:
        models: of the same n images.
        labels: (n,) true classes, or (n, L) accepted ones.
        folds: (n,) calibration folds.
        first, second: (P,) places of the pairs' models.
        weights: (P, 5, 2), >= 0: by fold, 1 / T of both models in this pair.
        whole: all logits, where they are stored.

    Raises:
        Disagreement: see there.
        ValueError: models of different images or classes, or weights that do not fit.
    """
    n, pairs = len(labels), len(first)
    if weights.shape[::2] != (pairs, 2) or not (weights >= 0).all():
        raise ValueError(f"weights of shape {weights.shape} for {pairs} pairs, or some below 0")
    tally, compared = Tally(first, second, len(COMBINERS)), np.zeros((pairs, 2), np.int64)
    accepted = truths.accepted(labels)
    step = max(1, CHUNK // max(1, sum(one.largest.shape[1] for one in models)))
    for start in range(0, n if pairs else 0, step):
        images = slice(start, min(start + step, n))
        some = [one.take(images) for one in models]
        found = verdicts(Side.of(some), first, second, weights, folds[images], accepted[images])
        judge = Judge(accepted[images], folds[images], weights)
        compared += _by_all(found, judge, some, labels[images], first, second, whole.within(images))
        tally.add(found, np.stack([one.prediction for one in some]), labels[images])
    return PairCounts(tally.together, tally.undecided, compared)


def _by_all(
    found: NDArray[np.uint16],
    judge: Judge,
    models: Sequence[Bounded],
    labels: NDArray[np.int32],
    first: Counts,
    second: Counts,
    whole: Whole,
) -> Counts:
    """Judge by all logits what is open or audited; (P, 2) decisions that were compared, and certified before."""
    rows, compared = whole.rows, np.zeros((len(first), 2), np.int64)
    if not len(rows):
        return compared
    full = [
        answered([logits], labels[rows], one.temperature[rows], one.among)
        for one, logits in zip(models, whole.logits, strict=True)
    ]
    combiners = (1 << len(COMBINERS)) - 1
    for pair in range(len(first)):
        before = found[pair, rows]
        wanted = np.flatnonzero((before >> OPEN != 0) | whole.audited)
        if not len(wanted):
            continue
        two = [full[int(side[pair])].take(wanted) for side in (first, second)]
        after = judge(two, np.array([0]), np.array([1]), np.array([pair]), rows[wanted])[0]
        is_open = before[wanted] >> OPEN
        if (((before[wanted] ^ after) & combiners) & ~is_open).any():
            raise Disagreement(f"pair {pair}: an ensemble that was certified is another by all logits")
        looked = whole.audited[wanted]
        audited = int(looked.sum()) * len(COMBINERS)
        compared[pair] = audited, audited - int(np.bitwise_count(is_open[looked]).sum())
        found[pair, rows[wanted]] = after
    return compared
