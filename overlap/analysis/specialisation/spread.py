"""How far the relative confidence of two models depends on the class, and on the group of classes: one row a pair.

By class, a one-way analysis of variance of theta with classes as levels: the spread is the standard deviation between
classes of their mean theta, less what the noise of images would give, 0 where that is more. Variances differ much
between classes (easy ones have next to none), so the p-value is of the Brown–Forsythe (1974) ratio with both degrees
of freedom estimated (Mehrotra 1997), which asks for no equal variances. By group, the same with the class means as
observations: whether classes of a group are alike beyond what a random choice of classes would show. Both hold for
whatever makes theta differ, difficulty too: compare with pairs of the category `reinit`.

Guarantees: sums are of integers, so a range of pairs is as in the whole table, whatever the order of images but for
which of them are left out together. Undefined is null: fewer than two classes (groups) with at least two images
(classes) each, or no variance within any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import bdtr, fdtrc

from overlap.analysis import bits, truths
from overlap.analysis.compiler import compiled
from overlap.analysis.pairs import Categories, check_axis, frame, ratio
from overlap.analysis.some_pairs import SomePairs, taken
from overlap.analysis.specialisation.angles import UNITS, angles, checked
from overlap.analysis.specialisation.between import by_class, by_group
from overlap.analysis.specialisation.groups import NONE, ClassGroups

Fractions = NDArray[np.float64]
Indices = NDArray[np.int64]

PARTS: Final = 20
"""Parts of the images, of which one after the other is left out (jackknife)."""

STATISTICS: Final = ("theta_separation", "class_spread", "group_spread")
"""What is also computed without each part of the images, in this order."""

LEVEL: Final = 0.05
"""At which a pair's models are said to be better at a group, over all groups together (Bonferroni)."""

SCHEMA: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "category": pl.String(),
    "n_inconsistent": pl.Int64(),
    "theta_only_a": pl.Float64(),
    "theta_only_b": pl.Float64(),
    "theta_separation": pl.Float64(),
    "class_spread": pl.Float64(),
    "class_spread_p": pl.Float64(),
    "group_spread": pl.Float64(),
    "group_spread_p": pl.Float64(),
    "favours_a": pl.String(),
    "favours_b": pl.String(),
}


@dataclass(frozen=True)
class Specialisation:
    """A range of pairs.

    Attributes:
        table: a row a pair, with the columns of `SCHEMA`; theta and spreads in degrees, positive where a is surer.
        without: (P, parts, 3) float64, the `STATISTICS` without each part of the images; NaN where undefined.
    """

    table: pl.DataFrame
    without: Fractions


def specialisation(
    models: Sequence[str],
    confidence: NDArray[Any],
    correct: NDArray[Any],
    labels: NDArray[Any],
    categories: Categories | None = None,
    groups: ClassGroups | None = None,
    *,
    rows: slice = slice(None),
    pairs: SomePairs | None = None,
) -> Specialisation:
    """Means of theta where only one model is right, spreads over classes and groups, and groups one is better at.

    Args:
        models: M names in ascending order, of models with logits.
        confidence: (M, N) calibrated probability of each model's prediction.
        correct: (M, N) zeros and ones.
        labels: (N,) true classes, or (N, L) accepted ones: the first stands for the image.
        categories: (M, M) of `CATEGORIES` or None, read above the diagonal.
        groups: of the classes; without them what is by group is null.
        rows: the range of pairs to make; concatenated ranges equal the whole.
        pairs: which that is a range of; without them of all.

    Raises:
        ValueError: arrays do not fit, names are not ascending, or confidences are no probabilities.
    """
    check_axis(models, len(correct))
    confidence, held = checked(confidence, correct)
    if len(labels) != held.shape[1]:
        raise ValueError(f"{len(labels)} labels for {held.shape[1]} images")
    first, second = taken(len(models), rows, pairs)
    present, place = np.unique(truths.primary(labels), return_inverse=True)
    of_class = np.full(len(present), NONE) if groups is None else groups.of(present)
    order, starts = _cells(place, len(present))
    sums = np.zeros((len(first), 2, 2), np.int64)  # only a, only b: images, theta
    ratios = np.empty((len(first), 2, 3))  # by class, by group: variance ratio, and its degrees of freedom
    found = np.empty((len(first), starts.shape[0] + 1, len(STATISTICS)))
    _scan(
        np.ascontiguousarray(confidence[:, order]),
        np.ascontiguousarray(held[:, order]),
        first,
        second,
        starts,
        of_class.astype(np.int64),
        sums,
        ratios,
        found,
    )
    found /= UNITS
    p = fdtrc(ratios[..., 1], ratios[..., 2], ratios[..., 0])
    names = np.array(models, np.object_)
    favours_a, favours_b = _favours(held, place, of_class, () if groups is None else groups.names, first, second)
    table = frame(
        {
            "model_a": names[first],
            "model_b": names[second],
            "category": np.full(len(first), None) if categories is None else categories[first, second],
            "n_inconsistent": sums[:, :, 0].sum(axis=1),
            "theta_only_a": ratio(sums[:, 0, 1], sums[:, 0, 0]) / UNITS,
            "theta_only_b": ratio(sums[:, 1, 1], sums[:, 1, 0]) / UNITS,
            "theta_separation": found[:, -1, 0],
            "class_spread": found[:, -1, 1],
            "class_spread_p": p[:, 0],
            "group_spread": found[:, -1, 2],
            "group_spread_p": p[:, 1],
            "favours_a": favours_a,
            "favours_b": favours_b,
        },
        SCHEMA,
    )
    return Specialisation(table, np.ascontiguousarray(found[:, :-1]))


