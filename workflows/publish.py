"""What a run leaves for others to read: who is in the study, what failed and why, the report, and the MLflow view."""

from __future__ import annotations

import datetime
import io
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import overlap
from overlap import settled
from overlap.ensemble import challenge
from overlap.errors import OverlapError, TrackingError
from overlap.identity import canonical_json
from overlap.images.truths import Truth
from overlap.published import Snapshot, read_results, read_snapshot, reduced_data_sets, write_snapshot
from overlap.report.figures import Figure, draw_figures
from overlap.report.page import render_page
from overlap.report.results import Results
from overlap.settled import RETRY_HOURS, hours_since
from overlap.store import layout, schedules
from overlap.store.ledger import Ledger
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.store.tables import Labels, encode_labels
from overlap.store.turns import turn
from overlap.study import Study
from workflows import across
from workflows.plan import Plan, location

if TYPE_CHECKING:
    import polars as pl

REPORT = "report.html"


def plan(plan: Plan, objects: Objects) -> None:
    """Write down what the study resolves to: identities, labels, and the snapshot that `status` reads."""
    identities = {layout.identity(each.id, each.fingerprint): each for each in plan.checkpoints}
    held = {info.key for info in objects.list(layout.identities_prefix())} if identities else set()
    for key, checkpoint in identities.items():
        if key not in held:
            objects.put_if_absent(key, canonical_json(checkpoint.identity()))
    dataset = plan.dataset
    if dataset.shards:
        objects.put(layout.labels(dataset.name), encode_labels(Labels(dataset.keys, dataset.labels)))
    write_snapshot(
        Snapshot(
            study=plan.study.name,
            data=dataset.name,
            dataset=dataset.digest,
            classes=dataset.classes,
            shards={shard.name: len(shard) for shard in dataset.shards},
            files={shard.name: shard.file for shard in dataset.shards},
            models={checkpoint.id: checkpoint.fingerprint for checkpoint in plan.checkpoints},
            rejected={rejected.id: rejected.reason for rejected in plan.rejected},
            bad_shards=dict(dataset.unreadable),
            left_out=list(dataset.left_out),
            role=plan.role,
        ),
        objects,
    )


def truth(plan: Plan, truth: Truth, objects: Objects) -> None:
    """Write down what another truth accepts of each image."""
    buffer = io.BytesIO()
    truth.table(plan.dataset.keys).write_parquet(buffer)
    objects.put(layout.labels(plan.dataset.name, truth.name), buffer.getvalue())


def shards(plan: Plan, bad: dict[str, str], objects: Objects) -> None:
    """Add the shards that turned out unreadable to the snapshot."""
    snapshot = read_snapshot(plan.dataset.name, objects)
    if snapshot is not None and snapshot.bad_shards != bad:
        write_snapshot(replace(snapshot, bad_shards=bad), objects)


def known_failures(plan: Plan, objects: Objects) -> dict[str, str]:
    """Checkpoints that failed as they are now, less than a day ago: the reason by fingerprint."""
    noted = {failure.fingerprint: failure for failure in Ledger(objects, plan.dataset.name).failures()}
    recent = {
        one: failure for one, failure in noted.items() if one is not None and hours_since(failure.at) < RETRY_HOURS
    }
    return {one: recent[one].reason for one, missing in plan.missing.items() if missing and one in recent}


def failures(plan: Plan, failed: dict[str, str], objects: Objects, known: Mapping[str, str]) -> dict[str, str]:
    """Record why checkpoints failed, forget it of those that did not; returns the reasons by checkpoint name.

    Args:
        plan: of the data set.
        failed: what failed just now, by fingerprint.
        objects: the store.
        known: what failed before and was not tried again; its notes stay as they are.
    """
    ledger = Ledger(objects, plan.dataset.name)
    told = {**known, **failed}
    reasons = {c.id: told[c.fingerprint] for c in plan.checkpoints if c.fingerprint in told}
    for stale in {failure.model for failure in ledger.failures()} - set(reasons):
        ledger.clear_failures(stale)
    for checkpoint in plan.checkpoints:
        if checkpoint.fingerprint in failed:
            ledger.fail(checkpoint.id, None, checkpoint.fingerprint, reasons[checkpoint.id], "checkpoint")
    return reasons


def results(
    study: Study, results: Results, objects: Objects, *, fresh: bool, beside: pl.DataFrame | None = None
) -> tuple[str, str | None]:
    """Write the report and bring MLflow up to date, each only if it is not so already.

    Args:
        study: names the tracking server.
        results: what to show.
        objects: the store.
        fresh: the results were computed just now, or are to be shown again whatever was shown before.
        beside: how they compare with those on the study's other data sets; None for what the store says of it.

    Returns:
        Where the report is, and why MLflow could not be told (None if it was, or is not wanted).
    """
    compared = across.stored(results, objects) if beside is None else beside
    ran = schedules.newest(layout.parted(results.data)[0], objects)
    results = replace(results, schedule=ran, across=compared)
    figures = cache(partial(draw_figures, results))
    page = cache(lambda: render_page(results, figures()))
    key = layout.results(results.data, REPORT)
    if fresh or objects.head(key) is None:
        objects.put(key, page().encode())
    try:
        _track(study, results, objects, figures, page, fresh=fresh)
    except TrackingError as error:
        return f"{objects.uri}/{key}", str(error)
    return f"{objects.uri}/{key}", _crown(study, results, objects, fresh=fresh)


def again(study: Study) -> list[tuple[str, str, str | None]]:
    """Publish the stored results of every data set of a study again: (data, report, tracking error) each."""
    objects = open_objects(location(study))
    stored = ((data, read_results(data, objects)) for data in reduced_data_sets(objects))
    return [(data, *results(study, found, objects, fresh=True)) for data, found in stored if found is not None]


def _track(
    study: Study,
    results: Results,
    objects: Objects,
    figures: Callable[[], list[Figure]],
    page: Callable[[], str],
    *,
    fresh: bool,
) -> None:
    uri = study.tracking.uri
    told = settled.told(uri, results.data, results.inputs_digest)
    if uri == "none" or (not fresh and objects.head(told) is not None):
        return
    from overlap.tracking import Tracker

    with turn(objects, "tracking"):  # MLflow knows no conditional create: two at a time would make twins
        if not fresh and objects.head(told) is not None:
            return
        about = {
            "command": "overlap run",
            "data": results.data,
            "overlap": overlap.__version__,
            "study": str(study.path),
        }
        Tracker(uri, study.name, invocation=results.inputs_digest, about=about).sync(results, figures, page)
        objects.put(told, canonical_json({"uri": uri, "data": results.data, "inputs": results.inputs_digest}))


def _crown(study: Study, results: Results, objects: Objects, *, fresh: bool) -> str | None:
    """See whether the best ensemble is champion now; why that could not be said."""
    if not challenge.wanted(study, results.data):
        return None
    if not fresh and challenge.told(study, results, objects) is not None:
        return None
    try:
        with turn(objects, "champion"):
            challenge.settle(study, results, objects)
    except OverlapError as error:
        return f"champion: {error}"
    return None


def provenance(study: Study) -> dict[str, str]:
    """Where and by what a reduction was made."""
    made = {
        "overlap": overlap.__version__,
        "python": platform.python_version(),
        "host": platform.node(),
        "study": str(study.path),
        "store": study.store.uri,
        "reduced": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    commit = subprocess.run(
        ["git", "-C", str(Path(overlap.__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return made | ({"git": commit.stdout.strip()} if commit.returncode == 0 else {})
