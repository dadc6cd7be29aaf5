"""The predictors of a cluster: one process for each share of a GPU, or for each CPU where there are no GPUs.

A crew outlives a fan-out, so that processes, imports and resident checkpoints serve the next data set too. Nodes that
join are staffed once the cluster's door lets them in, predictors that die are replaced while their node is there.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from overlap.study import Study, is_uri
from overlap.zoo.checkpoint import Checkpoint
from workflows.nodes import capacity
from workflows.nodes.cluster import RESIDENT_SHARE, Door, Node, gpus_per_predictor, nodes, on, predictor_slots
from workflows.plan import location
from workflows.predicting.worker import AHEAD, OnCpu, OnGpu, fetch_ahead
from workflows.scheduling.leases import Lease

UNITS_EACH = 4
"""Units for which it pays to have a predictor more, where an autoscaler can bring one."""


@dataclass(eq=False)
class Worker:
    """One predictor and what it was given to do."""

    actor: Any
    node: Node
    name: str
    """Of its node and a number there, which no other has had."""
    since: float
    """When it was started, UTC seconds."""
    has_gpu: bool = False
    """Or a share of one; then it can load a checkpoint while it computes."""
    holds: str | None = None
    """Fingerprint of the checkpoint it was leased last."""
    resident: frozenset[str] = frozenset()
    """Fingerprints of the checkpoints that it need not load, as it said last."""
    leases: dict[Any, Lease] = field(default_factory=dict)
    """By the reference that will say what became of them."""


class Crew:
    """Predictors on every node that has a place for one."""

    def __init__(self, study: Study, door: Door | None = None) -> None:
        """Nobody is called before `meet`.

        Args:
            study: says how many GPUs a predictor has, and where its store is.
            door: says which nodes may be used; None for all.
        """
        self._study = study
        self._door = door or Door()
        self._gpus = 0.0
        self._grows: bool | None = None
        self._called_for = 0
        self._started: Counter[str] = Counter()
        self._fetched: set[tuple[str, str]] = set()
        self.nodes: dict[str, Node] = {}
        self.workers: list[Worker] = []

    def meet(self) -> list[str]:
        """Start predictors on nodes that are new, forget nodes that are gone; returns the latter.

        Raises:
            StudyError: the study asks for more GPUs than any node has.
        """
        alive = {node.id: node for node in nodes()}
        gone = [name for name in self.nodes if name not in alive]
        for name in gone:
            del self.nodes[name]
        self.workers = [worker for worker in self.workers if worker.node.id in alive]
        admitted = self._door.admit(list(alive.values()))
        self._gpus = gpus_per_predictor(self._study.predict.gpus, [*admitted, *self._door.coming])
        for node in admitted:
            if node.id not in self.nodes and self.slots(node):
                self.nodes[node.id] = node
                self.workers += [self._start(node) for _ in range(self.slots(node))]
        return gone

    @property
    def looks(self) -> list[Any]:
        """References to looks at nodes that joined: when one is there, `meet` may find more nodes."""
        return self._door.looks

    def call_for(self, units: int) -> None:
        """Ask an autoscaler, where there is one, for as many predictors on GPUs as so many units can keep at work."""
        if not self._gpus:
            return
        if self._grows is None:
            self._grows = capacity.grows()
        wanted = -(-units // UNITS_EACH)
        if self._grows and wanted != self._called_for:
            self._called_for = wanted
            capacity.call_for(wanted, self._gpus)

    def slots(self, node: Node) -> int:
        """How many predictors a node takes."""
        return predictor_slots(node, self._gpus)

    def replace(self, worker: Worker) -> None:
        """Let another predictor take the place of one that died."""
        self.workers.remove(worker)
        ray.kill(worker.actor)  # it may only have been out of reach, and would keep its GPU
        if worker.node.id in self.nodes:
            self.workers.append(self._start(worker.node))

    def bring(self, worker: Worker, checkpoint: Checkpoint) -> None:
        """Have the checkpoint of a lease that waits behind another come meanwhile.

        Into the memory of a predictor that has a GPU; else its weights come to the node, unless they are read where
        they are, in a folder.
        """
        wanted = (worker.node.id, checkpoint.weights_digest)
        if worker.has_gpu:
            worker.actor.bring.options(concurrency_group=AHEAD).remote(checkpoint)
        elif is_uri(self._study.store.uri) and wanted not in self._fetched:
            self._fetched.add(wanted)
            fetch_ahead.options(scheduling_strategy=on(worker.node)).remote(location(self._study), wanted[1])

    def forget(self) -> None:
        """A fan-out is over: let go of what came ahead and was not asked for."""
        self._fetched.clear()
        for worker in [worker for worker in self.workers if worker.has_gpu]:
            with suppress(RayError):  # who is out of reach holds nothing that matters
                worker.actor.forget.options(concurrency_group=AHEAD).remote()

    def dismiss(self) -> None:
        """End all predictors."""
        for worker in self.workers:
            ray.kill(worker.actor)
        self.workers, self.nodes = [], {}

    def _start(self, node: Node) -> Worker:
        # No CPU is reserved: the CPUs are for decoding, and where there is no GPU the kernel shares them out.
        predictors: Any = OnGpu if self._gpus else OnCpu
        name = f"{node.id[:12]}/{self._started[node.id]}"
        self._started[node.id] += 1
        actor = predictors.options(num_cpus=0, num_gpus=self._gpus, scheduling_strategy=on(node)).remote(
            location(self._study), self._gpus > 0, int(node.memory * RESIDENT_SHARE / self.slots(node)), name
        )
        return Worker(actor, node, name, time.time(), self._gpus > 0)
