"""`overlap run`: plan, predict, certify, reduce, publish, for every data set of a study.

Idempotent and incremental: what the store certifies is not computed again, and a run that finds nothing new starts no
cluster. A broken checkpoint is named and left out, a damaged object is computed again; MLflow is told last, and may be
down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overlap.errors import DamagedObject
from overlap.images.dataset import in_process
from overlap.imports import DEFAULT_DATA, imported_data_sets
from overlap.store.ledger import Record
from overlap.store.objects import Objects, check, open_objects
from overlap.study import Study
from workflows import across, gate, publish
from workflows.certify import certify
from workflows.cluster import Cluster
from workflows.crew import Crew
from workflows.fanout import FanOut
from workflows.outcome import Outcome, Tell
from workflows.plan import Plan, imports_only, location, make_plan, no_network, refresh
from workflows.reduce import reduce
from workflows.stage import stage_for_cluster

ROUNDS = 3
"""How often damaged objects are computed again before a study is given up."""


def run(
    study: Study,
    tell: Tell,
    *,
    address: str | None = None,
    limit: int | None = None,
    verify: bool = False,
    offline: bool = False,
) -> list[Outcome]:
    """Bring every data set of a study up to date.

    Args:
        study: what to do.
        tell: hears of the progress.
        address: of a running Ray cluster; None starts Ray on this machine, if there is anything to do.
        limit: only so many leading images, for a smoke run; kept apart from the whole.
        verify: trust no memo and check every certified object.
        offline: ask no hub and no web server for weights; which files that leaves missing is said at once.

    Raises:
        StudyError: a mistake in the study; StoreError: the store cannot be used.
    """
    objects = open_objects(location(study))
    check(objects)
    with Cluster(address, study.path.parent) as cluster:
        driver = _Driver(study, objects, cluster, Crew(study), tell)
        if not study.data:
            names = imported_data_sets(objects) or [DEFAULT_DATA]
            outcomes = [driver.reduce_imports(name) for name in names]
            across.compare(outcomes, objects)
            return outcomes
        # Another machine does not have this one's files: then they are hashed here.
        mapper = in_process if address is not None and study.names_local_files else cluster.map
        plans = [
            make_plan(study, name, limit=limit, verify=verify, offline=offline, mapper=mapper) for name in study.data
        ]
        for line in no_network([rejected for plan in plans for rejected in plan.rejected]):
            tell.say(line)
        outcomes = [Outcome(plan.dataset.name, units=plan.units) for plan in plans]
        predicted = [driver.predict(*each, verify=verify) for each in zip(plans, outcomes, strict=True)]
        driver.reduce_all(predicted, outcomes)
        if limit is None:
            across.compare(outcomes, objects)
        return outcomes


@dataclass(frozen=True)
class _Driver:
    """The stages of a run, with what they all need."""

    study: Study
    objects: Objects
    cluster: Cluster
    crew: Crew
    tell: Tell

    def reduce_imports(self, name: str) -> Outcome:
        """Reduce predictions that were made elsewhere, where there is nothing to predict."""
        plan = imports_only(self.study, name)
        publish.plan(plan, self.objects)
        return self.reduce(plan, Outcome(name))

    def reduce_all(self, plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> None:
        """Reduce every data set, first those that published figures are about: what fails there is left out of all."""
        carried: dict[str, str] = {}
        pairs = list(zip(plans, outcomes, strict=True))
        for plan, outcome in sorted(pairs, key=lambda each: not gate.is_gated(self.study, each[0].dataset.name)):
            self.reduce(plan, outcome, carried)
            if outcome.results is not None:
                carried |= gate.carry(outcome.results)

    def predict(self, plan: Plan, outcome: Outcome, *, verify: bool) -> Plan:
        """Compute what is missing and certify checkpoints, until the store holds all that can be had."""
        publish.plan(plan, self.objects)
        damaged: Sequence[Record] = ()
        for _ in range(ROUNDS):
            failed = self._fan_out(plan, damaged, outcome) if plan.units else {}
            outcome.failed.update(publish.failures(plan, failed, self.objects))
            plan = refresh(plan, self.objects, verify=verify)
            damaged = certify(plan, self.objects, self.cluster.map)
            for record in damaged:
                self.tell.say(f"damaged: {record.object}; its unit is computed again")
            plan = refresh(plan, self.objects, damaged=damaged)
            verify = False
            if not damaged:
                break
        return plan

    def _fan_out(self, plan: Plan, damaged: Sequence[Record], outcome: Outcome) -> dict[str, str]:
        """One fan-out of the missing units; returns why checkpoints failed, by fingerprint."""
        self.cluster.start()
        self.tell.say(f"{plan.dataset.name}: {plan.units} units of {len(plan.distinct)} checkpoints to predict")
        staged = stage_for_cluster(plan, self.objects, self.cluster)
        result = FanOut(staged, self.crew, damaged, lambda *done: self.tell.progress("predict", *done)).run()
        outcome.computed += result.computed
        outcome.images_decoded += result.images_decoded
        outcome.blocked.update(result.bad_shards)
        return result.failed

    def reduce(self, plan: Plan, outcome: Outcome, carried: Mapping[str, str] | None = None) -> Outcome:
        """Reduce what is complete and publish it, unless a shard that nobody can read blocks it."""
        outcome.failed.update({rejected.id: rejected.reason for rejected in plan.rejected})
        outcome.blocked.update(plan.dataset.unreadable)
        publish.shards(plan, outcome.blocked, self.objects)
        if outcome.blocked:
            return outcome
        self.crew.dismiss()  # their memory is wanted now
        try:
            results, outcome.reduced = reduce(plan, outcome.failed, self.objects, self.cluster, carried=carried)
        except DamagedObject as error:
            self.tell.say(f"damaged: {error}; everything is checked, and computed again where it must be")
            plan = self.predict(refresh(plan, self.objects, verify=True), outcome, verify=True)
            results, outcome.reduced = reduce(
                plan, outcome.failed, self.objects, self.cluster, carried=carried, force=True
            )
        if results is not None:
            outcome.results = results
            outcome.failed = {**results.absent, **outcome.failed}  # results may be of an earlier run, with its reasons
            outcome.report, outcome.tracking_error = publish.results(
                self.study, results, self.objects, fresh=outcome.reduced
            )
        return outcome
