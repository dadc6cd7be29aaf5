"""The reductions that need logits: calibration, ensembles of pairs, greedy searches.

Logits are read twice, once by checkpoint and once by shard; the latter stay in Ray's object store for the searches,
which spills to disk what does not fit in memory. What comes back to the driver are counts.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import greedy, splits
from overlap.analysis.calibration import Calibration
from overlap.analysis.consistency import PairCounts
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.panel import Panel
from overlap.store.ledger import Manifest
from workflows.cluster import fetch
from workflows.plan import Plan, location
from workflows.reductions import tasks

COMBINERS = ("mean_probability", "mean_log_probability")
CATEGORY_COMBINER = COMBINERS[0]
"""Whose gains the table of categories averages."""

Categories = NDArray[np.object_]


class Logits:
    """The reductions that need logits: those of complete checkpoints, by shard in Ray's object store."""

    def __init__(
        self, panel: Panel, plan: Plan, manifests: dict[str, Manifest], counts: PairCounts, categories: Categories
    ) -> None:
        self._panel, self._plan = panel, plan
        self.models = [model for model in panel.models if model in manifests]
        rows_ = [panel.row(model) for model in self.models]
        self._counts = counts.among(rows_)
        self._categories = categories[np.ix_(rows_, rows_)]
        self.anchors = [name for name in plan.study.ensembles.anchors if name in self.models]
        self.missing_anchors = [name for name in plan.study.ensembles.anchors if name not in self.models]
        self._folds, self._selection = splits.folds(panel.keys), splits.selection(panel.keys)
        self._taking_part = np.ones(sum(map(len, plan.dataset.shards)), np.bool_)
        if panel.images is not None:
            self._taking_part[:] = False
            self._taking_part[panel.images] = True
        self.calibrations = self._calibrate(manifests)
        self._blocks = self._load(manifests)

    def _calibrate(self, manifests: dict[str, Manifest]) -> dict[str, Calibration]:
        where, data = location(self._plan.study), self._plan.dataset.name
        held = ray.put((self._taking_part, self._panel.labels, self._folds))
        fitted = [tasks.calibrate_model.remote(where, data, manifests[model].records, held) for model in self.models]
        return dict(zip(self.models, fetch(fitted), strict=True))

    def _load(self, manifests: dict[str, Manifest]) -> list[Any]:
        """A block for each shard, in order."""
        where, data = location(self._plan.study), self._plan.dataset.name
        calibrations = ray.put([self.calibrations[model] for model in self.models])
        blocks, start, first = [], 0, 0
        for place, shard in enumerate(self._plan.dataset.shards if self.models else ()):
            rows_ = self._taking_part[first : first + len(shard)]
            images = slice(start, start + int(rows_.sum()))
            first, start = first + len(shard), images.stop
            blocks.append(
                tasks.load_block.remote(
                    where,
                    data,
                    [manifests[model].records[place] for model in self.models],
                    calibrations,
                    (rows_, self._panel.labels[images], self._folds[images], self._selection[images]),
                )
            )
        return blocks

    def pair_ensembles(self) -> tuple[pl.DataFrame, tuple[Any, ...]]:
        """The table over all combiners, and the arguments that the table of categories takes of one of them."""
        if not self._blocks:
            return pl.DataFrame(), ()
        held = ray.put((self._counts.right, self._categories))
        tables: list[pl.DataFrame] = []
        combined: tuple[Any, ...] = ()
        counted = {
            combiner: [tasks.count_ensembles.remote(block, held, combiner) for block in self._blocks]
            for combiner in COMBINERS
        }
        for combiner, parts in counted.items():
            total = functools.reduce(operator.add, fetch(parts))
            table = pair_ensembles_table(self.models, self._counts, total, combiner)
            tables.append(table)
            if combiner == CATEGORY_COMBINER:
                combined = (table, total)
        return pl.concat(tables).sort("model_a", "model_b", "combiner"), combined

    def searches(self) -> pl.DataFrame:
        """Greedy searches, from the best single model and from each anchor."""
        if not self._blocks:
            return pl.DataFrame()
        found = [self._search("greedy", None)]
        found += [self._search(f"greedy from {anchor}", self.models.index(anchor)) for anchor in self.anchors]
        selected = int(self._selection.sum())
        return greedy.ensembles_table(self.models, found, selected, len(self._selection) - selected)

    def _search(self, name: str, anchor: int | None) -> greedy.Search:
        def score(members: greedy.Members) -> greedy.Counts:
            counts: greedy.Counts = sum(fetch([tasks.score_block.remote(block, members) for block in self._blocks]))
            return counts

        found = greedy.search(name, score, anchor=anchor, max_size=self._plan.study.ensembles.max_size)
        outcomes = [tasks.evaluate_block.remote(block, found.members, found.reference) for block in self._blocks]
        return greedy.evaluated(found, sum(fetch(outcomes)))
