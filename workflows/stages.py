"""The stages of a run: predict until the store holds all that can be had, reduce what is complete, publish it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from overlap.errors import DamagedObject
from overlap.images.truths import Truth, read_truth
from overlap.store.ledger import Record
from overlap.store.objects import Objects
from overlap.study import Study
from workflows import gate, publish
from workflows.certify import certify
from workflows.nodes.cluster import Cluster
from workflows.outcome import Outcome, Tell
from workflows.plan import Plan, imports_only, refresh
from workflows.predicting.crew import Crew
from workflows.predicting.fanout import FanOut
from workflows.reduce import reduce
from workflows.stage import stage_for_cluster

if TYPE_CHECKING:
    import polars as pl

ROUNDS = 3
"""How often damaged objects are computed again before a study is given up."""


@dataclass(frozen=True)
class Stages:
    """The stages of a run, with what they all need."""

    study: Study
    objects: Objects
    cluster: Cluster
    crew: Crew
    tell: Tell
    patient: bool = False
    """Whether checkpoints that failed as they are now, less than a day ago, are left alone."""

    def reduce_imports(self, name: str) -> Outcome:
        """Reduce predictions that were made elsewhere, where there is nothing to predict."""
        plan = imports_only(self.study, name)
        publish.plan(plan, self.objects)
        outcome = Outcome(name)
        self.reduce(plan, outcome)
        return outcome

    def reduce_all(self, plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Reduce every data set to evaluate on, first those that published figures are about: what fails there is left
        out of all. The other sets are predicted by then, so that reductions may read their features.

        Returns:
            What came of each further truth about one of them.
        """
        carried: dict[str, str] = {}
        further: list[Outcome] = []
        pairs = list(zip(plans, outcomes, strict=True))
        beside = [(plan, outcome) for plan, outcome in pairs if plan.role != "evaluate"]
        for plan, outcome in beside:
            self._settle(plan, outcome)
        companions = [(plan, outcome) for plan, outcome in beside if not outcome.blocked]
        evaluated = [pair for pair in pairs if pair[0].role == "evaluate"]
        for plan, outcome in sorted(evaluated, key=lambda each: not gate.is_gated(self.study, each[0].dataset.name)):
            reduced = self.reduce(plan, outcome, companions, carried)
            if outcome.results is not None:
                carried |= gate.carry(outcome.results)
            for truth in truths_of(reduced) if outcome.results is not None else ():
                publish.truth(reduced, truth, self.objects)
                further.append(Outcome(f"{reduced.dataset.name}@{truth.name}"))
                self.reduce(reduced, further[-1], companions, carried, truth)
        return further

    def predict(self, plan: Plan, outcome: Outcome, *, verify: bool) -> Plan:
        """Compute what is missing and certify checkpoints, until the store holds all that can be had."""
        publish.plan(plan, self.objects)
        damaged: Sequence[Record] = ()
        known = publish.known_failures(plan, self.objects) if self.patient else {}
        for _ in range(ROUNDS):
            wanted = plan.less(known)
            failed = self._fan_out(wanted, damaged, outcome) if wanted.units else {}
            outcome.failed.update(publish.failures(plan, failed, self.objects, known))
            plan = refresh(plan, self.objects, verify=verify)
            damaged = certify(plan, self.cluster.map)
            for record in damaged:
                self.tell.say(f"damaged: {record.object}; its unit is computed again")
            plan = refresh(plan, self.objects, damaged=damaged)
            verify = False
            if not damaged:
                break
        return plan

    def _settle(self, plan: Plan, outcome: Outcome) -> None:
        """Say which checkpoints cannot be run and which shards cannot be read."""
        outcome.failed.update({rejected.id: rejected.reason for rejected in plan.rejected})
        outcome.blocked.update(plan.dataset.unreadable)
        publish.shards(plan, outcome.blocked, self.objects)

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

    def reduce(
        self,
        plan: Plan,
        outcome: Outcome,
        companions: Sequence[tuple[Plan, Outcome]] = (),
        carried: Mapping[str, str] | None = None,
        truth: Truth | None = None,
    ) -> Plan:
        """Reduce what is complete and publish it, unless a shard that nobody can read blocks it.

        Args:
            plan: of the data set.
            outcome: what is to be told of it.
            companions: the study's data sets that are there for their features.
            carried: models that are quarantined already.
            truth: another truth than the data set's own labels.

        Returns:
            The plan as it is then: damage that reading found may have had units computed again.
        """
        self._settle(plan, outcome)
        if outcome.blocked:
            return plan
        self.crew.dismiss()  # their memory is wanted now
        about: dict[str, Any] = {"carried": carried, "truth": truth}
        beside = [each for each, _ in companions]
        try:
            results, outcome.reduced = reduce(plan, outcome.failed, self.objects, self.cluster, beside, **about)
        except DamagedObject as error:
            self.tell.say(f"damaged: {error}; everything is checked, and computed again where it must be")
            plan, *beside = (
                self.predict(refresh(each, self.objects, verify=True), of_each, verify=True)
                for each, of_each in [(plan, outcome), *companions]
            )
            results, outcome.reduced = reduce(
                plan, outcome.failed, self.objects, self.cluster, beside, **about, force=True
            )
        if results is not None:
            outcome.results = results
            outcome.failed = {**results.absent, **outcome.failed}  # results may be of an earlier run, with its reasons
            outcome.report, outcome.tracking_error = publish.results(
                self.study, results, self.objects, fresh=outcome.reduced
            )
        return plan

    def show_across(self, outcome: Outcome, beside: pl.DataFrame) -> None:
        """Show a data set's results again, with how they compare with those on the study's other data sets."""
        if outcome.results is not None:
            outcome.report, outcome.tracking_error = publish.results(
                self.study, outcome.results, self.objects, fresh=True, beside=beside
            )


def truths_of(plan: Plan) -> list[Truth]:
    """The further truths that a study names about a data set; none where not all of its images can be had.

    Raises:
        StudyError: one cannot be read, or does not fit the data set.
    """
    data = plan.study.data.get(plan.dataset.name)
    if data is None or plan.dataset.unreadable:
        return []
    return [
        read_truth(name, uri, plan.dataset.keys, data.classes, data.names, plan.study.store.endpoint_url)
        for name, uri in data.truths.items()
    ]
