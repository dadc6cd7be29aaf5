"""All pairs of a zoo in memory, through what a workflow counts and scores them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overlap.analysis import truths
from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, MAIN, TWO_TEMPERATURES, EnsembleCounts, count_pairs
from overlap.analysis.ensembles.shortlists import KEPT, answered
from overlap.analysis.ensembles.soft_scores import PairScores, score_pairs
from overlap.analysis.pairs import CATEGORIES, category_numbers, pair_indices
from overlap.analysis.tally import Together, add_gains


@dataclass(frozen=True)
class Found:
    """Counts by combiner, and how many rows of logits were looked up."""

    of: dict[str, EnsembleCounts]
    looked_up: int


def count_ensembles(
    logits: Sequence[np.ndarray],
    calibrations: Sequence[Calibration],
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    right: np.ndarray | None = None,
    categories: np.ndarray | None = None,
    kept: int = KEPT,
    said: np.ndarray | None = None,
) -> Found:
    """Count all pairs; `weights` (5, M, M) are of the model of the row in the pair of row and column."""
    models, n = len(logits), len(labels)
    first, second = pair_indices(models)
    found, looked_up = together(logits, calibrations, labels, folds, weights, kept, said)
    counts = {
        name: EnsembleCounts.of(n, models, first, second, found.counts[:, place])
        for place, name in enumerate(COMBINERS)
    }
    if models and categories is not None:
        group = category_numbers(categories)[first, second]
        group[group < 0] = len(CATEGORIES)
        prediction = np.stack([z.argmax(axis=1) for z in logits]).astype(np.int32)
        correct = truths.right(prediction, labels)
        totals = np.zeros((len(CATEGORIES) + 1, n), np.int32)
        alone = correct.sum(axis=1) if right is None else np.array(right)
        add_gains(found, np.arange(len(first)), first, second, prediction, correct, alone, group, totals)
        counts[MAIN] = counts[MAIN].with_gains(totals)
    return Found(counts, looked_up)


def together(
    logits: Sequence[np.ndarray],
    calibrations: Sequence[Calibration],
    labels: np.ndarray,
    folds: np.ndarray,
    weights: np.ndarray | None,
    kept: int = KEPT,
    said: np.ndarray | None = None,
) -> tuple[Together, int]:
    """All pairs, and how many rows of logits were looked up."""
    first, second = pair_indices(len(logits))
    own = np.full((5, len(logits), len(logits)), 0.5) if weights is None else weights
    of_pairs = np.stack([own[:, first, second], own[:, second, first]], axis=2).transpose(1, 0, 2)
    asked: list[int] = []

    def look_up(model: int, images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return np.asarray(logits[model][images])

    shortlists = [
        answered([z], labels, fitted.of(folds), kept, said) for z, fitted in zip(logits, calibrations, strict=True)
    ]
    return count_pairs(shortlists, labels, folds, first, second, of_pairs, look_up), sum(asked)


def ensemble_counts(*arguments: Any, combiner: str = MAIN, **options: Any) -> EnsembleCounts:
    """Those of one combiner."""
    if combiner == TWO_TEMPERATURES:
        assert options.get("weights") is not None
    return count_ensembles(*arguments, **options).of[combiner]


@dataclass(frozen=True)
class Scored(PairScores):
    """With the weights of two temperatures, (5, M, M): of the model of the row in the pair of row and column."""

    weights: np.ndarray


def score_all(parts: Sequence[Block], models: int, together: int | None = None) -> Scored:
    """All pairs, so many at a time."""
    first, second = pair_indices(models)
    step = together or max(1, len(first))
    found = [
        score_pairs(parts, first[start : start + step], second[start : start + step])
        for start in range(0, max(1, len(first)), step)
    ]
    weights = np.zeros((5, models, models))
    of_pairs = np.concatenate([one.weights for one in found])
    weights[:, first, second], weights[:, second, first] = of_pairs[:, :, 0].T, of_pairs[:, :, 1].T
    nll, ece = (np.concatenate([getattr(one, name) for one in found], axis=1) for name in ("nll", "ece"))
    scores = PairScores.of(found[0].n, models, first, second, nll, ece)
    return Scored(scores.n, scores.nll, scores.ece, weights)
