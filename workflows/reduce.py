"""The reductions: certified predictions in, tables out, each a sum over blocks that Ray tasks make.

Guarantees: only complete checkpoints and imports that fit take part, the rest is named with its reason; equal inputs
are not reduced twice; the number of tasks and workers cannot change a number. Raises DamagedObject where a certified
object is not what its record says.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import ray

from overlap.analysis import notes
from overlap.analysis.categories import category_table
from overlap.analysis.consistency import PairCounts
from overlap.analysis.models import models_table
from overlap.errors import StudyError
from overlap.identity import canonical_json, digest
from overlap.imports import Imported, load_imports
from overlap.panel import Panel, assemble
from overlap.published import read_inputs_digest, read_results, write_results
from overlap.report.results import Results
from overlap.store.ledger import Ledger
from overlap.store.objects import Objects
from workflows import rows, tasks
from workflows.cluster import Cluster, fetch
from workflows.gate import Gate
from workflows.logits import Categories, Logits
from workflows.plan import Plan
from workflows.publish import provenance

REDUCTIONS = 1
"""Version of what the tables mean; raising it reduces everything again."""


@dataclass(frozen=True)
class Inputs:
    """What goes into the reductions of one data set."""

    plan: Plan
    fingerprints: dict[str, str]
    """Of complete checkpoints, by name in ascending order."""
    imported: Sequence[Imported]
    gate: Gate

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
                    "rejected": sorted(rejected.id for rejected in plan.rejected),
                    "imports": {one.model: one.fingerprint for one in self.imported},
                    "names": rows.class_names(plan),
                    "ensembles": plan.study.ensembles.model_dump(),
                    "gate": self.gate.identity,
                }
            )
        )


def reduce(
    plan: Plan,
    failed: dict[str, str],
    objects: Objects,
    cluster: Cluster,
    *,
    carried: Mapping[str, str] | None = None,
    force: bool = False,
) -> tuple[Results | None, bool]:
    """Reduce what is complete, unless exactly that was reduced before.

    Args:
        plan: fresh.
        failed: why checkpoints are not complete, where that is known.
        objects: the store.
        cluster: started only if there is something to reduce.
        carried: models that are quarantined on another data set of the study, with the reason.
        force: reduce again what was reduced before.

    Returns:
        The results, None where no model is complete; and whether they were computed now.
    """
    complete = {c.id: c.fingerprint for c in plan.checkpoints if c.fingerprint in plan.complete}
    imported = load_imports(plan.dataset.name, objects)
    gate = Gate(plan, tuple(one.model for one in imported), carried or {})
    inputs = Inputs(plan, dict(sorted(complete.items())), imported, gate)
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
    whole = assemble(
        plan.dataset.keys or None,
        plan.dataset.labels if plan.dataset.shards else None,
        rows.hard_predictions(manifests, plan, ledger),
        inputs.imported,
        plan.dataset.classes,
        rows.class_names(plan),
        reserved={*(one.id for one in plan.checkpoints), *(one.id for one in plan.rejected)},
    )
    gated = inputs.gate.judge(whole)
    panel = whole.less(gated.quarantined)
    categories = rows.categories(panel, plan)
    counts = _counts(panel)
    pairs = _pairs(panel, counts, categories)
    logits = Logits(panel, plan, manifests, counts, categories)
    ensembles, combined = logits.pair_ensembles()
    searches = logits.searches()
    by_category = category_table(panel.models, panel.correct, pairs, *combined) if panel.models else pl.DataFrame()
    models = models_table(rows.model_rows(whole, plan, manifests, logits.calibrations, gated.quarantined))
    absent = rows.absent(whole, plan, failed, gated)
    said = [
        *(f"shard {file} is left out (allow_missing_shards)" for file in plan.dataset.left_out),
        *gated.notes,
        *(
            f"anchor '{name}' is not complete, or quarantined: no search starts from it"
            for name in logits.missing_anchors
        ),
        *rows.class_notes(panel, plan),
        *notes.model_notes(models),
        *notes.pair_notes(pairs),
        *(notes.pair_ensemble_notes(ensembles) if ensembles.width else ()),
        *(notes.category_notes(by_category) if by_category.width else ()),
        *(notes.ensemble_notes(searches, 1 + len(logits.anchors)) if searches.width else ()),
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
        measures=rows.measures(manifests, gated),
        absent=absent,
        notes=said,
        provenance=provenance(plan.study),
    )


def _counts(panel: Panel) -> PairCounts:
    """Joint counts of all pairs, a task for each block of images."""
    prediction, labels = ray.put(panel.prediction), ray.put(panel.labels)
    starts = range(0, max(1, len(panel.labels)), tasks.IMAGES)
    blocks = [tasks.count_pairs.remote(prediction, labels, start) for start in starts]
    counts: PairCounts = functools.reduce(operator.add, fetch(blocks))
    return counts


def _pairs(panel: Panel, counts: PairCounts, categories: Categories) -> pl.DataFrame:
    """The table of pairs, a task for each range of its rows."""
    total = len(panel.models) * (len(panel.models) - 1) // 2
    held = ray.put((panel.models, counts, categories))
    parts = [tasks.pair_rows.remote(held, start) for start in range(0, max(1, total), tasks.PAIRS)]
    tables: list[pl.DataFrame] = fetch(parts)
    return pl.concat(tables)
