"""`overlap run`: plan, predict, certify, reduce, publish, for every data set of a study.

Idempotent and incremental: what the store certifies is not computed again, and a run that finds nothing new starts no
cluster. A broken checkpoint is named and left out, a damaged object is computed again; MLflow is told last, and may be
down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from overlap.errors import DamagedObject
from overlap.imports import DEFAULT_DATA
from overlap.report.results import Results
from overlap.store.ledger import Record
from overlap.store.objects import Objects, check, open_objects
from overlap.study import Study
from workflows import publish
from workflows.certify import certify
from workflows.cluster import Cluster
from workflows.fanout import FanOut, FanOutResult
from workflows.plan import Plan, imports_only, location, make_plan, refresh
from workflows.reduce import reduce
from workflows.stage import stage_for_cluster

ROUNDS = 3
"""How often damaged objects are computed again before a study is given up."""


class Tell(Protocol):
    """Where a run says what it is doing."""

    def say(self, text: str) -> None:
        """One line for the reader."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a stage is."""


@dataclass
class Outcome:
    """What a run came to on one data set."""

    data: str
    units: int = 0
    """Units that were missing at the start."""
    computed: int = 0
    images_decoded: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Checkpoints that are not complete, with the reason."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Shards that nobody can read, with the reason: nothing was reduced because of them."""
    reduced: bool = False
    """Whether results were computed by this run; False where they were there already, or could not be."""
    results: Results | None = None
    report: str | None = None
    """Where the report is."""
    tracking_error: str | None = None

    def summary(self) -> dict[str, Any]:
        """The outcome as plain JSON, without the tables."""
        return {name: value for name, value in vars(self).items() if name != "results"} | {
            "inputs": self.results.inputs_digest if self.results is not None else None
        }

    @property
    def exit_code(self) -> int:
        """0 where everything the study names is in the results, else 3."""
        return 3 if self.failed or self.blocked else 0


def run(
    study: Study, tell: Tell, *, address: str | None = None, limit: int | None = None, verify: bool = False
) -> list[Outcome]:
    """Bring every data set of a study up to date.

    Args:
        study: what to do.
        tell: hears of the progress.
        address: of a running Ray cluster; None starts Ray on this machine, if there is anything to do.
        limit: only so many leading images, for a smoke run; kept apart from the whole.
        verify: trust no memo and check every certified object.

    Raises:
        StudyError: a mistake in the study; StoreError: the store cannot be used.
    """
    objects = open_objects(location(study))
    check(objects)
    with Cluster(address, study.path.parent) as cluster:
        if not study.data:
            return [
                _reduce_and_publish(imports_only(study, DEFAULT_DATA), objects, cluster, tell, Outcome(DEFAULT_DATA))
            ]
        return [_run_data(study, name, objects, cluster, tell, limit, verify) for name in study.data]


def _run_data(
    study: Study, name: str, objects: Objects, cluster: Cluster, tell: Tell, limit: int | None, verify: bool
) -> Outcome:
    plan = make_plan(study, name, limit=limit, verify=verify, mapper=cluster.map)
    outcome = Outcome(plan.dataset.name, units=plan.units)
    publish.plan(plan, objects)
    plan = _predict(plan, objects, cluster, tell, outcome, verify=verify)
    return _reduce_and_publish(plan, objects, cluster, tell, outcome)


def _predict(plan: Plan, objects: Objects, cluster: Cluster, tell: Tell, outcome: Outcome, *, verify: bool) -> Plan:
    """Compute what is missing and certify checkpoints, until the store holds all that can be had."""
    damaged: Sequence[Record] = ()
    for _ in range(ROUNDS):
        result = FanOutResult()
        if plan.units:
            cluster.start()
            tell.say(f"{plan.dataset.name}: {plan.units} units to predict ({len(plan.distinct)} checkpoints)")
            staged = stage_for_cluster(plan, objects, cluster)
            result = FanOut(staged, damaged, lambda done, total: tell.progress("predict", done, total)).run()
        outcome.computed += result.computed
        outcome.images_decoded += result.images_decoded
        outcome.blocked.update(result.bad_shards)
        outcome.failed.update(publish.failures(plan, result.failed, objects))
        plan = refresh(plan, objects, verify=verify)
        damaged = certify(plan, objects, cluster.map)
        for record in damaged:
            tell.say(f"damaged: {record.object}; its unit is computed again")
        plan = refresh(plan, objects, damaged=damaged)
        verify = False
        if not damaged:
            break
    return plan


def _reduce_and_publish(plan: Plan, objects: Objects, cluster: Cluster, tell: Tell, outcome: Outcome) -> Outcome:
    outcome.failed.update({rejected.id: rejected.reason for rejected in plan.rejected})
    outcome.blocked.update(plan.dataset.unreadable)
    publish.shards(plan, outcome.blocked, objects)
    if outcome.blocked:
        return outcome
    for last in (False, True):
        try:
            outcome.results, outcome.reduced = reduce(plan, outcome.failed, objects, cluster, force=last)
            break
        except DamagedObject as error:
            if last:
                raise
            tell.say(f"damaged: {error}; checking everything and computing it again")
            plan = _predict(refresh(plan, objects, verify=True), objects, cluster, tell, outcome, verify=True)
    if outcome.results is not None:
        outcome.failed.update(outcome.results.absent)
        outcome.report, outcome.tracking_error = publish.results(
            plan.study, outcome.results, objects, fresh=outcome.reduced
        )
    return outcome
