"""Which worker runs which checkpoint on which shards, and which shards are decoded where: decisions only, no Ray.

A unit is a checkpoint on a shard. A node decodes shards into its memory, each once for all signatures (in parts only
where its budget cannot take the whole), and never holds more decoded bytes than its budget (one batch always may). A
worker is leased a checkpoint with some of the decoded shards of its node: the checkpoint it holds already, else the one
with most work left. A decoded batch is dropped as soon as no unit needs it. Shards go to nodes on demand; a node with
nothing else to do takes over units of a shard that another node is busy with, so that the end of a study is shared too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from overlap.zoo.preprocessing import Signature

Batch = tuple[str, Signature]
"""A shard (by name) prepared for a signature."""

LONGEST_LEASE = 4
"""Shards in one lease at most: a batch stays in memory until its last lease is done."""
ATTEMPTS = 4
"""How often a unit may take its worker down before its checkpoint is given up."""


@dataclass(frozen=True)
class Job:
    """One checkpoint's share of the work, by shard names in order."""

    fingerprint: str
    signature: Signature
    shards: tuple[str, ...]
    cost: float
    """Relative cost of one image (any unit, the same for all jobs)."""


@dataclass(frozen=True)
class Lease:
    """A checkpoint and the decoded shards that one worker is to run it on."""

    fingerprint: str
    signature: Signature
    shards: tuple[str, ...]

    @property
    def batches(self) -> list[Batch]:
        """The decoded batches that the lease reads, in order."""
        return [(shard, self.signature) for shard in self.shards]


@dataclass(frozen=True)
class Decode:
    """A shard to decode on a node, once, for these signatures."""

    shard: str
    signatures: tuple[Signature, ...]


@dataclass
class _Node:
    budget: int
    workers: int
    decoding: set[Batch] = field(default_factory=set)
    ready: set[Batch] = field(default_factory=set)
    leased: dict[Batch, int] = field(default_factory=lambda: defaultdict(int))


