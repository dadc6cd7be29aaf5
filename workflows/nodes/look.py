"""One look at a node of the cluster: what it is asked to do, what it saw, and what is wrong with it.

A node must run the same overlap, Python and torch as the driver, reach the store and the buckets that the driver
reaches, and have a clock that S3 accepts. A task without CPUs finds out, in about the time that a worker takes to
start. Torch is looked up, not imported.
"""

from __future__ import annotations

import platform
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import ray

import overlap
from overlap import files
from overlap.errors import OverlapError, gist
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study
from workflows.nodes.cluster import Node, on
from workflows.nodes.remote import remote
from workflows.plan import location

ANSWER_S = 120.0
"""A node that has not answered by then is named: its workers do not start."""
SILENT = f"did not answer within {ANSWER_S:.0f} s; look at its raylet's log"
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


@dataclass(frozen=True)
class Answer:
    """What came back from a node, and between which two moments of the driver's clock."""

    asked: float
    came: float
    seen: Seen | str
    """Or why there is none."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a node."""

    node: str
    """Its host and its short id."""
    said: str
    grave: bool
    """Whether the study cannot run there."""


def prepare(study: Study, objects: Objects, shards: tuple[str, ...]) -> Errand:
    """Put something into the store, for nodes to see there."""
    errand = Errand(location(study), f"check/{secrets.token_hex(8)}", shards)
    objects.put(errand.key, b"seen")
    return errand


def tidy(errand: Errand, objects: Objects, asked: Iterable[Node]) -> None:
    """Remove from the store what a look by some nodes has put there."""
    objects.delete([errand.key, *(own(errand.key, node) for node in asked)])


def send(errand: Errand, node: Node) -> Any:
    """Have a node look; the reference is for `got`."""
    return _look.options(scheduling_strategy=on(node)).remote(errand, node)


def got(reference: Any) -> Seen | str:
    """What a node saw, or why it could not look."""
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
            objects.put(own(errand.key, node), b"seen")
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


def own(key: str, node: Node) -> str:
    """What a node writes."""
    return f"{key}-{node.id}"


def _versions() -> dict[str, str]:
    found = {"overlap": overlap.__version__, "Python": platform.python_version()}
    try:
        return found | {"torch": version("torch")}
    except PackageNotFoundError:
        return found | {"torch": "none"}


def fault(node: Node, answer: Answer, errand: Errand) -> Fault | None:
    """What is wrong with a node, if anything is."""
    trouble = _trouble(answer, errand.store.is_bucket)
    return None if trouble is None else Fault(f"{_host(node)} ({node.id[:8]})", *trouble)


def _host(node: Node) -> str:
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next((one["NodeManagerHostname"] for one in listed if one["NodeID"] == node.id), "")


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
