"""What ability and difficulty alone would give: the chance of each model on an image that so many models get right.

log odds = ability of the model + ease of the image, with both margins met: a model's chances sum to its right answers,
those of an image to the models that get it right (Rasch 1960, fitted jointly). The ease depends on that number alone,
so that N images are M - 1 parameters, and the chances a table of models × numbers of right models. The difficulty of a
class is in that of its images, and so is all that models have in common: what remains is a model's own.

Guarantees: models are treated alike; images that all or none get right say nothing and have chance 1 and 0; a model
that is always right on the others has chance 1, one that never is 0, and the rest are fitted without it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Fractions = NDArray[np.float64]

FARTHEST: Final = 30.0
"""Log odds of the greatest ability, or ease."""

ROUNDS: Final = 500
"""Newton steps at most; a few dozen are usual."""

CELLS: Final = 1 << 24
"""Chances that are held at a time while they are fitted: 128 MiB, several times over."""

CLOSE: Final = 1e-7
"""Images by which a margin may be missed."""


def scores(correct: NDArray[Any]) -> NDArray[np.int64]:
    """(N,): how many of the M models get each image right."""
    found: NDArray[np.int64] = np.asarray(correct, np.uint8).sum(axis=0, dtype=np.int64)
    return found


def chances(right: NDArray[Any], images: NDArray[Any]) -> Fractions:
    """Chance of each model on an image of each score.

    Args:
        right: (M,) images that each model gets right.
        images: (M + 1,) images that 0 … M of the models get right.

    Returns:
        (M, M + 1); column s sums to s where there are images of that score.

    Raises:
        ValueError: the two do not count the same right answers.
    """
    models = len(right)
    right, images = np.asarray(right, np.int64), np.asarray(images, np.int64)
    if len(images) != models + 1 or images @ np.arange(models + 1) != np.sum(right):
        raise ValueError(f"right answers of {models} models do not fit {len(images)} scores")
    found = np.zeros((models, models + 1))
    fitted, always = np.arange(models), 0
    while True:
        # what so many or more get right all of the fitted do, and what up to `always` get right none of them does
        most = always + len(fitted)
        found[fitted, most:] = 1
        inside = np.arange(always + 1, most)[images[always + 1 : most] > 0]
        number, wanted = images[inside], right[fitted] - images[most:].sum()
        certain = (wanted == number.sum()) | (wanted == 0)
        if not len(inside) or not certain.any():
            break
        sure = fitted[certain & (wanted > 0)]
        found[sure[:, None], inside] = 1
        fitted, always = fitted[~certain], always + len(sure)
    if len(inside):
        # rounded, since the last digits of a product of matrices depend on the number of threads
        ability, ease = _fitted(number.astype(np.float64), inside - always, wanted)
        for rows in _blocks(len(fitted), len(inside)):
            found[fitted[rows, None], inside] = expit(ability[rows, None] + ease).round(12)
    return found


def _fitted(number: Fractions, score: NDArray[Any], wanted: NDArray[Any]) -> tuple[Fractions, Fractions]:
    """Abilities (models,) and eases (scores,) of models that are neither always nor never right on these images."""
    models = len(wanted)
    ability, ease = np.zeros(models), np.log(score / (models - score))
    for _ in range(ROUNDS):
        ability = _step(ability, ease, number, wanted)
        ease = _step(ease, ability, np.ones(models), score.astype(np.float64))
        missed = (expit(ability[rows, None] + ease) @ number - wanted[rows] for rows in _blocks(models, len(ease)))
        if max(float(np.abs(one).max()) for one in missed) < CLOSE:
            break
    return ability, ease


def _step(own: Fractions, others: Fractions, weight: Fractions, wanted: Fractions) -> Fractions:
    """Newton steps of each of `own`, so that its weighted chances over the others come to what is wanted."""
    return np.concatenate([_steps(own[rows], others, weight, wanted[rows]) for rows in _blocks(len(own), len(others))])


def _steps(own: Fractions, others: Fractions, weight: Fractions, wanted: Fractions) -> Fractions:
    for _ in range(3):
        p = expit(own[:, None] + others)
        step = (wanted - p @ weight) / np.maximum((p * (1 - p)) @ weight, 1e-12)
        own = np.clip(own + np.clip(step, -2, 2), -FARTHEST, FARTHEST)
    return own


def _blocks(rows: int, columns: int) -> list[slice]:
    """Ranges of rows whose cells are at most `CELLS`; one range of up to some thousand by as many."""
    step = max(1, CELLS // max(1, columns))
    return [slice(start, start + step) for start in range(0, max(1, rows), step)]
