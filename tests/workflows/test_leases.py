"""The schedule of a fan-out, under a driver that is simulated: any order of events, any worker or node may die."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.scheduling.backlog import Batch, Job
from workflows.scheduling.claims import FEW
from workflows.scheduling.holdings import Decode
from workflows.scheduling.leases import ATTEMPTS, LONGEST_LEASE, Lease, Schedule

QUEUED = 2
SIGNATURES = tuple((("input_size", (size, size)),) for size in (8, 16, 24))

Unit = tuple[str, str]


@dataclass
class Node:
    budget: int
    workers: list[list[Lease]]
    """The queue of each; the first lease is the one that runs."""
    holds: list[str | None] = field(default_factory=list)
    decoding: list[Decode] = field(default_factory=list)
    batches: set[Batch] = field(default_factory=set)


@dataclass
class Simulation:
    """Does what the driver does, and checks after each step what must always hold."""

    jobs: list[Job]
    images: dict[str, int]
    sizes: dict
    schedule: Schedule = field(init=False)
    nodes: dict[str, Node] = field(default_factory=dict)
    finished: Counter = field(default_factory=Counter)
    lost: set[Unit] = field(default_factory=set)
    decodes: Counter = field(default_factory=Counter)
    """By node, shard and signature."""
    passes: Counter = field(default_factory=Counter)
    """By node and shard."""

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.jobs, self.images, self.sizes)

    @property
    def units(self) -> set[Unit]:
        return {(job.fingerprint, shard) for job in self.jobs for shard in job.shards}

    def join(self, name: str, budget: int, workers: int) -> None:
        self.nodes[name] = Node(budget, [[] for _ in range(workers)], [None] * workers)
        self.schedule.add_node(name, budget, workers)

    def top_up(self) -> None:
        for name, node in self.nodes.items():
            for batch in self.schedule.droppable(name):
                assert batch not in {batch for queue in node.workers for lease in queue for batch in lease.batches}
                node.batches.remove(batch)
            while (decode := self.schedule.next_decode(name)) is not None:
                node.decoding.append(decode)
                self.passes[(name, decode.shard)] += 1
                self.decodes.update((name, decode.shard, signature) for signature in decode.signatures)
            held = self.held(node)
            assert sum(map(self.bytes, held)) <= node.budget or len(held) == 1
        for name, node in self.nodes.items():
            for place, queue in enumerate(node.workers):
                while len(queue) < QUEUED:
                    lease = self.schedule.next_lease(name, node.holds[place], queued=bool(queue))
                    if lease is None:
                        break
                    assert 1 <= len(lease.shards) <= LONGEST_LEASE
                    assert set(lease.batches) <= node.batches
                    running = self.running()
                    assert not {(lease.fingerprint, shard) for shard in lease.shards} & running
                    node.holds[place] = lease.fingerprint
                    queue.append(lease)

    def held(self, node: Node) -> list[Batch]:
        coming = [(decode.shard, signature) for decode in node.decoding for signature in decode.signatures]
        assert not set(coming) & node.batches
        assert len(set(coming)) == len(coming)
        return coming + sorted(node.batches)

    def bytes(self, batch: Batch) -> int:
        return self.images[batch[0]] * self.sizes[batch[1]]

    def running(self) -> set[Unit]:
        return {
            (lease.fingerprint, shard)
            for node in self.nodes.values()
            for queue in node.workers
            for lease in queue
            for shard in lease.shards
        }

    def busy(self) -> list[tuple[str, str, int]]:
        """What may happen next: (kind, node, place)."""
        decoding = [
            ("decoded", name, place) for name, node in self.nodes.items() for place in range(len(node.decoding))
        ]
        leased = [
            ("finished", name, place)
            for name, node in self.nodes.items()
            for place, queue in enumerate(node.workers)
            if queue
        ]
        return decoding + leased

    def decoded(self, name: str, place: int) -> None:
        node = self.nodes[name]
        decode = node.decoding.pop(place)
        self.schedule.decoded(name, decode)
        node.batches |= {(decode.shard, signature) for signature in decode.signatures}

    def finish(self, name: str, place: int) -> None:
        lease = self.nodes[name].workers[place].pop(0)
        self.schedule.finished(name, lease)
        self.finished.update((lease.fingerprint, shard) for shard in lease.shards)

    def kill_worker(self, name: str, place: int) -> None:
        node = self.nodes[name]
        queue, node.workers[place], node.holds[place] = node.workers[place], [], None
        for number, lease in enumerate(queue):
            self.lose(self.schedule.interrupted(name, lease, blamed=number == 0))

    def kill_node(self, name: str) -> None:
        del self.nodes[name]
        self.lose(self.schedule.remove_node(name))

    def lose(self, units: list[Unit]) -> None:
        """As the driver does: a unit that is given up takes its checkpoint along."""
        self.lost.update(units)
        for fingerprint in sorted({fingerprint for fingerprint, _ in units}):
            self.lost.update(self.schedule.give_up_checkpoint(fingerprint))


@st.composite
def studies(draw: st.DrawFn) -> Simulation:
    shards = [f"{number:016x}" for number in range(draw(st.integers(1, 7)))]
    images = {shard: draw(st.integers(1, 9)) for shard in shards}
    jobs = []
    for number in range(draw(st.integers(1, 6))):
        missing = draw(st.lists(st.sampled_from(shards), unique=True, min_size=1))
        signature = draw(st.sampled_from(SIGNATURES))
        jobs.append(Job(f"job{number}", signature, tuple(sorted(missing)), draw(st.integers(1, 5)) * 1.0))
    return Simulation(jobs, images, dict.fromkeys(SIGNATURES, 1) | {SIGNATURES[2]: draw(st.integers(1, 4))})


def play(simulation: Simulation, draw: st.DataObject, deaths: int = 0) -> None:
    """Let things happen in any order until all is done; at most so many workers or nodes die on the way."""
    steps, joined = 0, len(simulation.nodes)
    while simulation.schedule.unfinished:
        simulation.top_up()
        busy = simulation.busy()
        assert busy, "nothing is under way and something is left"
        steps += 1
        assert steps < 2000, "it never ends"
        if deaths and draw.draw(st.integers(0, 4)) == 0:
            deaths -= 1
            name = draw.draw(st.sampled_from(sorted(simulation.nodes)))
            if draw.draw(st.booleans()):
                simulation.kill_worker(name, draw.draw(st.integers(0, len(simulation.nodes[name].workers) - 1)))
                continue
            if len(simulation.nodes) == 1:  # another comes first: without any node nothing goes on
                simulation.join(f"node{joined}", draw.draw(st.integers(0, 30)), 1)
                joined += 1
            simulation.kill_node(name)
            continue
        kind, name, place = draw.draw(st.sampled_from(busy))
        (simulation.decoded if kind == "decoded" else simulation.finish)(name, place)
    while simulation.busy():  # decodes that an idle node had begun, to take over what others then finished
        kind, name, place = simulation.busy()[0]
        assert kind == "decoded"
        simulation.decoded(name, place)
    simulation.top_up()
    assert simulation.busy() == []
    assert all(not node.batches for node in simulation.nodes.values()), "every batch is let go at the end"


NODES = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(studies(), NODES, st.data())
def test_every_unit_runs_exactly_once(
    simulation: Simulation, nodes: list[tuple[int, int]], data: st.DataObject
) -> None:
    for number, (budget, workers) in enumerate(nodes):
        simulation.join(f"node{number}", budget, workers)
    play(simulation, data)
    assert simulation.finished == Counter(simulation.units)
    assert not simulation.lost


@settings(max_examples=150, deadline=None)
@given(studies(), NODES, st.data())
def test_deaths_lose_nothing(simulation: Simulation, nodes: list[tuple[int, int]], data: st.DataObject) -> None:
    """Fewer deaths than it takes to give a unit up: every unit is finished, and only once."""
    for number, (budget, workers) in enumerate(nodes):
        simulation.join(f"node{number}", budget, workers)
    play(simulation, data, deaths=ATTEMPTS - 1)
    assert simulation.finished == Counter(simulation.units)
    assert not simulation.lost


@settings(max_examples=100, deadline=None)
@given(studies(), NODES, st.data())
def test_many_deaths_account_for_every_unit(
    simulation: Simulation, nodes: list[tuple[int, int]], data: st.DataObject
) -> None:
    for number, (budget, workers) in enumerate(nodes):
        simulation.join(f"node{number}", budget, workers)
    play(simulation, data, deaths=40)
    assert set(simulation.finished) | simulation.lost == simulation.units
    assert not set(simulation.finished) & simulation.lost
    assert set(simulation.finished.values()) <= {1}


@settings(max_examples=100, deadline=None)
@given(studies(), st.integers(0, 20), st.integers(1, 3), st.data())
def test_one_node_decodes_each_shard_once(
    simulation: Simulation, spare: int, workers: int, data: st.DataObject
) -> None:
    """As long as the checkpoints are few and the budget takes one shard for all signatures that are asked of it."""
    workers = max(workers, -(-len(simulation.jobs) // FEW))
    asked: dict[str, set] = {}
    for job in simulation.jobs:
        for shard in job.shards:
            asked.setdefault(shard, set()).add(job.signature)
    needed = max(simulation.images[shard] * sum(simulation.sizes[s] for s in wanted) for shard, wanted in asked.items())
    simulation.join("node", needed + spare, workers)
    play(simulation, data)
    assert simulation.passes == Counter({("node", shard): 1 for shard in asked})


@settings(max_examples=100, deadline=None)
@given(studies(), NODES, st.data())
def test_batches_are_decoded_once_on_each_node(
    simulation: Simulation, nodes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """However small the budgets are, nothing is decoded, dropped and decoded again in one place."""
    for number, (budget, workers) in enumerate(nodes):
        simulation.join(f"node{number}", budget, workers)
    play(simulation, data)
    assert set(simulation.decodes.values()) <= {1}


def jobs(*costs: float, shards: int = 8) -> tuple[list[Job], dict[str, int]]:
    names = [f"{number:016x}" for number in range(shards)]
    return [Job(f"job{n}", SIGNATURES[0], tuple(names), cost) for n, cost in enumerate(costs)], dict.fromkeys(names, 1)


def ready(schedule: Schedule, node: str) -> None:
    """Decode all there is room for."""
    while (decode := schedule.next_decode(node)) is not None:
        schedule.decoded(node, decode)


def schedule_of(*costs: float, workers: int, budget: int = 100, shards: int = 8) -> Schedule:
    wanted, images = jobs(*costs, shards=shards)
    schedule = Schedule(wanted, images, {SIGNATURES[0]: 1})
    schedule.add_node("node", budget, workers)
    ready(schedule, "node")
    return schedule


def test_longest_first() -> None:
    schedule = schedule_of(1.0, 9.0, 3.0, workers=3)
    taken = [schedule.next_lease("node", None) for _ in range(3)]
    assert [lease.fingerprint for lease in taken if lease] == ["job1", "job1", "job2"]


def test_a_worker_keeps_its_checkpoint() -> None:
    schedule = schedule_of(1.0, 9.0, workers=1)
    lease = schedule.next_lease("node", "job0")
    assert lease is not None
    assert lease.fingerprint == "job0"


def test_a_heavy_checkpoint_is_split_over_workers() -> None:
    schedule = schedule_of(5.0, workers=4)
    taken = [schedule.next_lease("node", None) for _ in range(4)]
    assert [len(lease.shards) for lease in taken if lease] == [1, 1, 1, 1]
    assert len({shard for lease in taken if lease for shard in lease.shards}) == 4


def test_leases_are_long_at_first_and_short_at_last() -> None:
    schedule = schedule_of(*[1.0] * 12, workers=1)
    lengths = []
    while (lease := schedule.next_lease("node", None)) is not None:
        schedule.finished("node", lease, seconds=1.0 * len(lease.shards))
        lengths.append(len(lease.shards))
    assert sum(lengths) == 12 * 8
    assert lengths[0] == 1, "how long it takes is not known yet"
    assert max(lengths) == LONGEST_LEASE
    assert lengths[-3:] == [1, 1, 1]


def test_nothing_stands_behind_a_lease_that_an_idle_worker_could_begin() -> None:
    schedule = schedule_of(1.0, workers=2, shards=2)
    assert schedule.next_lease("node", None) is not None
    assert schedule.next_lease("node", "job0", queued=True) is None
    assert schedule.next_lease("node", None) is not None


def test_what_is_resident_comes_first() -> None:
    schedule = schedule_of(*[1.0] * 12, workers=1)
    lease = schedule.next_lease("node", None, {"job3"})
    assert lease is not None
    assert lease.fingerprint == "job3"


def test_but_not_before_what_would_finish_last() -> None:
    schedule = schedule_of(1.0, 99.0, 1.0, workers=2)
    lease = schedule.next_lease("node", None, {"job0"})
    assert lease is not None
    assert lease.fingerprint == "job1"


def test_measured_seconds_stand_for_estimates() -> None:
    """The second was thought the cheaper; measured, it is the dearer one of the two."""
    schedule = schedule_of(8.0, 4.0, 1.0, workers=1)
    for fingerprint, seconds in (("job0", 1.0), ("job1", 9.0)):
        lease = schedule.next_lease("node", fingerprint)
        assert lease is not None
        assert (lease.fingerprint, len(lease.shards)) == (fingerprint, 1)
        schedule.finished("node", lease, seconds=seconds)
    lease = schedule.next_lease("node", None)
    assert lease is not None
    assert lease.fingerprint == "job1"


def test_nothing_without_decoded_images() -> None:
    wanted, images = jobs(1.0)
    schedule = Schedule(wanted, images, {SIGNATURES[0]: 1})
    schedule.add_node("node", 3, 1)
    assert schedule.next_lease("node", None) is None
    assert [schedule.next_decode("node") is not None for _ in range(5)] == [True] * 3 + [False] * 2


def test_a_queue_is_not_blamed() -> None:
    """What only stood behind a lease that killed its worker again and again is never given up."""
    schedule = schedule_of(9.0, 1.0, workers=1, shards=4)
    for death in range(ATTEMPTS):
        first, second = schedule.next_lease("node", "job0"), schedule.next_lease("node", "job1")
        assert first is not None
        assert second is not None
        assert (first.fingerprint, second.fingerprint) == ("job0", "job1")
        lost = schedule.interrupted("node", first, blamed=True) + schedule.interrupted("node", second, blamed=False)
        assert lost == ([("job0", first.shards[0])] if death == ATTEMPTS - 1 else [])
    schedule.give_up_checkpoint("job0")
    while (lease := schedule.next_lease("node", None)) is not None:
        assert lease.fingerprint == "job1"
        schedule.finished("node", lease)
    assert not schedule.unfinished


def test_what_runs_of_a_given_up_checkpoint_is_lost_with_its_worker() -> None:
    schedule = schedule_of(1.0, workers=2, shards=4)
    first, second = schedule.next_lease("node", None), schedule.next_lease("node", None)
    assert first is not None
    assert second is not None
    left = schedule.give_up_checkpoint("job0")
    assert schedule.interrupted("node", first) == [("job0", shard) for shard in first.shards]
    schedule.finished("node", second)
    assert len(left) + len(first.shards) + len(second.shards) == 4
    assert not schedule.unfinished


def test_a_spoilt_shard_takes_its_units_along() -> None:
    wanted, images = jobs(1.0, 2.0, shards=2)
    schedule = Schedule(wanted, images, {SIGNATURES[0]: 1})
    schedule.add_node("node", 10, 1)
    decode = schedule.next_decode("node")
    assert decode is not None
    schedule.not_decoded("node", decode)
    assert schedule.give_up_shard(decode.shard) == [("job0", decode.shard), ("job1", decode.shard)]
    ready(schedule, "node")
    seen = []
    while (lease := schedule.next_lease("node", None)) is not None:
        seen += [(lease.fingerprint, shard) for shard in lease.shards]
        schedule.finished("node", lease)
    other = next(shard for shard in images if shard != decode.shard)
    assert sorted(seen) == [("job0", other), ("job1", other)]
    assert not schedule.unfinished


@pytest.mark.parametrize("budget", [0, 5, 99])
def test_one_batch_always_fits(budget: int) -> None:
    wanted, _ = jobs(1.0, shards=1)
    schedule = Schedule(wanted, {wanted[0].shards[0]: 100}, {SIGNATURES[0]: 1})
    schedule.add_node("node", budget, 1)
    assert schedule.next_decode("node") == Decode(wanted[0].shards[0], (SIGNATURES[0],))
    assert schedule.next_decode("node") is None
