"""Who is good at what: the confidence plane of pairs, classes and groups, and the images that tell pairs apart."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis.consistency import PairCounts
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.some_pairs import SomePairs
from overlap.analysis.specialisation.angles import theta_counts, theta_table
from overlap.analysis.specialisation.by_category import specialisation_categories
from overlap.analysis.specialisation.driving import divisive_images, driven_pairs, driving_images
from overlap.analysis.specialisation.groups import ClassGroups
from overlap.analysis.specialisation.reasons import score_notes, specialisation_notes
from overlap.analysis.specialisation.scores import class_scores, group_scores
from overlap.analysis.specialisation.spread import Specialisation, specialisation
from overlap.panel import Panel
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers
from workflows.reductions.pairs import row_starts

ROWS = 1 << 11
"""Pairs of one task."""


def specialise(
    panel: Panel,
    pairs: pl.LazyFrame,
    categories: PairCategories,
    answers: Answers,
    counts: PairCounts,
    groups: ClassGroups | None,
    some: SomePairs | None = None,
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The tables class_scores, group_scores, driving, divisive, theta, specialisation and its categories; and notes.

    Args:
        panel: all models that take part.
        pairs: the table of pairs.
        categories: of their pairs.
        answers: of the models that have logits.
        counts: joint counts of these.
        groups: of the classes.
        some: pairs of those that have logits, which the tables by pair are about; without them all.
    """
    correct = panel.correct
    tables = {"class_scores": class_scores(panel.models, correct, panel.labels, panel.names, groups)}
    if groups is not None:
        tables["group_scores"] = group_scores(panel.models, correct, panel.labels, groups)
    chosen, note = driven_pairs(pairs)
    confidence = np.full(panel.prediction.shape, np.nan, np.float32)
    confidence[list(answers.rows)] = answers.confidence
    tables["driving"] = driving_images(
        panel.models, panel.keys, panel.labels, panel.prediction, correct, confidence, chosen
    )
    tables["divisive"] = divisive_images(panel.keys, panel.labels, correct)
    notes = [*([note] if note else []), *score_notes(tables["class_scores"])]
    if len(answers.models) > 1:
        own = categories.among(answers.rows)
        tables |= _by_pair(answers, correct[list(answers.rows)], counts.right, own, groups, some)
        notes += specialisation_notes(tables["specialisation"])
    return tables, notes


def _by_pair(
    answers: Answers,
    correct: NDArray[np.bool_],
    right: NDArray[np.int64],
    categories: PairCategories,
    groups: ClassGroups | None,
    some: SomePairs | None,
) -> dict[str, pl.DataFrame]:
    truth = (correct, answers.labels, np.array(right))
    about = ray.put((answers.models, answers.confidence, *truth, categories, groups, some))
    found = fetch([_pairs.remote(about, start) for start in row_starts(len(answers.models), ROWS, some)])
    table = pl.concat([part.table for _, part in found])
    without = np.concatenate([part.without for _, part in found])
    return {
        "theta": theta_table(functools.reduce(operator.add, [counts for counts, _ in found])),
        "specialisation": table,
        "specialisation_categories": specialisation_categories(answers.models, table, without),
    }


@remote(num_cpus=1)
def _pairs(about: tuple[Any, ...], start: int) -> tuple[NDArray[np.int64], Specialisation]:
    models, confidence, correct, labels, right, categories, groups, some = about
    rows = slice(start, start + ROWS)
    counts = theta_counts(confidence, correct, right, categories, rows=rows, pairs=some)
    return counts, specialisation(models, confidence, correct, labels, categories, groups, rows=rows, pairs=some)
