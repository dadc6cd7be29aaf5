"""A cluster is looked at before any GPU is taken: can each of its nodes do what the study will ask of it.

Every node that is there must run the same overlap, Python and torch as the driver, reach the store and the buckets that
the driver reaches, and have a clock that S3 accepts; where the study wants GPUs there must be some. One task without
CPUs on each node finds out, in about the time that a worker takes to start. Torch is looked up, not imported. Not
guaranteed: anything about nodes that join later; what they cannot do shows where they do it.

Where a study wants a GPU and no node has one, a cluster with an autoscaler is asked for one and given time; any other
is refused at once (`capacity`).
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray

import overlap
from overlap import files
from overlap.errors import OverlapError, StudyError, gist
from overlap.images.shards import expand
from overlap.store.objects import Location, Objects, open_objects
from overlap.study import Study, is_uri
from workflows.nodes.capacity import await_gpus
from workflows.nodes.cluster import Cluster, Node, nodes, on
from workflows.nodes.remote import remote
from workflows.outcome import Tell
from workflows.plan import location

ANSWER_S = 120.0
"""A node that has not answered by then is named: its workers do not start."""
NOT_SET_UP = "cannot set up the environment of a task"
CLOCK_WARNING_S = 30.0
CLOCK_ERROR_S = 900.0
"""S3 refuses a signature whose time is off by more."""


@dataclass(frozen=True)
class Errand:
    """What every node is asked to look at."""

    store: Location
    key: str
    """Of an object that the driver has just put into the store."""
    shards: tuple[str, ...]
    """Addresses of the first shard of each data set, as far as the driver reaches them."""


@dataclass(frozen=True)
class Seen:
    """What a node found."""

    started: float
    """Seconds since 1970 by the node's clock, when it began to look."""
    ended: float
    versions: dict[str, str]
    trouble: str | None
    """What it cannot reach, and why."""


class CheckedCluster(Cluster):
    """A cluster whose nodes are looked at when it is first needed; of Ray that is started here, only its GPUs."""

    def __init__(self, address: str | None, study: Study, tell: Tell) -> None:
        """Nothing starts yet."""
        super().__init__(address, study.path.parent)
        self._study = study
        self._tell = tell
        self._checked = False

    def start(self) -> None:
        """As of `Cluster`.

        Raises:
            StudyError: also where a node cannot do what the study asks for.
        """
        super().start()
        if not self._checked:
            if self.address is not None:
                check(self._study, open_objects(location(self._study)), self._tell)
            await_gpus(self._study, self.address is not None, self._tell)
            self._checked = True


def check(study: Study, objects: Objects, tell: Tell) -> None:
    """Refuse a cluster one of whose nodes cannot do what the study asks for; what may matter later is told.

    Raises:
        StudyError: the node is named, with the mend.
    """
    faults = inspect(study, objects)
    grave = [fault for fault in faults if fault.grave]
    if grave:
        more = f" (and {len(grave) - 1} more nodes)" if len(grave) > 1 else ""
        raise StudyError(f"node {grave[0].node} {grave[0].said}{more}")
    for fault in faults:
        tell.say(f"warning: node {fault.node} {fault.said}")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a node."""

    node: str
    """Its host and its short id."""
    said: str
    grave: bool
    """Whether the study cannot run there."""


def inspect(study: Study, objects: Objects) -> list[Fault]:
    """Look at every node of the cluster that this process is connected to; in the order of their ids."""
    key = f"check/{secrets.token_hex(8)}"
    alive = nodes()
    objects.put(key, b"seen")
    try:
        found = _ask(Errand(location(study), key, _reached_here(study)), alive)
    finally:
        objects.delete([key, *(_own(key, node) for node in alive)])
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in listed}
    return [
        Fault(f"{hosts.get(node.id, '')} ({node.id[:8]})", *trouble)
        for node in alive
        if node in found and (trouble := _trouble(found[node], location(study).is_bucket)) is not None
    ]


@dataclass(frozen=True)
class Answer:
    """What came back from a node, and between which two moments of the driver's clock."""

    asked: float
    came: float
    seen: Seen | str
    """Or why there is none."""