class Schedule:
    """The state of a fan-out. Every method is deterministic: equal calls give equal schedules."""

    def __init__(
        self, jobs: Sequence[Job], images: Mapping[str, int], bytes_per_image: Mapping[Signature, int]
    ) -> None:
        """Start with every unit waiting.

        Args:
            jobs: what each checkpoint still has to do.
            images: number of images by shard, in the order in which shards are to be taken.
            bytes_per_image: decoded size by signature.
        """
        self._jobs = {job.fingerprint: job for job in jobs}
        self._images = images
        self._bytes_per_image = bytes_per_image
        self._nodes: dict[str, _Node] = {}
        self._waiting: dict[Batch, set[str]] = defaultdict(set)
        self._left: dict[str, float] = defaultdict(float)
        self._attempts: dict[tuple[str, str], int] = defaultdict(int)
        self._running: dict[tuple[str, str], str] = {}
        self._given_up: set[str] = set()
        for job in jobs:
            for shard in job.shards:
                self._wait(job.fingerprint, shard)

    @property
    def unfinished(self) -> bool:
        """Whether any unit is waiting or running."""
        return bool(self._running) or any(self._waiting.values())

    def add_node(self, node: str, budget: int, workers: int) -> None:
        """Let a node take part, with so many bytes for decoded batches and so many workers."""
        self._nodes[node] = _Node(budget, workers)

    def remove_node(self, node: str) -> list[tuple[str, str]]:
        """Forget a node that is gone; its running units wait again. Returns the units that were given up."""
        self._nodes.pop(node, None)
        return self._return_units([unit for unit, place in self._running.items() if place == node], blamed=True)

    def next_decode(self, node: str) -> Decode | None:
        """The next shard that a node should decode, or None while its budget is full or nothing waits for it."""
        state = self._nodes[node]
        held = state.decoding | state.ready
        room = state.budget - sum(map(self._bytes, held))
        elsewhere = {
            batch for other in self._nodes.values() if other is not state for batch in other.decoding | other.ready
        }
        idle = not held
        for takeover in (False, True):
            if takeover and not idle:
                return None
            for shard in self._images:
                wanted = [
                    (shard, signature)
                    for signature in self._bytes_per_image
                    if self._waiting.get((shard, signature))
                    and (shard, signature) not in held
                    and (takeover or (shard, signature) not in elsewhere)
                ]
                if not wanted:
                    continue
                chosen = wanted if sum(map(self._bytes, wanted)) <= room else []
                if idle and not chosen:  # it will never fit as a whole: as much as does, and the rest another time
                    for batch in wanted:
                        if self._bytes(batch) <= room or not chosen:
                            chosen.append(batch)
                            room -= self._bytes(batch)
                if not chosen:
                    return None  # in order: a smaller shard must not overtake one that waits for room
                state.decoding.update(chosen)
                return Decode(shard, tuple(signature for _, signature in chosen))
        return None

    def decoded(self, node: str, decode: Decode) -> None:
        """A node holds these batches now."""
        batches = {(decode.shard, signature) for signature in decode.signatures}
        self._nodes[node].decoding -= batches
        self._nodes[node].ready |= batches

    def not_decoded(self, node: str, decode: Decode) -> None:
        """A node failed to decode through no fault of the shard; it may be tried again."""
        if node in self._nodes:
            self._nodes[node].decoding -= {(decode.shard, signature) for signature in decode.signatures}

    def next_lease(self, node: str, holds: str | None) -> Lease | None:
        """What a worker of this node should run next.

        Args:
            node: where the worker is.
            holds: fingerprint of the checkpoint it ran last, kept on while there is work for it.
        """
        state = self._nodes[node]
        available: dict[str, list[str]] = defaultdict(list)
        for shard in self._images:
            for signature in self._bytes_per_image:
                if (shard, signature) in state.ready:
                    for fingerprint in self._waiting.get((shard, signature), ()):
                        available[fingerprint].append(shard)
        if not available:
            return None
        if holds in available:
            chosen = str(holds)
        else:
            chosen = max(available, key=lambda fingerprint: (self._left[fingerprint], fingerprint))
        shards = available[chosen]
        share = -(-len(shards) // state.workers) if len(available) < state.workers else len(shards)
        job = self._jobs[chosen]
        lease = Lease(chosen, job.signature, tuple(shards[: min(share, LONGEST_LEASE)]))
        for shard in lease.shards:
            self._waiting[(shard, job.signature)].discard(chosen)
            self._left[chosen] -= self._cost(job, shard)
            self._running[(chosen, shard)] = node
            state.leased[(shard, job.signature)] += 1
        return lease

    def finished(self, node: str, lease: Lease) -> None:
        """A lease came back; every unit in it succeeded or was recorded as failed."""
        for shard in lease.shards:
            self._running.pop((lease.fingerprint, shard), None)
        self._unlease(node, lease)

    def interrupted(self, node: str, lease: Lease, *, blamed: bool = True) -> list[tuple[str, str]]:
        """A worker died with a lease: its units wait again. Returns the units that were given up.

        Args:
            node: where the worker was.
            lease: what it had not finished.
            blamed: whether it was running this lease; what only stood in its queue did not take it down.
        """
        self._unlease(node, lease)
        units = [(lease.fingerprint, shard) for shard in lease.shards]
        return self._return_units([unit for unit in units if unit in self._running], blamed=blamed)

    def give_up_checkpoint(self, fingerprint: str) -> list[tuple[str, str]]:
        """Drop a checkpoint's waiting units; returns them. Those that are running are lost if they are interrupted."""
        job = self._jobs[fingerprint]
        self._given_up.add(fingerprint)
        dropped = [(fingerprint, shard) for shard in job.shards if fingerprint in self._waiting[(shard, job.signature)]]
        for _, shard in dropped:
            self._waiting[(shard, job.signature)].discard(fingerprint)
        self._left[fingerprint] = 0.0
        return dropped

    def give_up_shard(self, shard: str) -> list[tuple[str, str]]:
        """Drop all waiting units of a shard that cannot be decoded; returns them."""
        dropped = [
            (fingerprint, shard)
            for signature in self._bytes_per_image
            for fingerprint in sorted(self._waiting.pop((shard, signature), ()))
        ]
        for fingerprint, _ in dropped:
            self._left[fingerprint] -= self._cost(self._jobs[fingerprint], shard)
        return dropped

    def droppable(self, node: str) -> list[Batch]:
        """Decoded batches of a node that no unit needs any more; they count no longer."""
        state = self._nodes[node]
        done = [batch for batch in state.ready if not self._waiting.get(batch) and not state.leased[batch]]
        state.ready.difference_update(done)
        return done

    def _wait(self, fingerprint: str, shard: str) -> None:
        job = self._jobs[fingerprint]
        self._waiting[(shard, job.signature)].add(fingerprint)
        self._left[fingerprint] += self._cost(job, shard)

    def _return_units(self, units: list[tuple[str, str]], *, blamed: bool) -> list[tuple[str, str]]:
        lost = []
        for fingerprint, shard in units:
            del self._running[(fingerprint, shard)]
            self._attempts[(fingerprint, shard)] += blamed
            if fingerprint not in self._given_up and self._attempts[(fingerprint, shard)] < ATTEMPTS:
                self._wait(fingerprint, shard)
            else:
                lost.append((fingerprint, shard))
        return lost

    def _unlease(self, node: str, lease: Lease) -> None:
        if node in self._nodes:
            for batch in lease.batches:
                self._nodes[node].leased[batch] -= 1

    def _bytes(self, batch: Batch) -> int:
        shard, signature = batch
        return self._images[shard] * self._bytes_per_image[signature]

    def _cost(self, job: Job, shard: str) -> float:
        return job.cost * self._images[shard]
