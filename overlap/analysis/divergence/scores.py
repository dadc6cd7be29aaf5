"""Correctness of all models as bits, the images in order of how many models get them right.

Guarantees: exact counts, whatever the order of the images. Memory: a bit for each model and image, and the padding of
each total score to whole words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

Counts = NDArray[np.int64]
Words = NDArray[np.uint64]

WORD = 64


@dataclass(frozen=True)
class Scores:
    """Who gets which images right.

    Attributes:
        images: (M + 1,) int64, images by total score: the number of models that get them right.
        right: (M, M + 1) int32, those among them that each model gets right.
        bits: (M, W) uint64, correctness, each word of images of one total score.
        score: (W,) int64, the total score of each word.
    """

    images: Counts
    right: NDArray[np.int32]
    bits: Words
    score: Counts

    def __len__(self) -> int:
        """Models."""
        return len(self.right)

    @property
    def n(self) -> int:
        """All images."""
        return int(self.images.sum())

    @property
    def between(self) -> int:
        """Images that some model gets right and some model does not."""
        return self.n - int(self.images[0]) - (int(self.images[-1]) if len(self) else 0)

    def both_right(self, first: Counts, second: Counts) -> Counts:
        """(P, M + 1) int64: images that both models of a pair get right, by total score."""
        both = np.zeros((len(first), len(self.images)), np.int64)
        _count(self.bits, self.score, first, second, both)
        return both


def scores(correct: NDArray[Any]) -> Scores:
    """Sort and pack.

    Args:
        correct: (M, N) zeros and ones.
    """
    models, n = correct.shape
    total = correct.sum(axis=0, dtype=np.int64) if models else np.zeros(n, np.int64)
    images = np.bincount(total, minlength=models + 1)
    words = -(-images // WORD)
    # each total score starts at a new word
    first_place = np.concatenate([[0], np.cumsum(words)[:-1]]) * WORD
    order = np.argsort(total, kind="stable")
    rank = np.arange(n) - np.repeat(np.cumsum(images) - images, images)
    place = first_place[total[order]] + rank
    right, bits = np.zeros((models, models + 1), np.int32), np.zeros((models, int(words.sum())), np.uint64)
    for model in range(models):
        spread = np.zeros(int(words.sum()) * WORD, np.uint8)
        spread[place] = correct[model, order]
        bits[model] = np.packbits(spread).view(np.uint64)
        right[model] = np.bincount(total, correct[model].astype(np.float64), models + 1).astype(np.int32)
    return Scores(images, right, bits, np.repeat(np.arange(models + 1), words))


@compiled
def _count(bits: Words, score: Counts, first: Counts, second: Counts, both: Counts) -> None:
    pairs = np.uint64(0x5555555555555555)
    fours = np.uint64(0x3333333333333333)
    bytes_ = np.uint64(0x0F0F0F0F0F0F0F0F)
    ones = np.uint64(0x0101010101010101)
    for pair in range(len(first)):
        a, b = bits[first[pair]], bits[second[pair]]
        for word in range(len(score)):
            x = a[word] & b[word]
            x = x - ((x >> np.uint64(1)) & pairs)
            x = (x & fours) + ((x >> np.uint64(2)) & fours)
            x = (x + (x >> np.uint64(4))) & bytes_
            both[pair, score[word]] += np.int64((x * ones) >> np.uint64(56))
