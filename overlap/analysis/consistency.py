"""Who errs together: joint counts of all pairs, and error inconsistency and kappa from them (paper.md, 1.1 and 4).

Guarantees: counts are exact integers and sums over images, so blocks of images can be counted anywhere and added in any
order. Formulas take arrays of any one shape; where one is undefined (0/0) it is NaN, never a convention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import bits
from overlap.analysis.compiler import compiled

if TYPE_CHECKING:
    from overlap.analysis.some_pairs import Square

Counts = NDArray[np.int64]
Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class PairCounts:
    """Joint counts over n images of all pairs of M models, or of some: integers, additive over disjoint sets of images.

    Attributes:
        n: images counted.
        both_right: (M, M) int64, symmetric; images that both get right. The diagonal is each model's right answers.
        disagreement: (M, M) int64, symmetric; images to which the two give different classes.
    """

    n: int
    both_right: Square
    disagreement: Square

    def among(self, models: Sequence[int]) -> PairCounts:
        """The counts of some of the models, in this order."""
        return PairCounts(self.n, _among(self.both_right, models), _among(self.disagreement, models))

    @property
    def right(self) -> Counts:
        """(M,) int64: images that each model gets right."""
        return self.both_right.diagonal()


def _among(square: Square, models: Sequence[int]) -> Square:
    return square[np.ix_(models, models)] if isinstance(square, np.ndarray) else square.among(models)


def joint_counts(rows: NDArray[Any], columns: NDArray[Any]) -> Counts:
    """Images that both a row model and a column model get right: correctness (R, n) and (C, n) to counts (R, C)."""
    right = bits.packed(rows)
    return bits.joint(right, right if columns is rows else bits.packed(columns))


def narrow(prediction: NDArray[Any]) -> NDArray[Any]:
    """Class numbers in the fewest bits that tell them apart, int16 or int32: half the memory to go through."""
    numbers = np.iinfo(np.int16)
    fits = (
        prediction.dtype == np.int16
        or not prediction.size
        or (prediction.min() >= numbers.min and prediction.max() <= numbers.max)
    )
    return np.ascontiguousarray(prediction, np.int16 if fits else np.int32)


def disagreement_counts(rows: NDArray[Any], columns: NDArray[Any]) -> Counts:
    """Images to which a row and a column model give different classes: predictions (R, n), (C, n) to (R, C)."""
    first = narrow(rows)
    second = first if columns is rows else narrow(columns)
    if first.dtype != second.dtype:
        first, second = first.astype(np.int32), second.astype(np.int32)
    different = np.zeros((len(rows), len(columns)), np.int64)
    _add_differences(first, second, columns is rows, different)
    return different


def disagreements_of(
    prediction: NDArray[Any], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Images to which the two models of each of some pairs give different classes: predictions (M, n) to (P,)."""
    given = narrow(prediction)
    different = np.zeros(len(first), np.int64)
    _add_differences_of(given, first, second, different)
    return different


@compiled
def _unequal(first: NDArray[Any], second: NDArray[Any]) -> int:
    count = np.int16(0)  # as narrow as a class, so that the loop below becomes vector instructions
    for x in range(len(first)):
        count = np.int16(count + (first[x] != second[x]))
    return int(count)


@compiled
def _add_differences_of(
    prediction: NDArray[Any], first: NDArray[np.int64], second: NDArray[np.int64], different: Counts
) -> None:
    block = 2048  # as below
    for start in range(0, prediction.shape[1], block):
        for pair in range(len(first)):
            one = prediction[first[pair], start : start + block]
            different[pair] += _unequal(one, prediction[second[pair], start : start + block])


@compiled
def _add_differences(rows: NDArray[Any], columns: NDArray[Any], same: bool, different: Counts) -> None:
    block = 2048  # 4 KiB a model: a few hundred models stay in the second-level cache
    for start in range(0, rows.shape[1], block):
        for i in range(rows.shape[0]):
            first = rows[i, start : start + block]
            for j in range(i + 1 if same else 0, columns.shape[0]):
                different[i, j] += _unequal(first, columns[j, start : start + block])
    if same:
        for i in range(rows.shape[0]):
            for j in range(i):
                different[i, j] = different[j, i]


def expected_inconsistency(accuracy_a: Fractions, accuracy_b: Fractions) -> Fractions:
    """EI_exp = a1 (1 - a2) + a2 (1 - a1): the error inconsistency of independent models of these accuracies."""
    return accuracy_a * (1 - accuracy_b) + accuracy_b * (1 - accuracy_a)


def kappa(inconsistency: Fractions, accuracy_a: Fractions, accuracy_b: Fractions) -> Fractions:
    """Geirhos' error consistency, kappa = 1 - EI / EI_exp; NaN where both are always right or both always wrong."""
    expected = expected_inconsistency(accuracy_a, accuracy_b)
    return 1 - np.divide(inconsistency, expected, out=np.full_like(expected, np.nan), where=expected > 0)


def attainable_inconsistency(accuracy_a: Fractions, accuracy_b: Fractions) -> tuple[Fractions, Fractions]:
    """The least and the greatest EI at these accuracies: |a1 - a2| <= EI <= min(a1 + a2, 2 - a1 - a2)."""
    total = accuracy_a + accuracy_b
    return np.abs(accuracy_a - accuracy_b), np.minimum(total, 2 - total)


def attainable_kappa(accuracy_a: Fractions, accuracy_b: Fractions) -> tuple[Fractions, Fractions]:
    """The least and the greatest kappa at these accuracies (Klein et al. 2025; sharper than Geirhos' bounds)."""
    least, greatest = attainable_inconsistency(accuracy_a, accuracy_b)
    return kappa(greatest, accuracy_a, accuracy_b), kappa(least, accuracy_a, accuracy_b)
