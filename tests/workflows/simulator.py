"""A fan-out with a simulated clock: the schedule is the real one, seconds come from what timm's networks cost.

Does what the driver does: tops up the node on which something happened, two leases for each worker, decode tasks on the
node's CPUs in the order in which they were given, weights fetched once for each node and loaded where they are not
resident. A lease's seconds are loading and computing; the clock knows no driver, whose own seconds are measured.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import process_time
from typing import Any

from tests.workflows.timm_costs import Row, rows
from workflows.scheduling.backlog import Job
from workflows.scheduling.holdings import Decode
from workflows.scheduling.leases import Lease, Schedule

IMAGES = 50_000
FLOPS = 15e12
"""Operations a second that a GPU of speed 1 reaches in float32 on an average network; others are a factor off."""
SPREAD = 0.4
"""Standard deviation of the logarithm of that factor: depthwise convolutions and small layers keep a GPU waiting."""
OVERHEAD = 3e-5
"""Seconds of an image that no operation takes."""
JPEG, RESIZE = 4e-3, 1.5e-3
"""CPU seconds to open an image, and to prepare it for a signature of 224 by 224; larger ones in proportion."""
FETCH, BUILD, COPY = 1e9, 1.0, 2e9
"""Bytes a second from the store to a node, seconds to build a network, bytes a second from the node to the device."""
GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    """A node of the cluster to be."""

    name: str
    speeds: tuple[float, ...] = (1.0,) * 8
    cpus: int = 64
    budget: int = 150 * GIB
    resident: int = 40 * GIB
    joins: float = 0.0
    leaves: float | None = None


def zoo(number: int = 1000) -> list[Row]:
    """So many of timm's networks, the same ones always."""
    return sorted(random.Random(0).sample(rows(), number), key=lambda row: row.name)


def seconds_per_image(row: Row) -> float:
    """On a GPU of speed 1."""
    factor = random.Random(row.name).lognormvariate(0.0, SPREAD)
    return row.gflops * 1e9 / FLOPS * factor + OVERHEAD


def as_the_driver_knows(row: Row) -> float:
    """The estimate of `workflows.scheduling.backlog.cost`."""
    return float(row.weights_bytes * row.bytes_per_image)


@dataclass
class _Gpu:
    node: str
    speed: float
    memory: int
    queue: deque[Lease] = field(default_factory=deque)
    holds: str | None = None
    resident: OrderedDict[str, int] = field(default_factory=OrderedDict)
    busy: float = 0.0
    end: float = 0.0


@dataclass
class Ran:
    """What a simulated fan-out came to."""

    makespan: float
    bound: float
    """The larger of what the total takes the GPUs that are there, kept busy all the time, and the longest unit."""
    units: int
    loads: int
    decoded: int
    """Shards opened."""
    prepared: int
    """Batches prepared."""
    lost: int
    """Units that were running on nodes that left."""
    rerun: int
    decisions: int
    deciding: float
    """Seconds of this machine's processor spent in the schedule."""
    busy: float
    """Share of the GPUs' time until the end in which they computed."""

    @property
    def ratio(self) -> float:
        """Makespan over the bound."""
        return self.makespan / self.bound


