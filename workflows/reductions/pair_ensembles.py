"""Ensembles of all pairs, over all combiners: recalled where they were counted before, else counted and kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import Calibration
from overlap.analysis.combining import CELLS, COMBINERS, MAIN, EnsembleCounts, add_gains, count_pairs
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.soft_scores import PairScores, score_pairs
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.analysis.pairs import CATEGORIES
from overlap.analysis.some_pairs import SomePairs, taken
from overlap.store import layout
from overlap.store.objects import Location, open_objects
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions import pair_rows
from workflows.reductions.answers import Answers, Sample
from workflows.reductions.counting import Counting, LookedUp
from workflows.reductions.pair_rows import Name, PairRows
from workflows.reductions.reader import Reader

TILE = 16
"""Models a side of the pairs that one task makes: with the sample of 32 models at 1,000 classes it holds 0.3 GiB."""
RECALLS = 16
"""Tasks that recall pairs."""
GATHERED = 256
"""Tasks that add up what pairs gain, at a time."""

Pairs = NDArray[np.int64]
Held = tuple[Sequence[tuple[Name, Name]], Any]
"""Pairs, and a reference to their rows."""


@dataclass(frozen=True)
class PairEnsembles:
    """What the ensembles of all pairs came to."""

    table: pl.DataFrame
    """`pair_ensembles.parquet`, all combiners."""
    counts: EnsembleCounts
    """Of the main combiner."""
    counted: int
    """Pairs that were not recalled."""
    looked_up: LookedUp
    """Logits that were read for them."""

    @property
    def main(self) -> pl.DataFrame:
        """The rows of the main combiner."""
        return self.table.filter(pl.col("combiner") == MAIN)


def combine(
    answers: Answers, counts: PairCounts, categories: PairCategories, some: SomePairs | None = None
) -> PairEnsembles | None:
    """Ensembles of the pairs of the models that have logits; None where there are none.

    Args:
        answers: of M models.
        counts: joint counts of the pairs.
        categories: of the models' pairs.
        some: the pairs; without them all of the M models.
    """
    models = len(answers.models)
    if not models:
        return None
    first, second = taken(models, pairs=some)
    wanted = [(answers.names[a], answers.names[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    sample = answers.sample(sample_size(answers.classes))
    context = pair_rows.context(answers.context, len(sample.keys))
    held = _recalled(answers.look_up.reader, context, len(sample.keys))
    known = {pair for pairs, _ in held for pair in pairs}
    missing = np.array([place for place, pair in enumerate(wanted) if pair not in known], np.int64)
    parts_of = tiles if some is None else stars
    made, looked_up = _made(answers, sample, context, parts_of(first[missing], second[missing]))
    held += made
    group = categories.numbers(first, second).astype(np.int64)
    group[group < 0] = len(CATEGORIES)  # summed too, and left out in the end
    truth = ray.put((answers.prediction, answers.labels, np.array(counts.right)))
    figures = np.empty((2, len(COMBINERS), len(wanted)))
    cells = np.empty((len(wanted), len(COMBINERS), len(CELLS)), np.int64)
    totals = np.zeros((len(CATEGORIES) + 1, len(answers.keys)), np.int32)
    waiting: deque[tuple[Pairs, Any]] = deque()  # each comes with a number for every image: few at a time

    def take(here: Pairs, part: Any) -> None:
        nll, ece, images, gains = fetch(part)
        figures[0][:, here], figures[1][:, here], cells[here] = nll, ece, images
        totals[...] += gains

    for (here, there), (_, rows) in zip(_taken(wanted, [pairs for pairs, _ in held]), held, strict=True):
        if len(here):
            waiting.append((here, _gather.remote(rows, there, first[here], second[here], group[here], truth)))
        if len(waiting) >= GATHERED:
            take(*waiting.popleft())
    while waiting:
        take(*waiting.popleft())
    of = {
        name: EnsembleCounts.of(len(answers.keys), models, first, second, cells[:, place])
        for place, name in enumerate(COMBINERS)
    }
    of[MAIN] = of[MAIN].with_gains(totals)
    scores = PairScores.of(len(sample.keys), models, first, second, *figures)
    return PairEnsembles(_table(answers, counts, of, scores, some), of[MAIN], len(missing), looked_up)


def _table(
    answers: Answers,
    counts: PairCounts,
    total: dict[str, EnsembleCounts],
    scores: PairScores,
    some: SomePairs | None,
) -> pl.DataFrame:
    tables = [pair_ensembles_table(answers.models, counts, total[name], name, scores, some) for name in COMBINERS]
    return pl.concat(tables).sort("model_a", "model_b", "combiner")


def _recalled(reader: Reader, context: str, sample: int) -> list[Held]:
    """What is kept."""
    keys = [info.key for info in open_objects(reader.where).list(layout.pairs_prefix(reader.data, context))]
    parts = [keys[start::RECALLS] for start in range(min(RECALLS, len(keys)))]
    found = [_recall.remote(reader.where, part, sample) for part in parts]
    return [(fetch(pairs), rows) for pairs, rows in found]


def _made(
    answers: Answers, sample: Sample, context: str, tasks: Sequence[tuple[list[int], Pairs]]
) -> tuple[list[Held], LookedUp]:
    """Pairs of models, counted and kept, and the logits that were read for it."""
    reader, nobody = answers.look_up.reader, replace(sample, held=(), calibrations=())
    about = ray.put((answers.labels, answers.folds, reader, nobody, context))
    records = [ray.put(one) for one in answers.look_up.records] if tasks else []  # read where a look-up wants them
    made = []
    for models, pairs in tasks:  # of thousands of models a task is told of its own alone
        told = [(answers.names[model], sample.calibrations[model]) for model in models]
        held = [(answers.answered[model], sample.held[model], records[model]) for model in models]
        made.append(_make.remote(models, pairs, told, held, about))
    return [(fetch(pairs), rows) for pairs, rows, _ in made], LookedUp.sum(fetch([looked for *_, looked in made]))


def tiles(first: Pairs, second: Pairs) -> list[tuple[list[int], Pairs]]:
    """The pairs by ranges of models: the models of each tile, and its (2, P) pairs of these."""
    found = []
    tile = np.stack([first // TILE, second // TILE])
    for here in np.unique(tile, axis=1).T:
        inside = (tile == here[:, None]).all(axis=0)
        found.append(_renumbered(first[inside], second[inside]))
    return found


def stars(first: Pairs, second: Pairs) -> list[tuple[list[int], Pairs]]:
    """The same of pairs that are few among those of their models: each task has one first model, and its partners.

    Of no more models than a tile has; a tile of such pairs would read two models for nearly each.
    """
    found, most = [], 2 * TILE - 1
    starts = np.flatnonzero(np.diff(first, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, len(first)]):
        for at in range(start, stop, most):
            part = slice(at, min(at + most, stop))
            found.append(_renumbered(first[part], second[part]))
    return found


def _renumbered(first: Pairs, second: Pairs) -> tuple[list[int], Pairs]:
    models, pairs = np.unique(np.stack([first, second]), return_inverse=True)
    return models.tolist(), pairs.reshape(2, -1)


def _taken(
    wanted: Sequence[tuple[Name, Name]], held: Sequence[Sequence[tuple[Name, Name]]]
) -> list[tuple[Pairs, Pairs]]:
    """Of each part that is held, which of the wanted pairs it serves, and where these are in it; each pair once."""
    served: list[tuple[list[int], list[int]]] = [([], []) for _ in held]
    where = pair_rows.places(held)
    for number, pair in enumerate(wanted):
        part, place = where[pair]
        served[part][0].append(number)
        served[part][1].append(place)
    return [(np.array(here, np.int64), np.array(there, np.int64)) for here, there in served]


@remote(num_cpus=1, num_returns=2)
def _recall(where: Location, keys: Sequence[str], sample: int) -> tuple[Sequence[tuple[Name, Name]], PairRows]:
    objects = open_objects(where)
    parts = [rows for rows in (PairRows.read(objects, key) for key in keys) if rows is not None]
    found = PairRows.joined([pair_rows.nothing(sample), *parts])
    return found.pairs, found


@remote(num_cpus=1, num_returns=3)
def _make(
    models: Sequence[int],
    pairs: Pairs,
    told: Sequence[tuple[Name, Calibration]],
    held: Sequence[tuple[Any, Any, Any]],
    about: tuple[Any, ...],
) -> tuple[Sequence[tuple[Name, Name]], PairRows, LookedUp]:
    """The pairs of some models, counted on every image by weights that were fitted on the sample."""
    labels, folds, reader, nobody, context = about
    sample: Sample = replace(
        nobody, held=tuple(logits for _, logits, _ in held), calibrations=tuple(fitted for _, fitted in told)
    )
    first, second = pairs
    soft = score_pairs([sample.block()], first, second)
    looked = Counting(lambda model, images: reader.read(ray.get(held[models.index(model)][2]), images))
    together = count_pairs(
        ray.get([answered for answered, *_ in held]),
        labels,
        folds,
        first,
        second,
        soft.weights,
        lambda model, images: looked(models[model], images),
    )
    named = tuple((told[a][0], told[b][0]) for a, b in pairs.T.tolist())
    rows = PairRows(named, soft, together)
    rows.write(open_objects(reader.where), reader.data, context)
    return named, rows, looked.told


@remote(num_cpus=1)
def _gather(
    rows: PairRows, there: Pairs, first: Pairs, second: Pairs, group: Pairs, truth: tuple[Any, ...]
) -> tuple[Any, ...]:
    """NLL, calibration error and counts of some pairs, and what they gain by category and image."""
    models, own = _renumbered(first, second)
    prediction, labels, right = truth[0][models], truth[1], truth[2][models]
    totals = np.zeros((len(CATEGORIES) + 1, prediction.shape[1]), np.int32)
    correct = truths.right(prediction, labels)
    add_gains(rows.together, there, own[0], own[1], prediction, correct, right, group, totals)
    return rows.soft.nll[:, there], rows.soft.ece[:, there], rows.together.counts[there], totals
