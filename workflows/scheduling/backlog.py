"""The units of a fan-out that wait, and what they cost: sums are kept, so that asking for them is no search.

A unit is a checkpoint on a shard. Costs are relative at first, and seconds of a worker are told as they are measured:
then a checkpoint's own stand for the estimate, and what was measured of all says what one of cost is in seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.preprocessing import Signature
from workflows.plan import Plan

Batch = tuple[str, Signature]
"""A shard (by name) prepared for a signature."""


@dataclass(frozen=True)
class Job:
    """One checkpoint's share of the work, by shard names in order."""

    fingerprint: str
    signature: Signature
    shards: tuple[str, ...]
    cost: float
    """Relative cost of one image (any unit, the same for all jobs)."""


def jobs(plan: Plan) -> list[Job]:
    """What every checkpoint of a plan still has to do."""
    return [
        Job(
            fingerprint,
            checkpoint.preprocessing.signature,
            tuple(shard.name for shard in plan.missing[fingerprint]),
            cost(checkpoint),
        )
        for fingerprint, checkpoint in plan.distinct.items()
        if plan.missing.get(fingerprint)
    ]


def cost(checkpoint: Checkpoint) -> float:
    """Relative cost of one image: multiplications grow with parameters and, for most networks, with pixels."""
    return float(checkpoint.weights_bytes * checkpoint.preprocessing.bytes_per_image)


class Backlog:
    """What waits. Every unit is added once at first, taken when it is leased, and added again when it is returned."""

    def __init__(
        self, jobs: Sequence[Job], images: Mapping[str, int], bytes_per_image: Mapping[Signature, int]
    ) -> None:
        """Start with every unit waiting; arguments as of `Schedule`."""
        self.jobs = {job.fingerprint: job for job in jobs}
        self.images = images
        self.order = {shard: place for place, shard in enumerate(images)}
        self.signatures = tuple(bytes_per_image)
        self._bytes_per_image = bytes_per_image
        self._estimate = {job.fingerprint: job.cost for job in jobs}
        self._cost = dict(self._estimate)
        self._measured: dict[str, tuple[int, float]] = {}
        self._shards: dict[str, set[str]] = {job.fingerprint: set() for job in jobs}
        self._images_left: dict[str, int] = defaultdict(int)
        self._waiting: dict[Signature, dict[str, set[str]]] = {signature: {} for signature in self.signatures}
        self._active: dict[Signature, dict[str, None]] = {signature: {} for signature in self.signatures}
        self._work: dict[Signature, float] = defaultdict(float)
        self.total = 0.0
        """Cost of all that waits."""
        self.units = 0
        """Number of units that wait."""
        for job in jobs:
            for shard in job.shards:
                self.add(job.fingerprint, shard)

    def add(self, fingerprint: str, shard: str) -> None:
        """A unit waits."""
        signature = self.jobs[fingerprint].signature
        self._waiting[signature].setdefault(shard, set()).add(fingerprint)
        self._shards[fingerprint].add(shard)
        self._active[signature][fingerprint] = None
        self._images_left[fingerprint] += self.images[shard]
        self.units += 1
        self._grow(signature, self.cost(fingerprint, shard))

    def take(self, fingerprint: str, shard: str) -> None:
        """A unit waits no longer."""
        signature = self.jobs[fingerprint].signature
        asking = self._waiting[signature][shard]
        asking.remove(fingerprint)
        if not asking:
            del self._waiting[signature][shard]
        self._shards[fingerprint].remove(shard)
        if not self._shards[fingerprint]:
            del self._active[signature][fingerprint]
        self._images_left[fingerprint] -= self.images[shard]
        self.units -= 1
        self._grow(signature, -self.cost(fingerprint, shard))

    def _grow(self, signature: Signature, cost: float) -> None:
        self._work[signature] += cost
        self.total += cost

    def cost(self, fingerprint: str, shard: str) -> float:
        """Of one unit."""
        return self._cost[fingerprint] * self.images[shard]

    def left(self, fingerprint: str) -> float:
        """Cost of what waits of a checkpoint."""
        return self._cost[fingerprint] * self._images_left[fingerprint]

    def work(self, signature: Signature) -> float:
        """Cost of what waits for a signature."""
        return self._work[signature]

    def shards(self, fingerprint: str) -> set[str]:
        """Shards on which a checkpoint waits; not to be changed."""
        return self._shards[fingerprint]

    def active(self, signature: Signature) -> Mapping[str, None]:
        """Checkpoints of a signature of which something waits, in a fixed order."""
        return self._active[signature]

    def wanted(self, signature: Signature) -> Mapping[str, set[str]]:
        """By shard, the checkpoints that wait for it prepared for this signature; only shards with any."""
        return self._waiting[signature]

    def waits(self, batch: Batch) -> bool:
        """Whether any unit waits for a batch."""
        return batch[0] in self._waiting[batch[1]]

    def place(self, batch: Batch) -> tuple[int, int]:
        """Where a batch stands among all."""
        return self.order[batch[0]], self.signatures.index(batch[1])

    def bytes(self, batch: Batch) -> int:
        """Decoded size."""
        shard, signature = batch
        return self.images[shard] * self._bytes_per_image[signature]

    def is_measured(self, fingerprint: str) -> bool:
        """Whether it is known how long a checkpoint takes."""
        return fingerprint in self._measured

    def measured(self, fingerprint: str, images: int, seconds: float) -> None:
        """A checkpoint took so long for so many images; its cost, and what is thought of the others, follow."""
        before, took = self._measured.get(fingerprint, (0, 0.0))
        self._measured[fingerprint] = before + images, took + seconds
        new = (took + seconds) / (before + images)
        self._set_cost(fingerprint, new)
        if not before:
            self._rescale()

    def _rescale(self) -> None:
        """What was never measured is thought to take as much longer than estimated as what was: the median says."""
        ratios = sorted(
            seconds / images / self._estimate[fingerprint]
            for fingerprint, (images, seconds) in self._measured.items()
            if self._estimate[fingerprint] > 0
        )
        if not ratios:
            return
        scale = ratios[len(ratios) // 2]
        for fingerprint in self.jobs:
            if fingerprint not in self._measured:
                self._cost[fingerprint] = self._estimate[fingerprint] * scale
        for signature in self.signatures:  # summed anew: the units of cost may have changed by many orders
            self._work[signature] = sum(map(self.left, self._active[signature]))
        self.total = sum(self._work.values())

    def _set_cost(self, fingerprint: str, cost: float) -> None:
        change = (cost - self._cost[fingerprint]) * self._images_left[fingerprint]
        self._cost[fingerprint] = cost
        self._grow(self.jobs[fingerprint].signature, change)
