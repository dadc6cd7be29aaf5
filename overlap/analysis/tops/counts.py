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
from overlap.analysis.combining import CELLS, COMBINERS, Judge, Together
from overlap.analysis.ensembles.shortlists import answered
from overlap.analysis.ensembles.verdicts import OPEN
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
        undecided: (P, combiners, 4) int64, images that neither bounds nor stored logits decide, by `CELLS`.
        audited: decisions (a pair, combiner and audited image) that were compared with all logits.
        certified: how many of these bounds had certified; all of them agreed.
    """

    together: Together
    undecided: Counts
    audited: int
    certified: int


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
    counts = np.zeros((2, pairs, len(COMBINERS), len(CELLS)), np.int64)
    streams: list[list[NDArray[np.bool_]]] = [[] for _ in range(pairs)]
    accepted = truths.accepted(labels)
    audited = certified = 0
    step = max(1, CHUNK // max(1, sum(one.largest.shape[1] for one in models)))
    for start in range(0, n if pairs else 0, step):
        images = slice(start, min(start + step, n))
        some = [one.take(images) for one in models]
        found = verdicts(Side.of(some), first, second, weights, folds[images], accepted[images])
        judge = Judge(accepted[images], folds[images], weights)
        compared = _by_all(found, judge, some, labels[images], first, second, whole.within(images))
        audited, certified = audited + compared[0], certified + compared[1]
        said = np.stack([one.prediction for one in some])
        right = truths.right(said, labels[images])
        cells = 2 * right[first] + right[second]
        for c in range(len(COMBINERS)):
            for place, bit in enumerate((c, OPEN + c)):
                is_set = (found >> bit) & 1 == 1
                for cell in range(len(CELLS)):
                    counts[place, :, c, cell] += (is_set & (cells == cell)).sum(axis=1)
        different = said[first] != said[second]
        for pair, stream in enumerate(streams):
            stream.append((found[pair, different[pair]] & 1).astype(np.bool_))
    packed = [np.packbits(np.concatenate(stream)) if stream else np.empty(0, np.uint8) for stream in streams]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in packed])]).astype(np.int64)
    together = Together(counts[0], np.concatenate([np.empty(0, np.uint8), *packed]), starts)
    return PairCounts(together, counts[1], audited, certified)


def _by_all(
    found: NDArray[np.uint16],
    judge: Judge,
    models: Sequence[Bounded],
    labels: NDArray[np.int32],
    first: Counts,
    second: Counts,
    whole: Whole,
) -> tuple[int, int]:
    """Judge by all logits what is open or audited; decisions that were compared, and that bounds had certified."""
    rows, audited, certified = whole.rows, 0, 0
    if not len(rows):
        return 0, 0
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
        audited += int(looked.sum()) * len(COMBINERS)
        certified += int(looked.sum()) * len(COMBINERS) - _bits(is_open[looked])
        found[pair, rows[wanted]] = after
    return audited, certified


def _bits(values: NDArray[np.uint16]) -> int:
    return int(np.bitwise_count(values).sum())