def _ask(errand: Errand, alive: Sequence[Node]) -> dict[Node, Answer]:
    """Ask all nodes at once; one that is gone meanwhile is left out."""
    asked = time.time()
    waiting = {_send(errand, node): node for node in alive}
    answers: dict[Node, Answer] = {}
    until = time.monotonic() + ANSWER_S
    while waiting and time.monotonic() < until:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=until - time.monotonic())
        for reference in ready:
            node, said = waiting.pop(reference), _got(reference)
            answers[node] = Answer(asked, time.time(), said)
    for reference, node in waiting.items():
        ray.cancel(reference, force=True)
        answers[node] = Answer(asked, time.time(), f"did not answer within {ANSWER_S:.0f} s; look at its raylet's log")
    here = {node.id for node in nodes()}
    return {node: answer for node, answer in answers.items() if node.id in here}


def _send(errand: Errand, node: Node) -> Any:
    return _look.options(scheduling_strategy=on(node)).remote(errand, node)


def _got(reference: Any) -> Seen | str:
    try:
        seen: Seen = ray.get(reference)
        return seen
    except ray.exceptions.RuntimeEnvSetupError as error:
        return f"{NOT_SET_UP} ({_last_line(error)}); look at its runtime_env_agent.log"
    except Exception as error:  # code that is not there cannot even be unpacked
        cause = getattr(error, "cause", None) or error
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        missing = next((line for line in reversed(lines) if "ModuleNotFoundError" in line or "ImportError" in line), "")
        return f"cannot run overlap ({missing or gist(cause)}); install overlap {overlap.__version__} there"


def _last_line(error: Exception) -> str:
    """What Ray says of an environment is a traceback: its end is the reason."""
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]


@remote(num_cpus=0, max_retries=0)
def _look(errand: Errand, node: Node) -> Seen:
    started = time.time()
    trouble = None
    try:
        objects = open_objects(errand.store)
        if objects.head(errand.key) is None:
            trouble = "what the driver has just written is not there"
        else:
            objects.put(_own(errand.key, node), b"seen")
            if not any(info.key == errand.key for info in objects.list(errand.key)):
                trouble = "it is not listed"
    except OverlapError as error:
        trouble = str(error)
    if trouble is not None:
        trouble = f"does not see the store {errand.store.uri} ({trouble}); use s3:// or a folder that every node mounts"
    for shard in errand.shards if trouble is None else ():
        try:
            files.version(shard, errand.store.endpoint_url)
        except OverlapError as error:
            trouble = f"does not reach {shard} ({error}), which the driver does; give it the network or the role for it"
    return Seen(started, time.time(), _versions(), trouble)


def _own(key: str, node: Node) -> str:
    """What a node writes."""
    return f"{key}-{node.id}"


def _versions() -> dict[str, str]:
    found = {"overlap": overlap.__version__, "Python": platform.python_version()}
    try:
        return found | {"torch": version("torch")}
    except PackageNotFoundError:
        return found | {"torch": "none"}


def _reached_here(study: Study) -> tuple[str, ...]:
    """First shards that other machines can have, and this one reaches; what it does not is for the plan to say."""
    reached = []
    for data in study.data.values():
        try:
            first = next((uri for uri in expand(data.shards[:1], study.store.endpoint_url) if is_uri(uri)), None)
            if first is not None:
                files.version(first, study.store.endpoint_url)
                reached.append(first)
        except OverlapError:
            continue
    return tuple(reached)


def _trouble(answer: Answer, signed: bool) -> tuple[str, bool] | None:
    """What is wrong with a node, and whether the study cannot run because of it.

    Args:
        answer: the node's.
        signed: whether requests to the store carry the time.
    """
    if isinstance(answer.seen, str):
        return answer.seen, True
    seen, ours = answer.seen, _versions()
    for name, value in ours.items():
        if seen.versions[name] != value:
            return f"has {name} {seen.versions[name]}, and the driver {value}; install the same on both", True
    # It looked between two moments of the driver's: what lies outside them is the least by which its clock is off.
    off = seen.ended - answer.came if seen.ended > answer.came else min(0.0, seen.started - answer.asked)
    clock = (
        f"has a clock that is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the driver's; start NTP on both"
    )
    if signed and abs(off) > CLOCK_ERROR_S:
        return f"{clock}: S3 refuses signatures that are {CLOCK_ERROR_S:.0f} s off", True
    if seen.trouble is not None:
        return seen.trouble, True
    return (clock, False) if abs(off) > CLOCK_WARNING_S else None
