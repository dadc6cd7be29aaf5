"""What one node holds: batches that are decoded or being decoded, within its budget, and the leases that read them."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from overlap.zoo.preprocessing import Signature
from workflows.scheduling.backlog import Batch


@dataclass(frozen=True)
class Decode:
    """A shard to decode on a node, once, for these signatures."""

    shard: str
    signatures: tuple[Signature, ...]

    @property
    def batches(self) -> list[Batch]:
        """What it makes, in order."""
        return [(self.shard, signature) for signature in self.signatures]


@dataclass
class Holding:
    """One node's batches."""

    budget: int
    """Bytes; one batch is always taken, however large."""
    workers: int
    bytes: int = 0
    """Of all batches, decoded or on their way."""
    decoding: set[Batch] = field(default_factory=set)
    ready: dict[int, dict[Signature, set[str]]] = field(default_factory=dict)
    """By turn and signature, the decoded shards; only turns and signatures with any."""
    held: dict[Signature, set[str]] = field(default_factory=dict)
    """The same with those on their way."""
    leased: Counter[Batch] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    """Leases under way by checkpoint."""
    loose: set[Batch] = field(default_factory=set)
    """Decoded batches of which the last lease came back, or the last unit was taken: they may be of no more use."""
    claim: deque[Decode] = field(default_factory=deque)
    """What it is to decode next, as room allows."""
    turns: dict[Batch, int] = field(default_factory=dict)
    """The number of the claim that each batch came with: an earlier one is used up first."""
    claims: int = 0
    leases: int = 0
    at_hand: float = 0.0
    """Cost of the work that will come to the node of what it holds, as it was summed last less what was leased."""
    barren: bool = False
    """Nothing could be leased here, and nothing has come since."""

    looked_at: float = math.inf
    """How much work there was in all when it was last asked whether it has enough."""

    @property
    def empty(self) -> bool:
        """Whether it holds nothing and awaits nothing."""
        return not self.held

    def holds(self, batch: Batch) -> bool:
        """Whether a batch is here or on its way."""
        return batch[0] in self.held.get(batch[1], ())

    def is_ready(self, batch: Batch) -> bool:
        """Whether a batch is decoded here."""
        return batch not in self.decoding and self.holds(batch)

    def take_on(self, decodes: Iterable[Decode]) -> None:
        """Claim more, after all else."""
        self.claim.extend(decodes)
        self.claims += 1

    def expect(self, batch: Batch, size: int) -> None:
        """A batch is being decoded."""
        self.decoding.add(batch)
        self.held.setdefault(batch[1], set()).add(batch[0])
        self.turns[batch] = self.claims
        self.bytes += size

    def arrive(self, batches: Iterable[Batch]) -> None:
        """Batches are decoded."""
        for batch in batches:
            self.decoding.remove(batch)
            self.ready.setdefault(self.turns[batch], {}).setdefault(batch[1], set()).add(batch[0])
            self.loose.add(batch)
        self.barren = False

    def forget(self, batch: Batch, size: int) -> None:
        """A batch is gone, or does not come."""
        shard, signature = batch
        self.decoding.discard(batch)
        turn = self.turns.pop(batch)
        _remove(self.ready.get(turn, {}), signature, shard)
        if not self.ready.get(turn, True):
            del self.ready[turn]
        _remove(self.held, signature, shard)
        self.bytes -= size


def _remove(shards: dict[Signature, set[str]], signature: Signature, shard: str) -> None:
    if signature in shards:
        shards[signature].discard(shard)
        if not shards[signature]:
            del shards[signature]