class Simulator:
    """One fan-out of a zoo over shards on machines."""

    def __init__(
        self,
        machines: Sequence[Machine],
        networks: Sequence[Row],
        shards: int = 64,
        estimate: Callable[[Row], float] = as_the_driver_knows,
        *,
        make: Callable[..., Any] = Schedule,
        learns: bool = True,
        newest: bool = True,
    ) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._networks = {row.name: row for row in networks}
        names = [f"{number:016x}" for number in range(shards)]
        self._images = dict.fromkeys(names, IMAGES // shards)
        self._seconds = {row.name: seconds_per_image(row) for row in networks}
        sizes = {row.signature: row.bytes_per_image for row in networks}
        jobs = [Job(row.name, row.signature, tuple(names), estimate(row)) for row in networks]
        self._schedule: Any = make(jobs, self._images, sizes)
        self._units = len(jobs) * shards
        self._learns, self._newest = learns, newest
        self._gpus: dict[str, list[_Gpu]] = {}
        self._idle_cpus: dict[str, int] = {}
        self._decodes: dict[str, deque[Decode]] = {}
        self._fetched: set[tuple[str, str]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._now = 0.0
        self._counts: Counter[str] = Counter()
        self._deciding = 0.0
        self._finished: Counter[tuple[str, str]] = Counter()

    def run(self) -> Ran:
        """Until every unit is done."""
        for machine in self._machines.values():
            self._at(machine.joins, lambda machine=machine: self._join(machine))
            if machine.leaves is not None:
                self._at(machine.leaves, lambda machine=machine: self._leave(machine))
        gpus = [gpu for machine in self._machines.values() for gpu in machine.speeds]
        while self._asked(lambda: self._schedule.unfinished):
            self._now, _, event = heapq.heappop(self._events)
            event()
        assert set(self._finished.values()) == {1}
        assert len(self._finished) == self._units
        total = sum(self._seconds.values()) * sum(self._images.values())
        longest = max(self._seconds.values()) * max(self._images.values()) / max(gpus)
        busy = sum(gpu.busy for node in self._gpus.values() for gpu in node)
        return Ran(
            makespan=self._now,
            bound=max(self._fluid(total), longest),
            units=self._units,
            loads=self._counts["loads"],
            decoded=self._counts["decoded"],
            prepared=self._counts["prepared"],
            lost=self._counts["lost"],
            rerun=self._counts["started"] - self._units,
            decisions=self._counts["decisions"],
            deciding=self._deciding,
            busy=busy / (self._now * sum(map(len, self._gpus.values()))),
        )

    def _fluid(self, total: float) -> float:
        """Seconds in which the machines do so many seconds of a GPU of speed 1, busy whenever they are there."""

        def done(moment: float) -> float:
            return sum(
                sum(machine.speeds) * max(0.0, min(moment, machine.leaves or moment) - machine.joins)
                for machine in self._machines.values()
            )

        low, high = 0.0, total * 100
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (low, middle) if done(middle) >= total else (middle, high)
        return high

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._number), event))

    def _asked(self, question: Callable[[], Any]) -> Any:
        started = process_time()
        answer = question()
        self._deciding += process_time() - started
        self._counts["decisions"] += 1
        return answer

    def _join(self, machine: Machine) -> None:
        self._gpus[machine.name] = [_Gpu(machine.name, speed, machine.resident) for speed in machine.speeds]
        self._idle_cpus[machine.name] = machine.cpus
        self._decodes[machine.name] = deque()
        self._schedule.add_node(machine.name, machine.budget, len(machine.speeds))
        for node in self._gpus:
            self._top_up(node)

    def _leave(self, machine: Machine) -> None:
        running = sum(len(gpu.queue[0].shards) for gpu in self._gpus[machine.name] if gpu.queue)
        self._counts["lost"] += running
        del self._gpus[machine.name]
        assert self._schedule.remove_node(machine.name) == []
        for node in self._gpus:
            self._top_up(node)

    def _top_up(self, node: str) -> None:
        schedule = self._schedule
        self._asked(lambda: schedule.droppable(node))
        while (decode := self._asked(lambda: schedule.next_decode(node))) is not None:
            self._decodes[node].append(decode)
        self._begin_decodes(node)
        for depth in range(2):
            for gpu in self._gpus[node]:
                if len(gpu.queue) == depth:
                    self._lease(gpu)

    def _lease(self, gpu: _Gpu) -> None:
        if self._newest:
            resident = gpu.resident.keys()
            lease = self._asked(
                lambda: self._schedule.next_lease(gpu.node, gpu.holds, resident, queued=bool(gpu.queue))
            )
        else:
            lease = self._asked(lambda: self._schedule.next_lease(gpu.node, gpu.holds))
        if lease is None:
            return
        gpu.holds = lease.fingerprint
        gpu.queue.append(lease)
        self._counts["started"] += len(lease.shards)
        if len(gpu.queue) == 1:
            self._start(gpu)

    def _start(self, gpu: _Gpu) -> None:
        lease = gpu.queue[0]
        loading = self._load(gpu, lease.fingerprint)
        images = sum(self._images[shard] for shard in lease.shards)
        computing = images * self._seconds[lease.fingerprint] / gpu.speed
        self._at(self._now + loading + computing, lambda: self._finish(gpu, lease, computing))

    def _load(self, gpu: _Gpu, name: str) -> float:
        if name in gpu.resident:
            gpu.resident.move_to_end(name)
            return 0.0
        size = self._networks[name].weights_bytes
        while gpu.resident and sum(gpu.resident.values()) + size > gpu.memory:
            gpu.resident.popitem(last=False)
        gpu.resident[name] = size
        self._counts["loads"] += 1
        first = (gpu.node, name) not in self._fetched
        self._fetched.add((gpu.node, name))
        return BUILD + size / COPY + (size / FETCH if first else 0.0)

    def _finish(self, gpu: _Gpu, lease: Lease, computing: float) -> None:
        if gpu.node not in self._gpus:
            return
        gpu.queue.popleft()
        gpu.busy += computing
        told = (gpu.node, lease, computing) if self._learns else (gpu.node, lease)
        self._asked(lambda: self._schedule.finished(*told))
        self._finished.update((lease.fingerprint, shard) for shard in lease.shards)
        if gpu.queue:
            self._start(gpu)
        self._top_up(gpu.node)

    def _begin_decodes(self, node: str) -> None:
        while self._idle_cpus[node] and self._decodes[node]:
            decode = self._decodes[node].popleft()
            self._idle_cpus[node] -= 1
            sizes = sum(dict(signature)["size"] ** 2 / 224**2 for signature in decode.signatures)
            seconds = self._images[decode.shard] * (JPEG + RESIZE * sizes)
            self._counts["decoded"] += 1
            self._counts["prepared"] += len(decode.signatures)
            self._at(self._now + seconds, lambda decode=decode: self._decoded(node, decode))

    def _decoded(self, node: str, decode: Decode) -> None:
        if node not in self._gpus:
            return
        self._idle_cpus[node] += 1
        self._asked(lambda: self._schedule.decoded(node, decode))
        self._top_up(node)


def pinned(networks: Sequence[Row], gpus: int) -> float:
    """Makespan over the bound where each GPU has an equal number of networks, in the order of their names."""
    total = sum(map(seconds_per_image, networks))
    size = -(-len(networks) // gpus)
    bundles = [networks[start : start + size] for start in range(0, len(networks), size)]
    return max(sum(map(seconds_per_image, bundle)) for bundle in bundles) / (total / gpus)
