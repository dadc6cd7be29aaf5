"""Which images each model gets right, as bits: joint counts without a product of matrices.

Guarantees: exact counts, for any number of images, whatever the split of models into rows and columns. Memory: a bit
for each model and image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Counts = NDArray[np.int64]
Words = NDArray[np.uint64]

WORD = 64
"""Images of one word."""


def packed(correct: NDArray[Any]) -> Words:
    """Correctness (M, n), zeros and ones, as (M, W) uint64 with W = ceil(n / 64); unused bits are zero."""
    words = np.zeros((len(correct), -(-correct.shape[1] // WORD)), np.uint64)
    octets = np.packbits(correct, axis=1)
    words.view(np.uint8).reshape(len(correct), 8 * words.shape[1])[:, : octets.shape[1]] = octets
    return words


def joint(rows: Words, columns: Words) -> Counts:
    """(R, C) int64: bits that a row and a column have in common; half the work where both are the same array."""
    both = np.zeros((len(rows), len(columns)), np.int64)
    _count(rows, columns, rows is columns, both)
    return both


def joint_of(words: Words, first: NDArray[np.int64], second: NDArray[np.int64]) -> Counts:
    """(P,) int64: bits that the two rows of each of some pairs have in common; (P,) places of rows each."""
    both = np.empty(len(first), np.int64)
    _count_pairs(words, first, second, both)
    return both


@compiled
def _common(one: Words, other: Words) -> np.int64:
    # compilers know this way to count bits, and take the processor's own instruction for it where there is one
    pairs = np.uint64(0x5555555555555555)
    fours = np.uint64(0x3333333333333333)
    octets = np.uint64(0x0F0F0F0F0F0F0F0F)
    ones = np.uint64(0x0101010101010101)
    found = np.uint64(0)
    for word in range(len(one)):
        x = one[word] & other[word]
        x = x - ((x >> np.uint64(1)) & pairs)
        x = (x & fours) + ((x >> np.uint64(2)) & fours)
        x = (x + (x >> np.uint64(4))) & octets
        found += (x * ones) >> np.uint64(56)
    return np.int64(found)


@compiled
def _count_pairs(words: Words, first: NDArray[np.int64], second: NDArray[np.int64], both: Counts) -> None:
    for pair in range(len(first)):
        both[pair] = _common(words[first[pair]], words[second[pair]])


@compiled
def _count(rows: Words, columns: Words, same: bool, both: Counts) -> None:
    for i in range(rows.shape[0]):
        for j in range(i if same else 0, columns.shape[0]):
            both[i, j] = _common(rows[i], columns[j])
            if same:
                both[j, i] = both[i, j]
