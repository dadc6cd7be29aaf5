"""The pairs of a reduction's models: recalled where they were counted before, and gathered with those counted since.

Guarantees: each pair is taken from one place, and what it comes to is the same wherever that is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis import truths
from overlap.analysis.combining import COMBINERS, EnsembleCounts
from overlap.analysis.ensembles.soft_scores import PairScores
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pairs import CATEGORIES
from overlap.analysis.some_pairs import SomePairs, taken
from overlap.analysis.tally import CELLS, add_gains
from overlap.store import layout
from overlap.store.location import Location, open_objects
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.reductions import pair_rows
from workflows.reductions.pair_rows import More, Name, PairRows
from workflows.reductions.participants import Calibrated

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
class Gathered:
    """What P pairs of M models come to, in their order.

    Attributes:
        scores: on the sample.
        images: (P, combiners, 4) images that ensembles get right, by `tally.CELLS`.
        gains: by category and image, as `tally.add_gains` adds them up.
        more: what else is kept of each pair, (P, ...) by name.
    """

    scores: PairScores
    images: Pairs
    gains: NDArray[np.int32]
    more: dict[str, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class KeptPairs:
    """Pairs of some models, all or a selection, and what is kept of them."""

    who: Calibrated
    context: str
    """Of what is kept (`pair_rows.context`)."""
    more: More
    """What is kept of a pair beside what all studies keep."""
    first: Pairs
    second: Pairs
    wanted: Sequence[tuple[Name, Name]]
    """Their names."""
    held: Sequence[Held]
    few: bool = False
    """Whether they are a selection."""

    @classmethod
    def of(cls, who: Calibrated, more: More | None = None, pairs: SomePairs | None = None) -> KeptPairs:
        """Recall them, all pairs of the models or some."""
        context, more = pair_rows.context(who.context, who.paired), more or {}
        first, second = taken(len(who.models), pairs=pairs)
        wanted = [(who.names[a], who.names[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
        where = who.reader.where
        keys = [info.key for info in open_objects(where).list(layout.pairs_prefix(who.reader.data, context))]
        parts = [keys[start::RECALLS] for start in range(min(RECALLS, len(keys)))]
        found = [_recall.remote(where, part, who.paired, more) for part in parts]
        held = [(fetch(told), rows) for told, rows in found]
        return cls(who, context, more, first, second, wanted, held, pairs is not None)

    @property
    def tasks(self) -> list[tuple[list[int], Pairs]]:
        """The pairs that are to be counted, by task: its models, and its (2, P) pairs of these."""
        return (stars if self.few else tiles)(*self.missing)

    @property
    def counted(self) -> int:
        """How many are to be counted."""
        return len(self.missing[0])

    @cached_property
    def missing(self) -> tuple[Pairs, Pairs]:
        """(P,), (P,): the models of the pairs that are to be counted."""
        known = {pair for pairs, _ in self.held for pair in pairs}
        missing = np.array([place for place, pair in enumerate(self.wanted) if pair not in known], np.int64)
        return self.first[missing], self.second[missing]

    def gathered(self, made: Sequence[Held], right: Pairs, categories: PairCategories) -> Gathered:
        """What the pairs come to.

        Args:
            made: those that were missing.
            right: (M,) right answers of each model.
            categories: of the pairs.
        """
        held = [*self.held, *made]
        group = categories.numbers(self.first, self.second).astype(np.int64)
        group[group < 0] = len(CATEGORIES)  # summed too, and left out in the end
        truth = ray.put((self.who.prediction, self.who.labels, np.array(right)))
        figures = np.full((2, len(COMBINERS), len(self.wanted)), np.nan)
        cells = np.empty((len(self.wanted), len(COMBINERS), len(CELLS)), np.int64)
        totals = np.zeros((len(CATEGORIES) + 1, len(self.who.keys)), np.int32)
        more = {name: np.zeros((len(self.wanted), *shape), np.int64) for name, shape in self.more.items()}
        waiting: deque[tuple[Pairs, Any]] = deque()  # each comes with a number for every image: few at a time

        def take(here: Pairs, part: Any) -> None:
            nll, ece, images, gains, besides = fetch(part)
            figures[0][:, here], figures[1][:, here], cells[here] = nll, ece, images
            totals[...] += gains
            for name, found in besides.items():
                more[name][here] = found

        for (here, there), (_, rows) in zip(self._taken([pairs for pairs, _ in held]), held, strict=True):
            if len(here):
                first, second = self.first[here], self.second[here]
                waiting.append((here, _gather.remote(rows, there, first, second, group[here], truth)))
            if len(waiting) >= GATHERED:
                take(*waiting.popleft())
        while waiting:
            take(*waiting.popleft())
        scores = PairScores.of(self.who.paired, len(self.who.models), self.first, self.second, *figures)
        return Gathered(scores, cells, totals, more)

    def counts(self, images: Pairs) -> EnsembleCounts:
        """From (P, 4) images by `tally.CELLS`; without gains."""
        return EnsembleCounts.of(len(self.who.keys), len(self.who.models), self.first, self.second, images)

    def _taken(self, held: Sequence[Sequence[tuple[Name, Name]]]) -> list[tuple[Pairs, Pairs]]:
        """Of each part that is held, which of the wanted pairs it serves, and where these are in it; each pair once."""
        served: list[tuple[list[int], list[int]]] = [([], []) for _ in held]
        where = pair_rows.places(held)
        for number, pair in enumerate(self.wanted):
            part, place = where[pair]
            served[part][0].append(number)
            served[part][1].append(place)
        return [(np.array(here, np.int64), np.array(there, np.int64)) for here, there in served]


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


@remote(num_cpus=1, num_returns=2)
def _recall(
    where: Location, keys: Sequence[str], sample: int, more: More
) -> tuple[Sequence[tuple[Name, Name]], PairRows]:
    objects = open_objects(where)
    parts = [rows for rows in (PairRows.read(objects, key) for key in keys) if rows is not None]
    found = PairRows.joined([pair_rows.nothing(sample, more), *parts])
    return found.pairs, found


@remote(num_cpus=1)
def _gather(
    rows: PairRows, there: Pairs, first: Pairs, second: Pairs, group: Pairs, truth: tuple[Any, ...]
) -> tuple[Any, ...]:
    """NLL, calibration error and counts of some pairs, what they gain by category and image, and what else is kept."""
    models, own = _renumbered(first, second)
    prediction, labels, right = truth[0][models], truth[1], truth[2][models]
    totals = np.zeros((len(CATEGORIES) + 1, prediction.shape[1]), np.int32)
    correct = truths.right(prediction, labels)
    add_gains(rows.together, there, own[0], own[1], prediction, correct, right, group, totals)
    more: Mapping[str, NDArray[np.int64]] = {name: found[there] for name, found in rows.more.items()}
    return rows.soft.nll[:, there], rows.soft.ece[:, there], rows.together.counts[there], totals, more
