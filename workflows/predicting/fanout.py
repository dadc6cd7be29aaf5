"""The fan-out: shards decoded once per node, checkpoints run over the decoded batches, predictions certified.

The driver only passes references: pixels go from a decode task to a predictor through the node's object store without
a copy, predictions go from the predictor to the store. `Schedule` decides; this file carries it out on Ray and says
what failed. Memory in flight is bounded by the schedule, in bytes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from overlap.errors import StoreError, StudyError
from overlap.store.ledger import Record
from overlap.store.location import open_objects
from workflows.plan import Plan, location
from workflows.predicting import decoding
from workflows.predicting.crew import Crew, Worker
from workflows.predicting.logbook import Logbook
from workflows.predicting.reports import Decoded, Report
from workflows.predicting.worker import Context
from workflows.scheduling.backlog import jobs
from workflows.scheduling.holdings import Decode
from workflows.scheduling.leases import ATTEMPTS, Lease, Schedule

QUEUED = 2
"""Leases a predictor holds: the one it runs and the next, so that it never waits for the driver."""
REFRESH = 10.0
"""Seconds between two looks at which nodes there are."""


@dataclass
class FanOutResult:
    """What a fan-out came to."""

    computed: int = 0
    """Units certified by this run, including those whose record another run had just put."""
    images_decoded: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Fingerprint to the reason why it is not complete."""
    bad_shards: dict[str, str] = field(default_factory=dict)
    """Shard file to the reason why nobody can read it."""


