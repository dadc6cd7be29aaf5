"""Ensembles of all pairs over all combiners, from the largest logits: counted by tasks, each of some models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.blocks import Block
from overlap.analysis.combining import CELLS, COMBINERS, MAIN, EnsembleCounts, add_gains
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.soft_scores import PairScores, SoftScores, score_pairs
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.pairs import CATEGORIES
from overlap.analysis.some_pairs import SomePairs, taken
from overlap.analysis.tops import counts as bounds
from overlap.analysis.tops.counts import Whole
from overlap.analysis.tops.tables import pair_bounds_table, without_undecided
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.pair_ensembles import stars, tiles
from workflows.reductions.tops.answers import TopAnswers

Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class TopPairs:
    """What the ensembles of all pairs came to."""

    table: pl.DataFrame
    """`pair_ensembles.parquet`; null where undecided images could change a figure."""
    bounds: pl.DataFrame
    """`pair_ensemble_bounds.parquet`."""
    counts: EnsembleCounts | None
    """Of the main combiner; None where an image of it is undecided."""
    decisions: tuple[int, int]
    """How many were audited, and how many of these bounds had certified."""

    @property
    def main(self) -> pl.DataFrame | None:
        """The rows of the main combiner; None where an image of it is undecided."""
        return None if self.counts is None else self.table.filter(pl.col("combiner") == MAIN)


def combine(
    answers: TopAnswers, counts: PairCounts, categories: PairCategories, some: SomePairs | None = None
) -> TopPairs:
    """Ensembles of the pairs of models; arguments are those of `pair_ensembles.combine`.

    Raises:
        Disagreement: bounds certified what all logits deny.
    """
    first, second = taken(len(answers.models), pairs=some)
    group = categories.numbers(first, second).astype(np.int64)
    group[group < 0] = len(CATEGORIES)
    number = {pair: place for place, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))}
    about = ray.put((answers, np.array(counts.right)))
    parts = []
    for models, pairs in (tiles if some is None else stars)(first, second):
        here = np.array([number[models[a], models[b]] for a, b in pairs.T.tolist()], np.int64)
        held = [answers.bounded[model] for model in models], [answers.logits[model] for model in models]
        parts.append((here, _count.remote(*held, models, pairs, group[here], about)))
    figures = np.full((2, len(COMBINERS), len(first)), np.nan)
    cells = np.zeros((2, len(first), len(COMBINERS), len(CELLS)), np.int64)
    totals = np.zeros((len(CATEGORIES) + 1, len(answers.keys)), np.int32)
    audited = certified = 0
    for here, part in parts:
        (soft, found, undecided, gains, compared) = fetch(part)
        figures[0][:, here], figures[1][:, here] = soft.nll, soft.ece
        cells[0][here], cells[1][here] = found, undecided
        totals += gains
        audited, certified = audited + compared[0], certified + compared[1]
    scores = PairScores.of(len(answers.scored), len(answers.models), first, second, *figures)
    tables, bounds_tables = [], []
    main: EnsembleCounts | None = None
    for place, name in enumerate(COMBINERS):
        of = EnsembleCounts.of(len(answers.keys), len(answers.models), first, second, cells[0][:, place])
        undecided = cells[1][:, place]
        table = pair_ensembles_table(answers.models, counts, of, name, scores, some)
        tables.append(without_undecided(table, undecided))
        bounds_tables.append(pair_bounds_table(table, undecided))
        if name == MAIN and not undecided.any():
            main = of.with_gains(totals)
    order = ("model_a", "model_b", "combiner")
    return TopPairs(pl.concat(tables).sort(*order), pl.concat(bounds_tables).sort(*order), main, (audited, certified))


@remote(num_cpus=1)
def _count(
    held: Sequence[Any],
    logits: Sequence[Any],
    models: Sequence[int],
    pairs: Pairs,
    group: Pairs,
    about: tuple[Any, ...],
) -> tuple[SoftScores, Pairs, Pairs, NDArray[np.int32], tuple[int, int]]:
    answers: TopAnswers = about[0]
    right: Pairs = about[1][list(models)]
    first, second = pairs
    full = tuple(ray.get([*logits]))
    images = answers.whole[answers.scored]
    sample = Block(
        [one[answers.scored] for one in full],
        [answers.calibrations[model] for model in models],
        answers.labels[images],
        answers.folds[images],
        answers.selection[images],
        tuple(answers.keys[image] for image in images.tolist()),
    )
    soft = score_pairs([sample], first, second)
    whole = Whole(answers.whole, full, answers.audited)
    weights = soft.weights
    found = bounds.count(ray.get([*held]), answers.labels, answers.folds, first, second, weights, whole)
    totals = np.zeros((len(CATEGORIES) + 1, len(answers.keys)), np.int32)
    prediction = answers.prediction[list(models)]
    correct = truths.right(prediction, answers.labels)
    add_gains(found.together, np.arange(len(first)), first, second, prediction, correct, right, group, totals)
    return soft, found.together.counts, found.undecided, totals, (found.audited, found.certified)
