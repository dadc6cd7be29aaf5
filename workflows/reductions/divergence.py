"""How training divergence shows: further measures of pairs, difficulty of images, means and tests by category."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis.consistency import PairCounts
from overlap.analysis.divergence import rasch
from overlap.analysis.divergence.axes import axes_table
from overlap.analysis.divergence.comparisons import comparisons_table
from overlap.analysis.divergence.images import difficulty_table
from overlap.analysis.divergence.means import means_table
from overlap.analysis.divergence.measures import NAMES, Compared, compared
from overlap.analysis.divergence.scores import scores
from overlap.analysis.divergence.soft import SoftSums, soft_sums
from overlap.analysis.divergence.table import divergence_table
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.some_pairs import SomePairs
from overlap.methodology import AXES, Training
from overlap.panel import Panel
from overlap.sections import Analysis
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers, Sample
from workflows.reductions.pairs import row_starts
from workflows.reductions.reader import BLOCK_BYTES

ROWS = 1 << 12
"""Rows of the table of divergence that one task makes."""
IMAGES = 128
"""Images of the sample that one task compares: 0.3 GiB of 300 models and 1,000 classes, and of more models in parts."""


def diverge(
    panel: Panel,
    counts: PairCounts,
    categories: PairCategories,
    trainings: Sequence[Training],
    answers: Answers,
    ensembles: pl.DataFrame | None,
    settings: Analysis,
    pairs: SomePairs | None = None,
) -> dict[str, pl.DataFrame]:
    """The tables divergence, divergence_categories, category_tests, axes and difficulty.

    Args:
        panel: all models that take part, of which there is one at least.
        counts: joint counts of the pairs.
        categories: of their pairs.
        trainings: of the models.
        answers: of those that have logits.
        ensembles: of pairs by one combiner; None without logits.
        settings: of the study.
        pairs: of the panel's models, that this is about, and the counts are of; without them all.
    """
    correct = panel.correct
    counted = scores(correct)
    fitted = rasch.fit(counts.right, counted.images)
    sums = _soft(answers, settings.sample, None if pairs is None else pairs.among(answers.rows))
    about = ray.put((panel.models, counts, counted, fitted, sums, answers.rows, categories, pairs))
    parts = [_rows.remote(about, start) for start in row_starts(len(panel.models), ROWS, pairs)]
    difficulty = difficulty_table(panel.keys, panel.labels, correct, fitted)
    table = pl.concat(fetch(parts))
    zoo = compared(
        panel.models,
        panel.prediction,
        panel.labels,
        categories,
        counts,
        counted,
        table,
        soft=sums,
        soft_models=answers.rows,
        pair_ensembles=ensembles,
        pairs=pairs,
    )
    all_measures = ray.put(zoo)
    told = [measure.name for measure in zoo.measures]
    compare = [_compare.remote(all_measures, settings.accuracy_band, name) for name in NAMES if name in told]
    means, tests = zip(*fetch(compare), strict=True)
    related = categories.related(*zoo.indices)
    return {
        "divergence": table,
        "divergence_categories": pl.concat(means),
        "category_tests": pl.concat(tests),
        "axes": axes_table(zoo, _codes(trainings), related),
        "difficulty": difficulty,
    }


def _soft(answers: Answers, images: int, pairs: SomePairs | None) -> SoftSums | None:
    """Sums over the sample, a task for each range of its images; None where fewer than two models have logits."""
    if len(answers.models) < 2:
        return None
    sample = answers.sample(images)
    held = ray.put((sample, pairs))
    parts = [_add.remote(held, slice(start, start + IMAGES)) for start in range(0, len(sample.keys), IMAGES)]
    sums: SoftSums = functools.reduce(operator.add, fetch(parts))
    return sums


def _codes(trainings: Sequence[Training]) -> NDArray[np.int64]:
    """(4, M): what each model has on each axis, as numbers; -1 where it is not declared."""
    numbers: dict[str, int] = {}
    values = [[getattr(training, axis) for training in trainings] for axis in AXES]
    coded = [[-1 if text is None else numbers.setdefault(text, len(numbers)) for text in row] for row in values]
    return np.array(coded, np.int64).reshape(len(AXES), len(trainings))


@remote(num_cpus=1)
def _add(held: tuple[Sample, SomePairs | None], images: slice) -> SoftSums:
    sample, pairs = held
    together = max(1, BLOCK_BYTES // max(1, 2 * len(sample.held) * sample.classes))
    last = min(images.stop, len(sample.keys))
    parts = (sample.block(images=slice(at, min(at + together, last))) for at in range(images.start, last, together))
    return functools.reduce(operator.add, (soft_sums(part, np.ones(len(part.labels), bool), pairs) for part in parts))


@remote(num_cpus=1)
def _rows(about: tuple[Any, ...], start: int) -> pl.DataFrame:
    models, counts, counted, fitted, sums, soft_models, categories, pairs = about
    return divergence_table(
        models,
        counts,
        counted,
        fitted,
        soft=sums,
        soft_models=soft_models,
        categories=categories,
        rows=slice(start, start + ROWS),
        pairs=pairs,
    )


@remote(num_cpus=1)
def _compare(zoo: Compared, band: tuple[float, float] | None, measure: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    return means_table(zoo, band, (measure,)), comparisons_table(zoo, band, (measure,))