class FanOut:
    """One run of the missing units of a plan by a crew."""

    def __init__(
        self,
        plan: Plan,
        crew: Crew,
        replaces: Sequence[Record] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare; nothing starts before `run`.

        Args:
            plan: says which units are missing.
            crew: who computes them; stays together afterwards.
            replaces: damaged records, each superseded when its unit is computed again.
            progress: called with units done and units in all.
        """
        self._plan = plan
        self._crew = crew
        self._checkpoints = plan.distinct
        self._shards = {shard.name: shard for shards in plan.missing.values() for shard in shards}
        order = {shard.name: place for place, shard in enumerate(plan.dataset.shards)}
        signatures = {c.preprocessing.signature: c.preprocessing.bytes_per_image for c in self._checkpoints.values()}
        self._schedule = Schedule(
            jobs(plan),
            {name: len(self._shards[name]) for name in sorted(self._shards, key=order.__getitem__)},
            signatures,
        )
        self._replaces = {(record.fingerprint, record.shard): record for record in replaces}
        self._progress = progress or (lambda done, total: None)
        self._done = 0
        self._decodes: dict[Any, tuple[str, Decode, list[Any]]] = {}
        self._batches: dict[tuple[str, Any], Any] = {}
        self._members: set[str] = set()
        self._lost_decodes: Counter[str] = Counter()
        self._result = FanOutResult()
        self._store_error: str | None = None
        self._met = 0.0
        self._stirred: set[str] = set()
        models = {fingerprint: checkpoint.id for fingerprint, checkpoint in self._checkpoints.items()}
        self._logbook = Logbook(plan.dataset.name, models, self._shards)

    def run(self) -> FanOutResult:
        """Compute every missing unit that can be computed.

        Raises:
            StudyError: the study asks for more than the cluster has.
            StoreError: the store failed a unit again and again; what is certified stays.
        """
        try:
            self._run()
        finally:
            self._crew.call_for(0)
            self._crew.forget()
            self._logbook.write(open_objects(location(self._plan.study)))
        return self._result

    def _run(self) -> None:
        self._context = Context.put(self._plan.dataset.name, self._shards, self._plan.study.predict.batch_size)
        self._meet()
        while self._schedule.unfinished:
            if time.monotonic() - self._met > REFRESH:
                self._meet()
            self._top_up()
            leases = (reference for worker in self._crew.workers for reference in worker.leases)
            pending = [*self._decodes, *leases, *self._crew.looks]
            if not pending:
                raise StudyError("the cluster has no node with a GPU or a CPU to spare; start a worker node")
            ready, _ = ray.wait(pending, num_returns=1, timeout=REFRESH)
            for reference in ready:
                self._collect(reference)
            if self._store_error is not None:
                raise StoreError(self._store_error)

    def _meet(self) -> None:
        before = list(self._crew.workers)
        missing = self._crew.meet()
        self._logbook.gone(worker for worker in before if worker not in self._crew.workers)
        for gone in missing:
            self._members.discard(gone)
            self._batches = {place: batch for place, batch in self._batches.items() if place[0] != gone}
            self._lose(self._schedule.remove_node(gone), "its node was lost again and again")
        for node in self._crew.nodes.values():
            if node.id not in self._members:
                self._members.add(node.id)
                self._schedule.add_node(node.id, node.batch_budget, self._crew.slots(node))
        self._crew.call_for(self._plan.units - self._done)
        self._met = time.monotonic()
        self._stirred |= self._crew.nodes.keys()

    def _top_up(self) -> None:
        """Give nodes on which something happened what to do next."""
        endpoint = self._plan.study.store.endpoint_url
        stirred, self._stirred = self._stirred, set()
        for name, node in self._crew.nodes.items():
            if name not in stirred:
                continue
            for batch in self._schedule.droppable(name):
                self._batches.pop((name, batch), None)
            while (decode := self._schedule.next_decode(name)) is not None:
                said, batches = decoding.send(self._shards[decode.shard], decode, node, endpoint)
                self._decodes[said] = (name, decode, batches)
        for worker in self._crew.workers:
            while worker.node.id in stirred and len(worker.leases) < QUEUED:
                lease = self._schedule.next_lease(
                    worker.node.id, worker.holds, worker.resident, queued=bool(worker.leases)
                )
                if lease is None:
                    break
                if worker.leases and worker.holds != lease.fingerprint:
                    self._crew.bring(worker, self._checkpoints[lease.fingerprint])
                worker.holds = lease.fingerprint
                batches = [self._batches[(worker.node.id, batch)] for batch in lease.batches]
                replaces = [self._replaces.get((lease.fingerprint, shard)) for shard in lease.shards]
                checkpoint = self._checkpoints[lease.fingerprint]
                run = worker.actor.run.remote(self._context, checkpoint, lease.shards, replaces, *batches)
                worker.leases[run] = lease
                self._logbook.submitted(lease)

    def _collect(self, reference: Any) -> None:
        if reference in self._crew.looks:
            self._meet()
            return
        if reference in self._decodes:
            self._stirred.add(self._decodes[reference][0])
            self._collect_decode(reference, *self._decodes.pop(reference))
            return
        worker = next(worker for worker in self._crew.workers if reference in worker.leases)
        self._stirred.add(worker.node.id)
        try:
            report: Report = ray.get(reference)
        except RayActorError:
            self._meet()
            if worker in self._crew.workers:  # else its node is gone, and its units wait again
                self._replace(worker)
            return
        except RayTaskError:  # a predictor says what went wrong; what it raises is a bug
            raise
        except RayError:  # a batch went with its node, or the like: nothing is wrong with the units
            lease = worker.leases.pop(reference)
            self._logbook.lost(worker, lease)
            self._lose(
                self._schedule.interrupted(worker.node.id, lease), "its decoded images were lost again and again"
            )
            return
        self._settle(worker, worker.leases.pop(reference), report)

    def _settle(self, worker: Worker, lease: Lease, report: Report) -> None:
        """A lease came back."""
        if report.unfit is not None:
            raise StudyError(report.unfit)
        self._logbook.done(worker, lease, report)
        worker.resident = frozenset(report.resident)
        for outcome in report.outcomes:
            if outcome.store_error is not None:
                self._store_error = outcome.store_error
            elif outcome.error is not None:
                self._fail(lease.fingerprint, outcome.error)
            else:
                self._result.computed += 1
        self._schedule.finished(worker.node.id, lease, report.computed)
        self._advance(len(lease.shards))

    def _collect_decode(self, reference: Any, node: str, decode: Decode, batches: list[Any]) -> None:
        try:
            decoded: Decoded = ray.get(reference)
        except RayTaskError:
            raise
        except RayError as error:  # its process or node died; Ray has tried again already
            self._schedule.not_decoded(node, decode)
            self._meet()
            self._lost_decodes[decode.shard] += node in self._members  # a node that went says nothing of the shard
            if self._lost_decodes[decode.shard] >= ATTEMPTS:
                self._spoil(decode, f"decoding it ended its process again and again ({type(error).__name__})")
            return
        if decoded.unfit is not None:
            raise StudyError(decoded.unfit)
        if decoded.store_error is not None:
            self._store_error = decoded.store_error
        elif decoded.error is not None:
            self._schedule.not_decoded(node, decode)
            self._spoil(decode, decoded.error)
        elif node in self._crew.nodes:
            self._schedule.decoded(node, decode)
            self._result.images_decoded += decoded.images
            self._logbook.decoded(node, decoded.images)
            for signature, batch in zip(decode.signatures, batches, strict=True):
                self._batches[(node, (decode.shard, signature))] = batch

    def _spoil(self, decode: Decode, reason: str) -> None:
        """Nobody can read a shard: its units are dropped."""
        self._result.bad_shards[self._shards[decode.shard].file] = reason
        self._advance(len(self._schedule.give_up_shard(decode.shard)))

    def _replace(self, worker: Worker) -> None:
        """A predictor died: whatever it had not certified waits again, and another takes its place."""
        self._crew.replace(worker)
        running = True
        for reference, lease in worker.leases.items():  # in the order in which it ran them
            try:
                report = ray.get(reference)
            except RayError:
                self._logbook.lost(worker, lease)
                units = self._schedule.interrupted(worker.node.id, lease, blamed=running)
                self._lose(units, "its worker died again and again while running it")
                running = False  # what follows was never begun
            else:
                self._settle(worker, lease, report)

    def _lose(self, units: list[tuple[str, str]], reason: str) -> None:
        for fingerprint in {fingerprint for fingerprint, _ in units}:
            self._fail(fingerprint, reason)
        self._advance(len(units))
        self._stirred |= self._crew.nodes.keys()  # what was lost but not given up waits for any of them

    def _fail(self, fingerprint: str, reason: str) -> None:
        """A checkpoint failed: what else it has waiting is dropped, the others go on."""
        self._result.failed.setdefault(fingerprint, reason)
        self._advance(len(self._schedule.give_up_checkpoint(fingerprint)))

    def _advance(self, units: int) -> None:
        self._done += units
        self._progress(self._done, self._plan.units)
