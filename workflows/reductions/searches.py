"""Searches of ensembles: they select on 40% of the images, held in parts by actors, and are judged on the other 60%."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.calibration import Calibration, probabilities
from overlap.analysis.consistency import PairCounts
from overlap.analysis.ensembles.listed import Listed
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.ensembles.plans import Asked
from overlap.analysis.ensembles.shortlists import Answered
from overlap.analysis.ensembles.suite import Suite, Zoo, searches
from overlap.analysis.ensembles.tables import Judged
from overlap.analysis.ensembles.weak_helps import weak_helps_table
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.some_pairs import SomePairs
from overlap.sections import Ensembles
from workflows.nodes import cluster
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions.answers import Answers, LookUp
from workflows.reductions.counting import Counting, LookedUp
from workflows.reductions.judging import judge

IMAGES = 1 << 12
"""Selection images from which on a further part pays."""
SUM_BYTES = 1 << 30
"""What the members' sum of one part may take, with what is above it."""
HELD_BYTES = 1 << 30
"""Members' probabilities that one part keeps, so that they are not read again; of many parts each keeps less."""

Costs = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Full:
    """Calibrated probabilities of all classes, out of fold, read when they are asked for."""

    look_up: LookUp | Counting
    calibrations: Sequence[Calibration]
    folds: NDArray[np.int8]

    def __call__(self, model: int, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, K) float32 of one model on m images, numbered as in the panel, ascending."""
        temperature = self.calibrations[model].of(self.folds[images])
        return probabilities(self.look_up(model, images), temperature)


@dataclass(frozen=True, eq=False)
class Selection:
    """The selection split as a search sees it, for tasks."""

    images: NDArray[np.int64]
    labels: NDArray[np.int32]
    classes: int
    largest: tuple[Any, ...]
    """Of each model a reference."""
    answered: tuple[Any, ...]
    """Likewise."""
    look_up: LookUp
    calibrations: Sequence[Calibration]
    folds: NDArray[np.int8]

    @classmethod
    def of(cls, answers: Answers) -> Selection:
        """Of all models."""
        images = np.flatnonzero(answers.selection)
        held = answers.largest, answers.answered, answers.look_up, answers.calibrations, answers.folds
        return cls(images, answers.labels[images], answers.classes, *held)

    def part(self, looked: Counting, place: int = 0, number: int = 1) -> Part:
        """One of so many parts of its images; what it looks up is counted."""
        full = Full(looked, self.calibrations, self.folds)
        mine = np.array_split(np.arange(len(self.images)), number)[place]
        kept = [largest.take(mine) for largest in ray.get([*self.largest])]
        room = min(HELD_BYTES, 4 * HELD_BYTES // number)
        return Part(kept, self.labels[mine], self.images[mine], full, self.classes, room, self.lists)

    def lists(self, model: int, images: NDArray[np.int64]) -> Listed:
        """What a model lists on m images, numbered as in the panel."""
        held: Answered = ray.get(self.answered[model])
        return Listed.of(held.take(images))


def search(
    answers: Answers,
    categories: PairCategories,
    costs: Costs,
    settings: Ensembles,
) -> tuple[dict[str, pl.DataFrame], list[str], LookedUp]:
    """The tables ensembles, searches, ensemble_weights and pareto; anchors from which nothing could start; and the
    logits that were read, beside what is kept of them.

    Args:
        answers: of M models.
        categories: of their pairs.
        costs: of each model, (M,) by name, NaN where unknown.
        settings: what the study asks for.
    """
    anchors = [answers.models.index(name) for name in settings.anchors if name in answers.models]
    missing = [name for name in settings.anchors if name not in answers.models]
    if not answers.models:
        return {}, missing, LookedUp()
    asked = Asked(
        anchors=tuple(anchors),
        max_size=settings.max_size,
        without_replacement=settings.without_replacement,
        bags=settings.bags,
        pool_below=settings.pool_below,
        budgets=settings.budgets.model_dump(exclude_none=True),
        objectives=settings.objectives,
        weights=settings.weights,
    )
    selected = int(answers.selection.sum())
    likelihood = answers.likelihood
    zoo = Zoo(answers.models, selected, likelihood[:, answers.selection], categories, costs)
    suite, searched = _select(asked, zoo, answers)
    right = truths.right(answers.prediction[suite.reference], answers.labels)
    counts, judged_by = judge(suite, answers)
    judged = Judged(
        answers.models,
        suite,
        counts,
        (int(right[answers.selection].sum()), int(right[~answers.selection].sum())),
        (selected, len(right) - selected),
        likelihood[:, ~answers.selection],
        costs,
    )
    return (
        {
            "ensembles": judged.steps(),
            "searches": judged.searches(),
            "ensemble_weights": judged.weights(),
            "pareto": judged.pareto(),
        },
        missing,
        LookedUp.sum([searched, judged_by]),
    )


def weak_helps(
    answers: Answers, counts: PairCounts, ensembles: pl.DataFrame, pairs: SomePairs | None = None
) -> pl.DataFrame:
    """The table weak_helps, from the gains of one combiner's ensembles of all pairs, or of some."""
    gain = ensembles["gain_best"].fill_null(np.nan).to_numpy()
    return weak_helps_table(answers.models, counts.right, counts.n, gain, pairs)


def _select(asked: Asked, zoo: Zoo, answers: Answers) -> tuple[Suite, LookedUp]:
    """All searches, over as many parts as there are CPUs for and memory allows; and the logits that were read."""
    cpus = max(1, sum(node.cpus for node in cluster.nodes()))
    least = math.ceil(12 * zoo.images * answers.classes / SUM_BYTES)
    number = max(1, least, min(cpus, math.ceil(zoo.images / IMAGES)))
    held = ray.put(Selection.of(answers))
    if number == 1:
        alone: tuple[Suite, LookedUp] = fetch(_search.remote(held, asked, zoo))
        return alone
    actor_class = remote(num_cpus=min(1.0, cpus / number), max_restarts=-1, max_task_retries=-1)(_Holder)
    actors = [actor_class.remote() for _ in range(number)]

    def call(method: str, arguments: tuple[Any, ...]) -> Iterable[NDArray[np.int64]]:
        asked_of = [actor.ask.remote([held], place, number, method, arguments) for place, actor in enumerate(actors)]
        answered: list[NDArray[np.int64]] = fetch(asked_of)
        return answered

    try:
        suite = searches(asked, zoo, Parts(call))
        return suite, LookedUp.sum(fetch([actor.looked_up.remote() for actor in actors]))
    finally:
        for actor in actors:
            ray.kill(actor)


class _Holder:
    """An actor with one part of the selection images; made again elsewhere, it answers the same."""

    def __init__(self) -> None:
        self._part: Part | None = None
        self._looked: Counting | None = None

    def looked_up(self) -> LookedUp:
        """The logits that were read so far."""
        return LookedUp() if self._looked is None else self._looked.told

    def ask(self, held: Sequence[Any], place: int, number: int, method: str, arguments: Sequence[Any]) -> Any:
        """What a method of `Part` answers; `held` is a list of one reference, which is read once."""
        if self._part is None:
            held_: Selection = ray.get(held[0])
            self._looked = Counting(held_.look_up)
            self._part = held_.part(self._looked, place, number)
        return getattr(self._part, method)(*arguments)


@remote(num_cpus=1)
def _search(held: Selection, asked: Asked, zoo: Zoo) -> tuple[Suite, LookedUp]:
    """All searches in one process: where there are few images, asking others takes longer than answering."""
    looked = Counting(held.look_up)
    suite = searches(asked, zoo, Parts.here([held.part(looked)]))
    return suite, looked.told
