"""Greedy searches of ensembles from the largest logits: each step is counted by tasks over ranges of images.

Guarantees: what searches have in common is counted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.ensembles import plans
from overlap.analysis.ensembles.plans import Asked
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.tops.counts import Whole
from overlap.analysis.tops.ensembles import Members, Range
from overlap.analysis.tops.search import Grown, grow, spend
from overlap.analysis.tops.tables import searches_table, steps_tables, weights_table
from overlap.sections import Ensembles
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.tops.answers import TopAnswers

IMAGES = 1 << 13
"""Images of one task: what is known of 300 models takes 0.7 GiB, which it reads where Ray holds it."""

Counts = NDArray[np.int64]
Costs = dict[str, NDArray[np.float64]]


def search(
    answers: TopAnswers, categories: PairCategories, costs: Costs, settings: Ensembles
) -> tuple[dict[str, pl.DataFrame], tuple[int, int], list[str]]:
    """The tables of searches, by name; decisions that were audited and certified; anchors that are no models.

    Args:
        answers: of at least one model.
        categories: of their pairs.
        costs: of each model, (M,) by name, NaN where unknown.
        settings: what the study asks for.
    """
    asked = Asked(
        anchors=tuple(answers.models.index(name) for name in settings.anchors if name in answers.models),
        max_size=settings.max_size,
        without_replacement=settings.without_replacement,
        pool_below=settings.pool_below,
        budgets=settings.budgets.model_dump(exclude_none=True),
    )
    right = truths.right(answers.prediction, answers.labels)
    single = right[:, answers.selection].sum(axis=1)
    reference = int(np.argmax(single))
    counting = Counting(answers, reference)
    found = list(_searches(asked, answers.models, categories, costs, counting, single))
    judged = [counting.judged(one.members) for one in found]
    images = int(answers.selection.sum()), int((~answers.selection).sum())
    of_reference = int(single[reference]), int(right[reference, ~answers.selection].sum())
    steps, bounds = steps_tables(answers.models, found, judged, reference, images)
    rows = searches_table(answers.models, found, judged, reference, images, of_reference, costs)
    missing = [name for name in settings.anchors if name not in answers.models]
    weights = weights_table(answers.models, found)
    tables = {"ensembles": steps, "ensemble_bounds": bounds, "searches": rows, "ensemble_weights": weights}
    return tables, counting.compared, missing


def _searches(
    asked: Asked,
    models: Sequence[str],
    categories: PairCategories,
    costs: Costs,
    counting: Counting,
    single: Counts,
) -> Iterator[Grown]:
    """Those of `ensembles.suite` that are greedy and go by accuracy, in its order."""
    wanted = list(plans.free(asked, models))
    if single.any():
        accuracy = single / counting.selected
        wanted += plans.pooled(asked, models, accuracy, categories, counting.reference)
    for plan in wanted:
        about: dict[str, Any] = {"kind": plan.kind, "anchor": plan.anchor, "pool": plan.pool}
        if plan.reason is not None:
            yield Grown(plan.name, reason=plan.reason, **about)
        else:
            yield grow(plan.name, counting, single, max_size=asked.max_size, allowed=plan.allowed, **about)
    for budget in plans.within(asked, costs) if single.any() else ():
        if budget.cost is None:
            yield Grown(budget.name, "budget", pool="affordable", reason=budget.reason)
        else:
            yield spend(budget.name, counting, single, budget.cost, budget.most, max_size=asked.max_size)


@dataclass(frozen=True, eq=False)
class _Held:
    """What tasks are told of the models: references to what is large."""

    labels: NDArray[np.int32]
    selection: NDArray[np.bool_]
    whole: Counts
    audited: NDArray[np.bool_]
    bounded: tuple[Any, ...]
    logits: tuple[Any, ...]

    def range(self, images: slice, models: Members) -> tuple[Range, dict[int, int]]:
        """Some models on a range of images, and the place of each in it."""
        wanted = sorted(set(models))
        bounded = ray.get([self.bounded[model] for model in wanted])
        logits = ray.get([self.logits[model] for model in wanted])
        whole = Whole(self.whole, tuple(logits), self.audited).within(images)
        some = tuple(one.take(images) for one in bounded)
        place = {model: number for number, model in enumerate(wanted)}
        return Range(some, self.labels[images], self.selection[images], whole), place


class Counting:
    """Ensembles counted over all images, each once."""

    def __init__(self, answers: TopAnswers, reference: int) -> None:
        held = answers.labels, answers.selection, answers.whole, answers.audited, answers.bounded, answers.logits
        self._held = ray.put(_Held(*held))
        edges = [*range(0, len(answers.keys), IMAGES), len(answers.keys)]
        self._ranges = [slice(start, stop) for start, stop in pairwise(edges)]
        self._counted: dict[tuple[Members, int], Counts] = {}
        self._judged: dict[Members, Counts] = {}
        self.reference = reference
        self.selected = int(answers.selection.sum())

    def __call__(self, members: Members, candidates: Sequence[int]) -> Counts:
        """(2, C), as `Range.counted`."""
        new = tuple(model for model in candidates if (members, model) not in self._counted)
        if new:
            tasks = [_counted.remote([self._held], images, members, new) for images in self._ranges]
            for model, counts in zip(new, np.asarray(sum(fetch(tasks))).T, strict=True):
                self._counted[members, model] = counts
        return np.stack([self._counted[members, model] for model in candidates], axis=1)

    def judged(self, members: Members) -> Counts:
        """(steps, 10), as `Range.judged`."""
        prefixes = [members[:size] for size in range(1, len(members) + 1)]
        after = sum(prefix in self._judged for prefix in prefixes)
        if prefixes[after:]:
            tasks = [_judged.remote([self._held], images, members, self.reference, after) for images in self._ranges]
            self._judged |= dict(zip(prefixes[after:], np.asarray(sum(fetch(tasks))), strict=True))
        return np.array([self._judged[prefix] for prefix in prefixes], np.int64).reshape(-1, 10)

    @property
    def compared(self) -> tuple[int, int]:
        """Decisions on ensembles that were judged and compared with all logits, and those that bounds had certified."""
        found = np.array([counts[8:] for counts in self._judged.values()], np.int64).reshape(-1, 2)
        audited, certified = found.sum(axis=0).tolist()
        return audited, certified


@remote(num_cpus=1)
def _counted(held: Sequence[Any], images: slice, members: Members, candidates: Members) -> Counts:
    own: _Held = ray.get(held[0])
    part, place = own.range(images, (*members, *candidates))
    return part.counted(tuple(place[model] for model in members), [place[model] for model in candidates])


@remote(num_cpus=1)
def _judged(held: Sequence[Any], images: slice, members: Members, reference: int, after: int) -> Counts:
    own: _Held = ray.get(held[0])
    part, place = own.range(images, (*members, reference))
    return part.judged(tuple(place[model] for model in members), place[reference], after)
