"""The reductions: certified predictions in, tables out, each a sum over blocks that Ray tasks make.

Guarantees: only complete checkpoints and imports that fit take part, the rest is named with its reason; equal inputs
are not reduced twice; the number of tasks and workers cannot change a number. Raises DamagedObject where a certified
object is not what its record says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from overlap.analysis.categories import category_table
from overlap.analysis.detail import choose
from overlap.analysis.gain_fits import gain_fits_table
from overlap.analysis.models import models_table
from overlap.analysis.notes import table_notes
from overlap.analysis.some_pairs import categorised
from overlap.earlier import Earlier, read_earlier
from overlap.errors import StudyError
from overlap.images.truths import Truth
from overlap.imports import load_imports
from overlap.published import read_inputs_digest, read_results, write_results
from overlap.report.results import Results
from overlap.report.tables import FIRST
from overlap.store.objects import Objects
from overlap.store.turns import turn
from workflows.changes import news
from workflows.gate import Gate
from workflows.nodes.cluster import Cluster
from workflows.plan import Plan
from workflows.publish import provenance
from workflows.reductions import champions, costs, counting, features, pairs, rows
from workflows.reductions.answers import read
from workflows.reductions.asked import asked
from workflows.reductions.companions import Companion
from workflows.reductions.divergence import diverge
from workflows.reductions.pair_ensembles import combine
from workflows.reductions.pictures import pictures
from workflows.reductions.searches import search, weak_helps
from workflows.reductions.specialisation import specialise
from workflows.reductions.subject import Subject
from workflows.reductions.tops.study import TopStudy, tabulate

LONG = (
    "`pairs.parquet` has {:,} rows, too many for the page: tables and figures of single pairs are left out of it, not "
    "out of the results"
)
"""What is said where the table of pairs is too long to be held."""


def reduce(
    plan: Plan,
    failed: dict[str, str],
    objects: Objects,
    cluster: Cluster,
    companions: Sequence[Plan] = (),
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
        companions: fresh plans of the data sets whose features are wanted too.
        truth: what to hold true; None for the labels in the shards.
        carried: models that are quarantined already, with the reason.
        force: reduce again what was reduced before.

    Returns:
        The results, None where no model is complete; and whether they were computed now.
    """
    complete = {c.id: c.fingerprint for c in plan.checkpoints if c.fingerprint in plan.complete}
    imported = tuple(load_imports(plan.dataset.name, objects))
    gate = Gate(plan, tuple(one.model for one in imported), carried or {}, known=truth is not None)
    beside = tuple(Companion.of(each, objects, plan.study.features.train_images) for each in companions)
    subject = Subject(plan, truth, dict(sorted(complete.items())), imported, gate, objects, beside)
    if not subject.fingerprints and not subject.imported:
        if not failed and not plan.checkpoints:
            raise StudyError(
                f"{plan.study.path}: names no models; add a [[checkpoint]] or `overlap import` predictions"
            )
        return None, False
    if not force and read_inputs_digest(subject.name, objects) == subject.digest:
        return read_results(subject.name, objects), False
    cluster.start()
    with turn(objects, f"reduce-{subject.name}"):  # one driver computes and publishes, another finds it done
        if not force and read_inputs_digest(subject.name, objects) == subject.digest:
            return read_results(subject.name, objects), False
        results = _reduce(subject, failed, read_earlier(subject.name, objects))
        write_results(results, objects)
    return results, True


def _reduce(subject: Subject, failed: dict[str, str], earlier: Earlier | None) -> Results:
    plan, study = subject.plan, subject.plan.study
    whole = subject.panel()
    gated = subject.gate.judge(whole)
    panel = whole.less(gated.quarantined)
    categories, groups = rows.categories(panel, plan), rows.groups(plan)

    counted = costs.count(plan)
    detail = choose(subject.identities(panel.models), categories, study.analysis.detailed_pairs)
    some = detail.pairs
    counts = pairs.count(panel) if some is None else pairs.count_some(panel, some)
    written = pairs.write(panel, categories)
    table = written.scan()
    top = TopStudy()
    if study.predict.output == "top":
        top = tabulate(panel, plan, subject.manifests, counts, categories, counted, some)
    answers = read(panel, plan, {} if study.predict.output == "top" else subject.manifests)
    (top.asked or asked(answers)).write(subject.objects, subject.name, subject.digest)
    own = categories.among(answers.rows)
    joint, mine = counts.among(answers.rows), None if some is None else some.among(answers.rows)
    ensembles = combine(answers, joint, own, mine)
    main, main_counts = (top.main, top.counts) if ensembles is None else (ensembles.main, ensembles.counts)

    tables = diverge(panel, counts, categories, rows.trainings(panel, plan), answers, main, study.analysis, some)
    more, said = specialise(panel, table, categories, answers, joint, groups, mine)
    tables |= more
    by_category = category_table(panel.models, panel.correct, table, main, main_counts)
    tables |= top.tables
    if ensembles is not None and main is not None:
        fits = gain_fits_table(categorised(answers.models, own, mine), ensembles.table, sampled=mine is not None)
        tables |= {"pair_ensembles": ensembles.table, "gain_fits": fits}
        tables |= {"weak_helps": weak_helps(answers, joint, main, mine)}
    priced = costs.of(answers.models, plan, subject.manifests, counted)
    found, missing, searched = search(answers, own, priced, study.ensembles)
    missing = [name for name in missing if name not in top.calibrations]
    looked_up = [searched, *([ensembles.looked_up] if ensembles is not None else [])]
    looked_up.append(champions.remember(subject, answers, found))
    tables |= found
    more, left_out = features.compare(panel, plan, subject.manifests, categories, subject.companions, study.features)
    tables |= more
    thumbnails, unread = pictures(plan, tables["driving"], tables["divisive"])
    tables |= {
        "models": models_table(
            rows.model_rows(whole, plan, subject.manifests, answers.by_name | top.calibrations, gated.quarantined)
        ),
        "pairs": written.frame(),
        "categories": by_category,
    }
    notes = [
        *rows.data_notes(subject.truth, whole, plan),
        *gated.notes,
        *(f"anchor '{name}' is not complete, or quarantined: no search starts from it" for name in missing),
        *rows.class_notes(panel, plan),
        *([] if written.is_held else [LONG.format(written.rows)]),
        *detail.notes,
        *table_notes(tables | {"pairs": table}),
        *said,
        *top.notes,
        *left_out,
        *unread,
    ]
    results = Results(
        study=study.name,
        data=subject.name,
        dataset_digest=plan.dataset.digest,
        inputs_digest=subject.digest,
        **dict[str, Any]({name: tables.pop(name) for name in FIRST if name in tables}),
        more=tables,
        files={"pairs": written},
        thumbnails=thumbnails,
        measures=rows.measures(subject.manifests, gated),
        absent=rows.absent(whole, plan, failed, gated),
        notes=notes,
        provenance=provenance(study) | counting.told(answers, looked_up) | top.told | detail.provenance,
    )
    if earlier is None:
        return results
    if earlier.inputs_digest == subject.digest:  # made again since it was damaged: what was new then still is
        return replace(results, news=earlier.news)
    told, compared = news.since(earlier, results, panel, answers, subject.objects)
    read_too = counting.told(answers, [*looked_up, compared])
    return replace(results, news=told.plain(), provenance={**results.provenance, **read_too, **top.told})
