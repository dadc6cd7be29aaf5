"""Consistency beyond shared difficulty: kappa against the agreement that a Rasch model of the *other* models expects.

Kappa is above zero already where some images are harder than others. For each pair, what the other models' answers say
of each image's difficulty is all that a Rasch model needs: the pair's abilities are set so that expected accuracies are
the observed ones, and the expected agreement is the mean over images of E[p_a p_b + (1 - p_a)(1 - p_b)]. Then
kappa_by_difficulty = (c_obs - c_expected) / (1 - c_expected).

Guarantees: a pair's own answers decide neither what its images' difficulties are thought to be nor how difficulties are
distributed; only the others' abilities, and where the grid lies, come from a fit of all models. A range of pairs can be
made anywhere. Zero means as consistent as difficulty alone makes models that are otherwise independent; a pair that
differs more than that is below. Intervals are over images, by the delta method. NaN where kappa is undefined, and with
fewer models than `rasch.MODELS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from overlap.analysis.divergence import rasch
from overlap.analysis.divergence.rasch import Rasch
from overlap.analysis.divergence.scores import Scores
from overlap.analysis.intervals import Z
from overlap.analysis.some_pairs import SomePairs, taken

Fractions = NDArray[np.float64]
Counts = NDArray[np.int64]

PAIRS, MODELS, LEAST = 1024, 1000, 64
"""Pairs computed together, of up to so many models, and of however many: some tens of MiB, or some hundred."""

WORK = 600
"""EM steps on a pair's own distribution of difficulties, times models: two of few models are much of the fit."""
STEPS = (6, 60)
"""Fewest and most of them."""


@dataclass(frozen=True)
class ByDifficulty:
    """Consistency of each pair beyond shared difficulty; all (P,), NaN where undefined."""

    expected: Fractions
    kappa: Fractions
    error: Fractions
    low: Fractions
    high: Fractions


def by_difficulty(
    fitted: Rasch | None, counted: Scores, rows: slice = slice(None), pairs: SomePairs | None = None
) -> ByDifficulty:
    """The measure of a range of pairs, in the order of `pairs.pair_indices`.

    Args:
        fitted: of all models; None leaves all undefined.
        counted: who gets which images right.
        rows: the range of pairs.
        pairs: which that is a range of; without them of all.
    """
    first, second = taken(len(counted), rows, pairs)
    together = min(PAIRS, max(LEAST, PAIRS * MODELS // max(1, len(counted))))
    found = np.full((3, len(first)), np.nan)
    if fitted is not None:
        # what the scores of all other models say: the kernel of all models, less the factors of the pair
        logs = rasch.log_kernel(fitted.ability, fitted.nodes, np.arange(len(counted) - 1))
        with np.errstate(divide="ignore"):
            logs += np.log(fitted.weight)[:, None]
        kernel = np.exp(logs - logs.max(axis=0))
        for start in range(0, len(first), together):
            part = slice(start, start + together)
            found[:, part] = _pairs(fitted, counted, kernel, first[part], second[part])
    expected, kappa, error = found.round(12)
    return ByDifficulty(expected, kappa, error, np.maximum(-1.0, kappa - Z * error), np.minimum(1.0, kappa + Z * error))


def _pairs(fitted: Rasch, counted: Scores, kernel: Fractions, first: Counts, second: Counts) -> Fractions:
    """(3, P): expected agreement, kappa and its standard error."""
    n, models = counted.n, len(counted)
    cells = _cells(counted, first, second)
    rest = cells.sum(axis=1)
    observed = (cells[:, 0] + cells[:, 3]).sum(axis=1) / n
    right_a, right_b = (cells[:, [0, one]].sum(axis=(1, 2)) / n for one in (1, 2))
    undefined = (right_a == right_b) & ((right_a == 0) | (right_a == 1))
    floor = 0.5 / n
    right_a, right_b = (np.clip(right, floor, 1 - floor) for right in (right_a, right_b))
    odds_a, odds_b = (np.exp(fitted.ability[model][:, None] - fitted.nodes) for model in (first, second))

    others = (1 + odds_a) * (1 + odds_b)
    factor, inverse = others, 1 / np.maximum(fitted.weight, 1e-300)
    for _ in range(int(np.clip(WORK // models, *STEPS))):
        mass = factor * ((rest / np.maximum(factor @ kernel, 1e-300)) @ kernel.T) / n
        factor = others * mass * inverse
    scale = np.maximum(factor @ kernel, 1e-300)
    mass = factor * ((rest / scale) @ kernel.T) / n

    p_a = expit(rasch.solve_abilities(fitted.ability[first], fitted.nodes, mass, right_a)[:, None] - fitted.nodes)
    p_b = expit(rasch.solve_abilities(fitted.ability[second], fitted.nodes, mass, right_b)[:, None] - fitted.nodes)
    agree = p_a * p_b + (1 - p_a) * (1 - p_b)
    expected = (mass * agree).sum(axis=1)
    far = 1 - expected
    kappa = np.where(undefined, np.nan, 1 - (1 - observed) / far)

    # by how much one image moves the expected agreement: through its score, and through the pair's abilities
    slope_a, slope_b = p_a * (1 - p_a), p_b * (1 - p_b)
    by_a = (mass * slope_a * (2 * p_b - 1)).sum(axis=1) / (mass * slope_a).sum(axis=1)
    by_b = (mass * slope_b * (2 * p_a - 1)).sum(axis=1) / (mass * slope_b).sum(axis=1)
    known = agree - by_a[:, None] * p_a - by_b[:, None] * p_b
    of_score = (factor * known) @ kernel / scale
    answers = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], np.float64)
    moved = of_score[:, None, :] + (np.outer(by_a, answers[:, 0]) + np.outer(by_b, answers[:, 1]))[:, :, None]
    moved = np.array([1, 0, 0, 1])[None, :, None] - (1 - kappa)[:, None, None] * moved
    mean = (cells * moved).sum(axis=(1, 2)) / n
    variance = (cells * moved**2).sum(axis=(1, 2)) / n - mean**2
    # that the distribution of difficulties is estimated too is not in this: of few models it is worth 1 / (M - 1)
    error = np.sqrt(np.maximum(0, variance) / max(1, n - 1)) / far * models / (models - 1)
    return np.stack([np.where(undefined, np.nan, expected), kappa, error if n > 1 else np.full(len(first), np.nan)])


def _cells(counted: Scores, first: Counts, second: Counts) -> Fractions:
    """(P, 4, M - 1): images both right, only a, only b, both wrong, by how many of the others get them right."""
    both = counted.both_right(first, second)
    only_a, only_b = counted.right[first] - both, counted.right[second] - both
    neither = counted.images - both - only_a - only_b
    return np.stack([both[:, 2:], only_a[:, 1:-1], only_b[:, 1:-1], neither[:, :-2]], axis=1).astype(np.float64)
