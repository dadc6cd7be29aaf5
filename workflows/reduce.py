"""The reductions: certified predictions in, tables out, each a sum over blocks that Ray tasks make.

Guarantees: only complete checkpoints and imports that fit take part, the rest is named with its reason; equal inputs
are not reduced twice; the number of tasks and workers cannot change a number. Raises DamagedObject where a certified
object is not what its record says.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from overlap.analysis import notes
from overlap.analysis.categories import category_table
from overlap.analysis.models import models_table
from overlap.errors import StudyError
from overlap.images.truths import Truth
from overlap.imports import load_imports
from overlap.published import read_inputs_digest, read_results, write_results
from overlap.report.results import Results
from overlap.store.objects import Objects
from workflows.cluster import Cluster
from workflows.gate import Gate
from workflows.plan import Plan
from workflows.publish import provenance
from workflows.reductions import pairs, rows
from workflows.reductions.logits import Logits
from workflows.reductions.subject import Subject


def reduce(
    plan: Plan,
    failed: dict[str, str],
    objects: Objects,
    cluster: Cluster,
    *,
    truth: Truth | None = None,
    carried: Mapping[str, str] | None = None,
    force: bool = False,
) -> tuple[Results | None, bool]:
    """Reduce what is complete, unless exactly that was reduced before.

    Args:
        plan: fresh.
        failed: why checkpoints are not complete, where that is known.
        objects: the store.
        cluster: started only if there is something to reduce.
        truth: what to hold true; None for the labels in the shards.
        carried: models that are quarantined already, with the reason.
        force: reduce again what was reduced before.

    Returns:
        The results, None where no model is complete; and whether they were computed now.
    """
    complete = {c.id: c.fingerprint for c in plan.checkpoints if c.fingerprint in plan.complete}
    imported = tuple(load_imports(plan.dataset.name, objects))
    gate = Gate(plan, tuple(one.model for one in imported), carried or {}, known=truth is not None)
    subject = Subject(plan, truth, dict(sorted(complete.items())), imported, gate, objects)
    if not subject.fingerprints and not subject.imported:
        if not failed and not plan.checkpoints:
            raise StudyError(
                f"{plan.study.path}: names no models; add a [[checkpoint]] or `overlap import` predictions"
            )
        return None, False
    if not force and read_inputs_digest(subject.name, objects) == subject.digest:
        return read_results(subject.name, objects), False
    cluster.start()
    results = _reduce(subject, failed)
    write_results(results, objects)
    return results, True


def _reduce(subject: Subject, failed: dict[str, str]) -> Results:
    plan = subject.plan
    whole = subject.panel()
    gated = subject.gate.judge(whole)
    panel = whole.less(gated.quarantined)
    categories = rows.categories(panel, plan)
    counts = pairs.count(panel)
    table = pairs.table(panel, counts, categories)
    logits = Logits(panel, plan, subject.manifests, counts, categories)
    ensembles, combined = logits.pair_ensembles()
    searches = logits.searches()
    by_category = category_table(panel.models, panel.correct, table, *combined) if panel.models else pl.DataFrame()
    models = models_table(rows.model_rows(whole, plan, subject.manifests, logits.calibrations, gated.quarantined))
    said = [
        *(f"shard {file} is left out (allow_missing_shards)" for file in plan.dataset.left_out),
        *rows.truth_notes(subject.truth, whole),
        *gated.notes,
        *(
            f"anchor '{name}' is not complete, or quarantined: no search starts from it"
            for name in logits.missing_anchors
        ),
        *rows.class_notes(panel, plan),
        *notes.model_notes(models),
        *notes.pair_notes(table),
        *(notes.pair_ensemble_notes(ensembles) if ensembles.width else ()),
        *(notes.category_notes(by_category) if by_category.width else ()),
        *(notes.ensemble_notes(searches, 1 + len(logits.anchors)) if searches.width else ()),
    ]
    return Results(
        study=plan.study.name,
        data=subject.name,
        dataset_digest=plan.dataset.digest,
        inputs_digest=subject.digest,
        models=models,
        pairs=table,
        pair_ensembles=ensembles,
        ensembles=searches,
        categories=by_category,
        measures=rows.measures(subject.manifests, gated),
        absent=rows.absent(whole, plan, failed, gated),
        notes=said,
        provenance=provenance(plan.study),
    )