def _cells(place: Indices, classes: int) -> tuple[Indices, Indices]:
    """Images ordered by part and class, and (parts, classes + 1) where each class starts in each part.

    Images of a class are dealt out to the parts in turn, in their order, and the next class goes on where it ended.
    """
    parts = max(1, min(PARTS, len(place)))
    by_class = np.argsort(place, kind="stable")
    part = np.empty(len(place), np.int64)
    part[by_class] = np.arange(len(place)) % parts
    order = np.lexsort((place, part))
    sizes = np.bincount(part * classes + place, minlength=parts * classes)
    edges = np.concatenate([[0], sizes.cumsum()])
    return order, edges[np.arange(parts)[:, None] * classes + np.arange(classes + 1)]


def _favours(
    correct: NDArray[np.uint8],
    place: Indices,
    of_class: NDArray[Any],
    names: Sequence[str],
    first: Indices,
    second: Indices,
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """The group in which a, and b, is ahead by the largest share, of those where it is beyond chance (McNemar)."""
    lead, p = np.zeros((2, len(names) + 1, len(first)))
    for group in range(len(names)):
        inside = (of_class == group)[place]
        words = bits.packed(correct[:, inside])
        right, both = np.bitwise_count(words).sum(axis=1, dtype=np.int64), bits.joint_of(words, first, second)
        only_a, only_b = right[first] - both, right[second] - both
        lead[group] = (only_a - only_b) / max(1, int(inside.sum()))
        p[group] = 2 * bdtr(np.minimum(only_a, only_b).astype(np.float64), only_a + only_b, 0.5)
    lead[p > LEVEL / max(1, len(names))] = 0
    known = np.array([*names, None], np.object_)
    best, worst = lead.argmax(axis=0), lead.argmin(axis=0)
    pairs = np.arange(len(first))
    favours_a, favours_b = np.full((2, len(first)), None, np.object_)
    favours_a[lead[best, pairs] > 0] = known[best][lead[best, pairs] > 0]
    favours_b[lead[worst, pairs] < 0] = known[worst][lead[worst, pairs] < 0]
    return favours_a, favours_b


@compiled
def _scan(
    confidence: NDArray[np.float32],
    correct: NDArray[np.uint8],
    first: Indices,
    second: Indices,
    starts: Indices,
    of_class: Indices,
    sums: Indices,
    ratios: Fractions,
    found: Fractions,
) -> None:
    """Images are ordered by part and class. The last row of `found` is of all images, the others without a part."""
    parts, classes = starts.shape[0], starts.shape[1] - 1
    theta = np.empty(confidence.shape[1], np.int32)
    size, total, square = np.zeros((3, parts + 1, classes), np.int64)
    only = np.zeros((parts + 1, 2, 2), np.int64)
    groups = max(np.int64(0), of_class.max() + 1) if classes else 0
    ignored = np.empty(3)
    for part in range(parts):
        size[part] = starts[part, 1:] - starts[part, :-1]
        size[parts] += size[part]
    size[:parts] = size[parts] - size[:parts]
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        angles(confidence[a], confidence[b], theta)
        total[parts], square[parts], only[parts] = 0, 0, 0
        for part in range(parts):
            _only(theta, correct[a], correct[b], starts[part, 0], starts[part, classes], only[part])
            only[parts] += only[part]
            for level in range(classes):
                s, q = np.int64(0), np.int64(0)
                for x in range(starts[part, level], starts[part, level + 1]):
                    s += theta[x]
                    q += np.int64(theta[x]) * theta[x]
                total[part, level], square[part, level] = s, q
                total[parts, level] += s
                square[parts, level] += q
        sums[pair] = only[parts]
        for part in range(parts + 1):
            if part < parts:
                only[part] = only[parts] - only[part]
                total[part] = total[parts] - total[part]
                square[part] = square[parts] - square[part]
            of_classes, of_groups = (ratios[pair, 0], ratios[pair, 1]) if part == parts else (ignored, ignored)
            found[pair, part, 0] = (
                only[part, 0, 1] / only[part, 0, 0] - only[part, 1, 1] / only[part, 1, 0]
                if only[part, 0, 0] and only[part, 1, 0]
                else np.nan
            )
            found[pair, part, 1] = by_class(size[part], total[part], square[part], of_classes)
            found[pair, part, 2] = by_group(size[part], total[part], of_class, groups, of_groups)


@compiled
def _only(
    theta: NDArray[np.int32],
    right_a: NDArray[np.uint8],
    right_b: NDArray[np.uint8],
    start: int,
    end: int,
    only: Indices,
) -> None:
    """Images that only a, only b gets right, and the sums of their theta."""
    lead, leads, both, either = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for x in range(start, end):
        difference = np.int32(right_a[x]) - np.int32(right_b[x])
        lead += difference
        leads += difference * difference
        both += difference * theta[x]
        either += difference * difference * theta[x]
    only[0, 0], only[1, 0] = (leads + lead) // 2, (leads - lead) // 2
    only[0, 1], only[1, 1] = (either + both) // 2, (either - both) // 2
