"""Forward searches of ensembles from the largest logits: each step is counted by tasks over ranges of images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.tops.counts import Whole
from overlap.analysis.tops.ensembles import Members, Range
from overlap.analysis.tops.search import Grown, grow
from overlap.analysis.tops.tables import searches_table, steps_tables
from overlap.ensemble.choice import MAIN
from overlap.sections import Ensembles
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.tops.answers import TopAnswers

IMAGES = 1 << 13
"""Images of one task: what is known of 300 models takes 0.7 GiB, which it reads where Ray holds it."""

Counts = NDArray[np.int64]


def search(
    answers: TopAnswers, costs: dict[str, NDArray[np.float64]], settings: Ensembles
) -> tuple[dict[str, pl.DataFrame], tuple[int, int], list[str]]:
    """The tables ensembles, ensemble_bounds and searches; decisions that were audited and certified; missing anchors.

    Args:
        answers: of at least one model.
        costs: of each model, (M,) by name, NaN where unknown.
        settings: what the study asks for.
    """
    held = ray.put(answers)
    edges = [*range(0, len(answers.keys), IMAGES), len(answers.keys)]
    ranges = [slice(start, stop) for start, stop in pairwise(edges)]
    every = range(len(answers.models))
    right = truths.right(answers.prediction, answers.labels)
    single = right[:, answers.selection].sum(axis=1)

    def count(members: Members, candidates: Sequence[int]) -> Counts:
        tasks = [_counted.remote([held], images, members, tuple(candidates)) for images in ranges]
        return np.asarray(sum(fetch(tasks)))

    anchors = [answers.models.index(name) for name in settings.anchors if name in answers.models]
    found = [grow(MAIN, count, single, max_size=settings.max_size)]
    for anchor in anchors:
        name = f"greedy from {answers.models[anchor]}"
        found.append(grow(name, count, single, max_size=settings.max_size, anchor=anchor))
    reference = int(np.argmax(single))
    judged = [_judge(held, ranges, one, reference) for one in found]
    images = int(answers.selection.sum()), int((~answers.selection).sum())
    of_reference = int(single[reference]), int(right[reference, ~answers.selection].sum())
    steps, bounds = steps_tables(answers.models, found, judged, reference, images)
    rows = searches_table(answers.models, found, judged, reference, images, of_reference, costs)
    compared = np.sum([counts[:, 8:].sum(axis=0) for counts in judged], axis=0)
    missing = [name for name in settings.anchors if name not in {answers.models[model] for model in every}]
    tables = {"ensembles": steps, "ensemble_bounds": bounds, "searches": rows}
    return tables, (int(compared[0]), int(compared[1])), missing


def _judge(held: Any, ranges: Sequence[slice], found: Grown, reference: int) -> Counts:
    if not found.members:
        return np.zeros((0, 10), np.int64)
    tasks = [_judged.remote([held], images, found.members, reference) for images in ranges]
    return np.asarray(sum(fetch(tasks)))


def _range(held: Sequence[Any], images: slice, models: Members) -> tuple[Range, dict[int, int]]:
    """Some models on a range of images, and the place of each in it."""
    answers: TopAnswers = ray.get(held[0])
    wanted = sorted(set(models))
    bounded = ray.get([answers.bounded[model] for model in wanted])
    logits = ray.get([answers.logits[model] for model in wanted])
    whole = Whole(answers.whole, tuple(logits), answers.audited).within(images)
    some = tuple(one.take(images) for one in bounded)
    place = {model: number for number, model in enumerate(wanted)}
    return Range(some, answers.labels[images], answers.selection[images], whole), place


@remote(num_cpus=1)
def _counted(held: Sequence[Any], images: slice, members: Members, candidates: Members) -> Counts:
    part, place = _range(held, images, (*members, *candidates))
    return part.counted(tuple(place[model] for model in members), [place[model] for model in candidates])


@remote(num_cpus=1)
def _judged(held: Sequence[Any], images: slice, members: Members, reference: int) -> Counts:
    part, place = _range(held, images, (*members, reference))
    return part.judged(tuple(place[model] for model in members), place[reference])
