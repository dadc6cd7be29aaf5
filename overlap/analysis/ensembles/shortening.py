"""Bits of stored logits put in order: the inner loops of `shortlists`.

Guarantees: of equal logits the lower class comes first, -0 and 0 being equal; each row is handled by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import calibration
from overlap.analysis.compiler import compiled

SIGN = 0x8000
"""Of the bits of a float16."""

PAD = 0xFFFF
"""Stands for no class."""

NOTHING = -(1 << 60)
"""Less than every logit with its class."""


def shorten(
    halves: NDArray[np.uint16],
    k: int,
    logits: NDArray[np.uint16],
    classes: NDArray[Any],
    tail: NDArray[np.uint16],
    least: NDArray[np.uint16],
) -> None:
    """Sort the largest of each row into place; the bits of logits become numbers that are in the same order."""
    among, wanted = halves.shape[1], k + 1
    lanes = 2 * wanted
    whole = among // lanes * lanes
    step = max(1, calibration.CHUNK // max(1, among))
    for start in range(0, len(halves), step):
        some = slice(start, start + step)
        rows = halves[some]
        negative = rows.view(np.int16) >> 15  # -1 or 0
        numbers = ((rows & np.uint16(SIGN - 1)).view(np.int16) ^ negative) - negative
        threshold = np.full(len(rows), np.iinfo(np.int16).min, np.int16)
        if whole > lanes:  # so many are not less than the middle one of the largest of twice as many lanes
            largest = numbers[:, :whole].reshape(len(rows), -1, lanes).max(axis=1)
            largest.sort(axis=1)
            threshold = largest[:, lanes - wanted].copy()
        least[some] = _bits(numbers.min(axis=1))
        tail[some] = least[some]
        _insert(numbers, threshold, k, logits[some], classes[some], tail[some])


def _bits(numbers: NDArray[np.int16]) -> NDArray[np.uint16]:
    return np.where(numbers < 0, SIGN - numbers.astype(np.int32), numbers).astype(np.uint16)


@compiled
def _insert(
    numbers: NDArray[np.int16],
    threshold: NDArray[np.int16],
    k: int,
    logits: NDArray[np.uint16],
    classes: NDArray[Any],
    tail: NDArray[np.uint16],
) -> None:
    best = np.empty(k + 1, np.int64)
    for x in range(len(numbers)):
        best[:] = NOTHING
        least = threshold[x]
        row = numbers[x]
        for c in range(len(row)):
            if row[c] >= least:
                value = (np.int64(row[c]) << np.int64(32)) - c  # of equal logits the lower class is the larger
                if value > best[k]:
                    place = k
                    while place > 0 and value > best[place - 1]:
                        best[place] = best[place - 1]
                        place -= 1
                    best[place] = value
        for place in range(k + 1):
            if best[place] != NOTHING:
                number = -((-best[place]) >> np.int64(32))  # rounded up, since the class was taken off
                bits = number if number >= 0 else SIGN - number
                if place < k:
                    logits[x, place] = bits
                    classes[x, place] = (number << np.int64(32)) - best[place]
                else:
                    tail[x] = bits


@compiled
def add(
    halves: NDArray[np.uint16],
    k: int,
    said: NDArray[np.uint16],
    logits: NDArray[np.uint16],
    classes: NDArray[np.uint16],
) -> None:
    """Put further classes after the k largest, those apart that are among them."""
    for x in range(len(said)):
        place = k
        for number in said[x]:
            is_new = number < halves.shape[1]
            for rank in range(k):
                is_new = is_new and classes[x, rank] != number
            if is_new:
                classes[x, place], logits[x, place] = number, halves[x, number]
                place += 1


@compiled
def rank_votes(prediction: NDArray[np.int32], among: int, found: NDArray[np.uint16]) -> None:
    """By how often a class is predicted, the lower one first among equals."""
    votes = np.zeros(among, np.int64)
    for x in range(len(prediction)):
        for number in prediction[x]:
            if 0 <= number < among:
                votes[number] += 1
        for place in range(found.shape[1]):
            best = -1
            for number in prediction[x]:
                if not 0 <= number < among or votes[number] == 0:
                    continue
                if best < 0 or votes[number] > votes[best] or (votes[number] == votes[best] and number < best):
                    best = number
            if best < 0:
                break
            votes[best] = 0
            found[x, place] = best
        for number in prediction[x]:
            if 0 <= number < among:
                votes[number] = 0
