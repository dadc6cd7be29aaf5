"""The reductions: certified predictions in, tables out, each a sum over blocks that Ray tasks make.

Guarantees: only complete checkpoints and imports that fit take part, the rest is named with its reason; equal inputs
are not reduced twice; the number of tasks and workers cannot change a number. Raises DamagedObject where a certified
object is not what its record says.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import ray

from overlap.analysis import greedy, notes, splits
from overlap.analysis.categories import category_table
from overlap.analysis.consistency import PairCounts
from overlap.analysis.models import models_table
from overlap.analysis.pair_ensembles import pair_ensembles_table
from overlap.errors import StudyError
from overlap.identity import canonical_json, digest
from overlap.imports import Imported, load_imports
from overlap.panel import Panel, assemble
from overlap.published import read_inputs_digest, read_results, write_results
from overlap.report.results import Results
from overlap.store.ledger import Ledger, Manifest
from overlap.store.objects import Objects
from workflows import rows, tasks
from workflows.cluster import Cluster
from workflows.plan import Plan, location
from workflows.publish import provenance

REDUCTIONS = 1
"""Version of what the tables mean; raising it reduces everything again."""
COMBINERS = ("mean_probability", "mean_log_probability")
CATEGORY_COMBINER = COMBINERS[0]
"""Whose gains the table of categories averages."""


@dataclass(frozen=True)
class Inputs:
    """What goes into the reductions of one data set."""

    plan: Plan
    fingerprints: dict[str, str]
    """Of complete checkpoints, by name in ascending order."""
    imported: Sequence[Imported]

    @property
    def digest(self) -> str:
        """Equal digests mean equal tables."""
        plan = self.plan
        return digest(
            canonical_json(
                {
                    "reductions": REDUCTIONS,
                    "dataset": plan.dataset.digest,
                    "labels": plan.dataset.labels.tolist(),
                    "checkpoints": self.fingerprints,
                    "training": {c.id: c.candidate.training.model_dump() for c in plan.checkpoints},
                    "imports": {one.model: one.fingerprint for one in self.imported},
                    "names": rows.class_names(plan),
                    "ensembles": plan.study.ensembles.model_dump(),
                }
            )
        )


def reduce(
    plan: Plan, failed: dict[str, str], objects: Objects, cluster: Cluster, *, force: bool = False
) -> tuple[Results | None, bool]:
    """Reduce what is complete, unless exactly that was reduced before.

    Args:
        plan: fresh.
        failed: why checkpoints are not complete, where that is known.
        objects: the store.
        cluster: started only if there is something to reduce.
        force: reduce again what was reduced before.

    Returns:
        The results, None where no model is complete; and whether they were computed now.
    """
    complete = {c.id: c.fingerprint for c in plan.checkpoints if c.fingerprint in plan.complete}
    inputs = Inputs(plan, dict(sorted(complete.items())), load_imports(plan.dataset.name, objects))
    if not inputs.fingerprints and not inputs.imported:
        if not failed and not plan.checkpoints:
            raise StudyError(
                f"{plan.study.path}: names no models; add a [[checkpoint]] or `overlap import` predictions"
            )
        return None, False
    if not force and read_inputs_digest(plan.dataset.name, objects) == inputs.digest:
        return read_results(plan.dataset.name, objects), False
    cluster.start()
    results = _reduce(inputs, failed, objects)
    write_results(results, objects)
    return results, True


def _reduce(inputs: Inputs, failed: dict[str, str], objects: Objects) -> Results:
    plan, ledger = inputs.plan, Ledger(objects, inputs.plan.dataset.name)
    manifests = rows.manifests(inputs.fingerprints, plan, ledger)
    panel = assemble(
        plan.dataset.keys or None,
        plan.dataset.labels if plan.dataset.shards else None,
        rows.hard_predictions(manifests, plan, ledger),
        inputs.imported,
        plan.dataset.classes,
        rows.class_names(plan),
    )
    categories = rows.categories(panel, plan)
    counts = _counts(panel)
    pairs = _pairs(panel, counts, categories)
    logits = _Logits(panel, plan, manifests, counts, categories)
    ensembles, combined = logits.pair_ensembles()
    searches = logits.searches()
    correct = panel.correct
    by_category = category_table(panel.models, correct, pairs, *combined) if panel.models else pl.DataFrame()
    models = models_table(rows.model_rows(panel, plan, manifests, logits.calibrations, correct))
    absent = rows.absent(panel, plan, failed)
    said = [
        *notes.model_notes(models),
        *notes.pair_notes(pairs),
        *(notes.pair_ensemble_notes(ensembles) if ensembles.width else ()),
        *(notes.category_notes(by_category) if by_category.width else ()),
        *(notes.ensemble_notes(searches, 1 + len(logits.anchors)) if searches.width else ()),
        *(f"shard {file} is left out (allow_missing_shards)" for file in plan.dataset.left_out),
        *(f"anchor '{name}' is not complete: no search starts from it" for name in logits.missing_anchors),
    ]
    return Results(
        study=plan.study.name,
        data=plan.dataset.name,
        dataset_digest=plan.dataset.digest,
        inputs_digest=inputs.digest,
        models=models,
        pairs=pairs,
        pair_ensembles=ensembles,
        ensembles=searches,
        categories=by_category,
        measures=rows.measures(manifests),
        absent=absent,
        notes=said,
        provenance=provenance(plan.study),
    )


def _counts(panel: Panel) -> PairCounts:
    """Joint counts of all pairs, a task for each block of images."""
    prediction, labels = ray.put(panel.prediction), ray.put(panel.labels)
    starts = range(0, max(1, len(panel.labels)), tasks.IMAGES)
    blocks = [tasks.count_pairs.remote(prediction, labels, start) for start in starts]
    return functools.reduce(operator.add, ray.get(blocks))


def _pairs(panel: Panel, counts: PairCounts, categories: np.ndarray) -> pl.DataFrame:
    """The table of pairs, a task for each range of its rows."""
    total = len(panel.models) * (len(panel.models) - 1) // 2
    held = ray.put((panel.models, counts, categories))
    parts = [tasks.pair_rows.remote(held, start) for start in range(0, max(1, total), tasks.PAIRS)]
    return pl.concat(ray.get(parts))


class _Logits:
    """The reductions that need logits: those of complete checkpoints, by shard in Ray's object store."""

    def __init__(
        self, panel: Panel, plan: Plan, manifests: dict[str, Manifest], counts: PairCounts, categories: np.ndarray
    ) -> None:
        self._panel, self._plan = panel, plan
        self.models = [model for model in panel.models if model in manifests]
        rows_ = [panel.row(model) for model in self.models]
        self._counts = PairCounts(
            counts.n, counts.both_right[np.ix_(rows_, rows_)], counts.disagreement[np.ix_(rows_, rows_)]
        )
        self._categories = categories[np.ix_(rows_, rows_)]
        self.anchors = [name for name in plan.study.ensembles.anchors if name in self.models]
        self.missing_anchors = [name for name in plan.study.ensembles.anchors if name not in self.models]
        self._folds, self._selection = splits.folds(panel.keys), splits.selection(panel.keys)
        self.calibrations = self._calibrate(manifests)
        self._blocks = self._load(manifests)

    def _calibrate(self, manifests: dict[str, Manifest]) -> dict[str, object]:
        where, data = location(self._plan.study), self._plan.dataset.name
        held = ray.put((self._panel.labels, self._folds))
        fitted = [tasks.calibrate_model.remote(where, data, manifests[model].records, held) for model in self.models]
        return dict(zip(self.models, ray.get(fitted), strict=True))

    def _load(self, manifests: dict[str, Manifest]) -> list[ray.ObjectRef]:
        """A block for each shard, in order."""
        where, data = location(self._plan.study), self._plan.dataset.name
        calibrations = ray.put([self.calibrations[model] for model in self.models])
        blocks, start = [], 0
        for place, shard in enumerate(self._plan.dataset.shards if self.models else ()):
            images = slice(start, start + len(shard))
            start += len(shard)
            blocks.append(
                tasks.load_block.remote(
                    where,
                    data,
                    [manifests[model].records[place] for model in self.models],
                    calibrations,
                    (self._panel.labels[images], self._folds[images], self._selection[images]),
                )
            )
        return blocks

    def pair_ensembles(self) -> tuple[pl.DataFrame, tuple]:
        """The table over all combiners, and the arguments that the table of categories takes of one of them."""
        if not self._blocks:
            return pl.DataFrame(), ()
        held = ray.put((self._counts.right, self._categories))
        tables, combined = [], ()
        counted = {
            combiner: [tasks.count_ensembles.remote(block, held, combiner) for block in self._blocks]
            for combiner in COMBINERS
        }
        for combiner, parts in counted.items():
            total = functools.reduce(operator.add, ray.get(parts))
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
        def score(members: greedy.Members) -> np.ndarray:
            return sum(ray.get([tasks.score_block.remote(block, members) for block in self._blocks]))

        found = greedy.search(name, score, anchor=anchor, max_size=self._plan.study.ensembles.max_size)
        outcomes = [tasks.evaluate_block.remote(block, found.members, found.reference) for block in self._blocks]
        return greedy.evaluated(found, sum(ray.get(outcomes)))
