"""The Ray cluster a study runs on: connected to or started here, and what its nodes have to offer."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from overlap.errors import StudyError
from workflows.nodes.remote import remote

STARTED_HERE = {"OMP_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Environment of a Ray that is started here: one thread a task, and GPUs stay visible to what did not ask for one."""

SESSION = "OVERLAP_SUBMISSION_SESSION"
"""Variable of a job: the session of the cluster that it was sent to."""
PROBE_SECONDS = 5.0
BATCH_SHARE = 0.5
"""Share of a node's object store that decoded batches may fill; the rest is for what Ray itself keeps there."""
RESIDENT_SHARE = 0.25
"""Share of a node's memory for resident checkpoints where there is no GPU."""


@dataclass(frozen=True)
class Node:
    """One node of the cluster."""

    id: str
    cpus: int
    gpus: float
    memory: int
    """Bytes for Ray's tasks and actors."""
    object_store: int
    """Bytes of the node's shared-memory object store."""

    @property
    def batch_budget(self) -> int:
        """Bytes that decoded batches may take."""
        return int(self.object_store * BATCH_SHARE)


class Door:
    """Which nodes of a cluster may be used: every one."""

    def admit(self, alive: Sequence[Node]) -> list[Node]:
        """Those of the nodes that are alive which may be used; never waits."""
        return [*alive]

    @property
    def looks(self) -> list[Any]:
        """References to what is being found out about nodes: when one is there, `admit` may say more."""
        return []

    @property
    def coming(self) -> list[Node]:
        """The nodes that this is found out about."""
        return []


class Cluster:
    """A Ray cluster that is connected to, or started on this machine, when it is first needed.

    What was started here is ended on leaving; a cluster at an address is only left.
    """

    def __init__(self, address: str | None, search_path: Path) -> None:
        """Nothing starts yet.

        Args:
            address: of a running cluster (`auto`, `ray://…`, `host:port`); None for Ray on this machine.
            search_path: the study's folder, from which workers import factories.
        """
        self.address = address
        self.door = Door()
        self._search_path = str(search_path)
        self._ours = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ours:
            ray.shutdown()

    def start(self) -> None:
        """Be connected.

        Raises:
            StudyError: there is no cluster at the address, or, of a job, it is not the one that the job was sent to.
        """
        # Ray prints its notes on dead workers to stdout, where only results go; what became of them is said here.
        ray._private.worker._worker_logs_enabled = False
        if ray.is_initialized():
            return
        for name, value in STARTED_HERE.items() if self.address is None else ():
            os.environ.setdefault(name, value)  # inherited by the processes that are started here
        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = {"include_dashboard": False}
        if self.address is not None:
            path = f"{self._search_path}{os.pathsep}${{PYTHONPATH}}"  # Ray fills in the workers' own
            options = {"runtime_env": {"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}}}
        try:
            _probe(self.address or "")
            ray.init(
                address=self.address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=False,
                **options,
            )
        except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            why = str(error).splitlines()[0]
            if self.address is None:
                raise StudyError(f"Ray does not start on this machine ({why}); see the logs under /tmp/ray") from error
            if differs := _other_versions(str(error)):
                raise StudyError(f"the cluster at '{self.address}' {differs}") from None
            raise StudyError(
                f"no Ray cluster at '{self.address}' ({why}); start one there, or leave --address out to run here"
            ) from None
        self._ours = True
        wanted, found = os.environ.get(SESSION), ray._private.worker._global_node
        if self.address is not None and wanted and found is not None and found.session_name != wanted:
            # Ray's job server looks for its own cluster in its temporary folder, where another may have signed in.
            raise StudyError(
                f"this job was sent to the cluster of {wanted}, and Ray led it to that of {found.session_name}; they "
                "run on one machine with one temporary folder: start each with a --temp-dir of its own"
            )

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Apply a function to items as Ray tasks of one CPU each, results in order; no items, no cluster."""
        waiting = list(items)
        if not waiting:
            return
        self.start()
        for reference in [_apply.remote(function, item) for item in waiting]:
            yield fetch(reference)


def _probe(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), PROBE_SECONDS).close()


def _other_versions(said: str) -> str | None:
    """Ray's complaint that a cluster runs other versions, in one line; None where it says something else."""
    found = re.findall(r"(Ray|Python): (\S+)", said)
    if "ersion mismatch" not in said or len(found) < 4:
        return None
    theirs, ours = dict(found[:2]), dict(found[2:4])
    both = " and ".join(
        f"{name} {theirs[name]}, and here is {ours[name]}" for name in ours if theirs[name] != ours[name]
    )
    return f"runs {both}; install the same on both, or have it run there: `overlap submit` to the head's dashboard"


def fetch(references: Any) -> Any:
    """What tasks returned, as `ray.get`; what one raised is raised as it was, without the traceback as its text."""
    try:
        return ray.get(references)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


@remote(num_cpus=1, max_retries=3)
def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


def nodes() -> list[Node]:
    """The nodes that are alive, in a fixed order."""
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in listed if node["Alive"]]
    return [
        Node(
            id=node["NodeID"],
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=float(node["Resources"].get("GPU", 0)),
            memory=int(node["Resources"].get("memory", 0)),
            object_store=int(node["Resources"].get("object_store_memory", 0)),
        )
        for node in sorted(alive, key=lambda node: str(node["NodeID"]))
    ]


def gpus_per_predictor(wanted: float, alive: list[Node]) -> float:
    """GPUs of one predictor on this cluster; 0 where there are none, then predictors run on CPUs.

    Raises:
        StudyError: the study asks for more than any node has (Ray itself would wait for ever).
    """
    most = max((node.gpus for node in alive), default=0.0)
    if most == 0 and wanted <= 1:
        return 0.0
    if wanted > most:
        raise StudyError(
            f"predict.gpus_per_worker = {wanted:g}, but no node of the cluster has more than {most:g} GPUs; lower it"
        )
    return wanted


def predictor_slots(node: Node, gpus: float) -> int:
    """How many predictors a node takes: one per share of a GPU, or one per CPU where none has a GPU."""
    return int(node.gpus // gpus) if gpus else node.cpus


def on(node: Node) -> NodeAffinitySchedulingStrategy:
    """Scheduling on exactly this node."""
    return NodeAffinitySchedulingStrategy(node.id, soft=False)
