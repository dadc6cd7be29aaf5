"""Ensembles of all pairs over all combiners, from the largest logits: recalled, else counted by tasks and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import COMBINERS, MAIN, EnsembleCounts
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.soft_scores import score_pairs
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.some_pairs import SomePairs
from overlap.analysis.tally import CELLS
from overlap.analysis.tops import counts as bounds
from overlap.analysis.tops.counts import Whole
from overlap.analysis.tops.tables import pair_bounds_table, without_undecided
from overlap.store.location import Location, open_objects
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.kept_pairs import Held, KeptPairs, Pairs
from workflows.reductions.pair_rows import Name, PairRows
from workflows.reductions.tops.answers import TopAnswers

MORE = {"undecided": (len(COMBINERS), len(CELLS)), "compared": (2,)}
"""What is kept of a pair beside what all studies keep (`tops.counts.PairCounts`)."""


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
    counted: int
    """Pairs that were not recalled."""

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
    pairs = KeptPairs.of(answers, MORE, some)
    found = pairs.gathered(_made(answers, pairs.context, pairs.tasks), counts.right, categories)
    tables, bounds_tables = [], []
    main: EnsembleCounts | None = None
    for place, name in enumerate(COMBINERS):
        of, undecided = pairs.counts(found.images[:, place]), found.more["undecided"][:, place]
        table = pair_ensembles_table(answers.models, counts, of, name, found.scores, some)
        tables.append(without_undecided(table, undecided))
        bounds_tables.append(pair_bounds_table(table, undecided))
        if name == MAIN and not undecided.any():
            main = of.with_gains(found.gains)
    order = ("model_a", "model_b", "combiner")
    audited, certified = found.more["compared"].sum(axis=0).tolist()
    sorted_ = pl.concat(tables).sort(*order), pl.concat(bounds_tables).sort(*order)
    return TopPairs(*sorted_, main, (audited, certified), pairs.counted)


@dataclass(frozen=True, eq=False)
class _About:
    """What all tasks that count pairs are told."""

    where: Location
    data: str
    context: str
    names: tuple[Name, ...]
    calibrations: tuple[Calibration, ...]
    labels: NDArray[np.int32]
    folds: NDArray[np.int8]
    whole: Pairs
    audited: NDArray[np.bool_]
    scored: Pairs
    truth: tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.bool_], tuple[str, ...]]
    """Of the images in `scored`: labels, folds, selection and keys."""


def _made(answers: TopAnswers, context: str, tasks: Sequence[tuple[list[int], Pairs]]) -> list[Held]:
    """Pairs of models, counted and kept."""
    images = answers.whole[answers.scored]
    keys = tuple(answers.keys[image] for image in images.tolist())
    about = _About(
        answers.reader.where,
        answers.reader.data,
        context,
        answers.names,
        answers.calibrations,
        answers.labels,
        answers.folds,
        answers.whole,
        answers.audited,
        answers.scored,
        (answers.labels[images], answers.folds[images], answers.selection[images], keys),
    )
    told = ray.put(about)
    made = []
    for models, pairs in tasks:
        held = [answers.bounded[model] for model in models], [answers.logits[model] for model in models]
        made.append(_make.remote(*held, models, pairs, told))
    return [(fetch(names), rows) for names, rows in made]


@remote(num_cpus=1, num_returns=2)
def _make(
    held: Sequence[Any], logits: Sequence[Any], models: Sequence[int], pairs: Pairs, about: _About
) -> tuple[Sequence[tuple[Name, Name]], PairRows]:
    """The pairs of some models, counted on every image by weights that were fitted on the sample."""
    first, second = pairs
    full = tuple(ray.get([*logits]))
    calibrations = [about.calibrations[model] for model in models]
    soft = score_pairs([Block([one[about.scored] for one in full], calibrations, *about.truth)], first, second)
    whole = Whole(about.whole, full, about.audited)
    found = bounds.count(ray.get([*held]), about.labels, about.folds, first, second, soft.weights, whole)
    told = tuple((about.names[models[a]], about.names[models[b]]) for a, b in pairs.T.tolist())
    rows = PairRows(told, soft, found.together, {"undecided": found.undecided, "compared": found.compared})
    rows.write(open_objects(about.where), about.data, about.context)
    return told, rows
