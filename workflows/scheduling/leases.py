"""Which worker runs which checkpoint on which shards, and which shards are decoded where: decisions only, no Ray.

A unit is a checkpoint on a shard. A node decodes shards into its memory, in the order that `claims` gives, and never
holds more decoded bytes than its budget (one batch always may). A worker is leased a checkpoint with some of the
decoded shards of its node: the checkpoint it ran last, else one that is resident on it, else the one with most work
left for each worker that is on it, so that heavy checkpoints are begun first and split over workers. Leases shrink
towards the end, and none waits behind another that an idle worker could begin. A decoded batch is dropped as soon as
no unit needs it. What a decision costs does not grow with the number of units.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from overlap.zoo.preprocessing import Signature
from workflows.scheduling.backlog import Backlog, Batch, Job
from workflows.scheduling.claims import at_hand, claim, hungry
from workflows.scheduling.holdings import Decode, Holding

LONGEST_LEASE = 4
"""Shards in one lease at most: a batch stays in memory until its last lease is done."""
ATTEMPTS = 4
"""How often a unit may take its worker down before its checkpoint is given up."""
PARTS = 8
"""A lease is at most one of so many parts of what a worker will still have to do, unless it is a single unit: a worker
that is slower than the others is then not the last to finish."""
LOOK = 8
"""Leases between two sums over what a node has; in between what it leased is subtracted."""


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
        self._backlog = Backlog(jobs, images, bytes_per_image)
        self._nodes: dict[str, Holding] = {}
        self._workers = 0
        self._attempts: dict[tuple[str, str], int] = defaultdict(int)
        self._running: dict[tuple[str, str], str] = {}
        self._runs: Counter[str] = Counter()
        self._given_up: set[str] = set()

    @property
    def unfinished(self) -> bool:
        """Whether any unit is waiting or running."""
        return bool(self._running) or self._backlog.units > 0

    def add_node(self, node: str, budget: int, workers: int) -> None:
        """Let a node take part, with so many bytes for decoded batches and so many workers."""
        self._nodes[node] = Holding(budget, workers)
        self._workers += workers

    def remove_node(self, node: str) -> list[tuple[str, str]]:
        """Forget a node that is gone; its running units wait again. Returns the units that were given up."""
        gone = self._nodes.pop(node, None)
        if gone is not None:
            self._workers -= gone.workers
            self._runs -= gone.runs
        return self._return_units([unit for unit, place in self._running.items() if place == node], blamed=True)

    def next_decode(self, node: str) -> Decode | None:
        """The next shard that a node should decode, or None while its budget is full or it has enough to do."""
        state, backlog = self._nodes[node], self._backlog
        while True:
            while state.claim:
                shard = state.claim[0].shard
                batches = [b for b in state.claim[0].batches if backlog.waits(b) and not state.holds(b)]
                room = state.budget - state.bytes
                chosen = batches if sum(map(backlog.bytes, batches)) <= room else []
                if batches and not chosen:
                    if not state.empty:
                        return None  # in order: a smaller shard must not overtake one that waits for room
                    for batch in batches:  # it will never fit as a whole: as much as does, and the rest another time
                        if backlog.bytes(batch) <= room or not chosen:
                            chosen.append(batch)
                            room -= backlog.bytes(batch)
                state.claim.popleft()
                if chosen:
                    for batch in chosen:
                        state.expect(batch, backlog.bytes(batch))
                    rest = tuple(signature for _, signature in batches if (shard, signature) not in chosen)
                    if rest:
                        state.claim.appendleft(Decode(shard, rest))
                    return Decode(shard, tuple(signature for _, signature in chosen))
            if not hungry(state, self._nodes, backlog):
                return None
            state.take_on(claim(state, self._nodes, backlog))
            if not state.claim:
                state.looked_at = backlog.total
                return None

    def decoded(self, node: str, decode: Decode) -> None:
        """A node holds these batches now."""
        self._nodes[node].arrive(decode.batches)

    def not_decoded(self, node: str, decode: Decode) -> None:
        """A node failed to decode through no fault of the shard; it may be tried again."""
        if node in self._nodes:
            for batch in decode.batches:
                self._nodes[node].forget(batch, self._backlog.bytes(batch))

    def next_lease(
        self, node: str, holds: str | None, resident: Collection[str] = (), *, queued: bool = False
    ) -> Lease | None:
        """What a worker of this node should run next.

        Args:
            node: where the worker is.
            holds: fingerprint of the checkpoint it ran last, kept on while there is work for it.
            resident: fingerprints of what it need not load.
            queued: it is busy, and the lease would stand behind another.
        """
        state, backlog = self._nodes[node], self._backlog
        if state.barren:
            return None
        keeps = holds is not None and any(True for _ in self._at_hand(state, holds))
        chosen = holds if keeps else self._choose(state, resident)
        if chosen is None:
            state.barren = True
            return None
        job = backlog.jobs[chosen]
        held = {shard: state.turns[(shard, job.signature)] for shard in self._at_hand(state, chosen)}
        shards = sorted(held, key=lambda shard: (held[shard], backlog.order[shard]))[:LONGEST_LEASE]
        if not backlog.is_measured(chosen):
            shards = shards[:1]  # how long it takes is not known yet
        if state.leases % LOOK == 0:
            state.at_hand = at_hand(state, self._nodes, backlog)
        most = min(backlog.total / self._workers, state.at_hand / state.workers) / PARTS
        sums = [sum(backlog.cost(chosen, shard) for shard in shards[: n + 1]) for n in range(len(shards))]
        if queued and sums[0] > most:
            return None
        number = max(1, sum(cost <= most for cost in sums))
        lease = Lease(chosen, backlog.jobs[chosen].signature, tuple(shards[:number]))
        for batch in lease.batches:
            backlog.take(chosen, batch[0])
            self._running[(chosen, batch[0])] = node
            state.leased[batch] += 1
            if not backlog.waits(batch):
                self._loosen(batch)
        state.leases += 1
        state.at_hand -= sums[number - 1]
        state.runs[chosen] += 1
        self._runs[chosen] += 1
        return lease

    def _at_hand(self, state: Holding, fingerprint: str) -> Iterator[str]:
        """The shards on which a checkpoint waits and that are decoded here."""
        job = self._backlog.jobs.get(fingerprint)
        if job is not None:
            for shards in state.ready.values():
                yield from shards.get(job.signature, set()) & self._backlog.shards(fingerprint)

    def _choose(self, state: Holding, resident: Collection[str]) -> str | None:
        """Of the earliest claim with work, the checkpoint with most left for each worker on it, resident ones first.

        One that has more left than a worker's part of everything comes before all: it would be the last to finish.
        """
        chosen, late = None, self._backlog.total / self._workers
        for turn in sorted(state.ready):
            best: tuple[bool, float, str] | None = None
            for signature, ready in state.ready[turn].items():
                for fingerprint in self._backlog.active(signature):
                    left = self._backlog.left(fingerprint) / (self._runs[fingerprint] + 1)
                    if chosen is not None and left <= late:
                        continue
                    rank = (fingerprint in resident, left, fingerprint)
                    if (left > late or best is None or rank > best) and not ready.isdisjoint(
                        self._backlog.shards(fingerprint)
                    ):
                        if left > late:
                            chosen, late = fingerprint, left
                        elif best is None or rank > best:
                            best = rank
            if chosen is None and best is not None:
                chosen = best[2]
        return chosen

    def finished(self, node: str, lease: Lease, seconds: float | None = None) -> None:
        """A lease came back; every unit in it succeeded or was recorded as failed.

        Args:
            node: where it was.
            lease: what it was.
            seconds: what it took to compute all of it, where that is known.
        """
        for shard in lease.shards:
            self._running.pop((lease.fingerprint, shard), None)
        self._unlease(node, lease)
        if seconds is not None:
            images = sum(self._backlog.images[shard] for shard in lease.shards)
            self._backlog.measured(lease.fingerprint, images, seconds)

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
        self._given_up.add(fingerprint)
        shards = sorted(self._backlog.shards(fingerprint), key=self._backlog.order.__getitem__)
        return self._drop([(fingerprint, shard) for shard in shards])

    def give_up_shard(self, shard: str) -> list[tuple[str, str]]:
        """Drop all waiting units of a shard that cannot be decoded; returns them."""
        asking = [self._backlog.wanted(signature).get(shard, set()) for signature in self._backlog.signatures]
        return self._drop([(fingerprint, shard) for each in asking for fingerprint in sorted(each)])

    def droppable(self, node: str) -> list[Batch]:
        """Decoded batches of a node that no unit needs any more; they count no longer."""
        state = self._nodes[node]
        done = [batch for batch in state.loose if not self._backlog.waits(batch) and not state.leased[batch]]
        state.loose.clear()
        for batch in done:
            state.forget(batch, self._backlog.bytes(batch))
            del state.leased[batch]
        return sorted(done, key=self._backlog.place)

    def _drop(self, units: list[tuple[str, str]]) -> list[tuple[str, str]]:
        for fingerprint, shard in units:
            self._backlog.take(fingerprint, shard)
            self._loosen((shard, self._backlog.jobs[fingerprint].signature))
        return units

    def _loosen(self, batch: Batch) -> None:
        """No unit may be waiting for a batch any more, wherever it is."""
        for state in self._nodes.values():
            if state.is_ready(batch):
                state.loose.add(batch)

    def _return_units(self, units: list[tuple[str, str]], *, blamed: bool) -> list[tuple[str, str]]:
        lost = []
        for fingerprint, shard in units:
            del self._running[(fingerprint, shard)]
            self._attempts[(fingerprint, shard)] += blamed
            if fingerprint not in self._given_up and self._attempts[(fingerprint, shard)] < ATTEMPTS:
                self._backlog.add(fingerprint, shard)
            else:
                lost.append((fingerprint, shard))
        if units:
            for state in self._nodes.values():
                state.barren = False
        return lost

    def _unlease(self, node: str, lease: Lease) -> None:
        state = self._nodes.get(node)
        self._runs[lease.fingerprint] -= state is not None
        if state is not None:
            state.runs[lease.fingerprint] -= 1
            for batch in lease.batches:
                state.leased[batch] -= 1
                if not state.leased[batch]:
                    state.loose.add(batch)
