"""Batch sizes that back-off on out-of-memory has found, remembered across runs in the store.

A size is a fact about a network, what it sees, the numeric mode and the device, whatever the weights: so a new
checkpoint of a known network starts where its siblings ended. Cheap to lose: where nothing is remembered, or the store
does not answer, the size is found again. Only sizes that ran are kept; one that no longer fits is backed off from and
replaced. What other programs held of a device's memory meanwhile is not known here, so a remembered size may be smaller
than need be, never larger than what ran.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from overlap.errors import StoreError
from overlap.store import memo
from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Candidate

VERSION = 1
"""Of what a key is made of."""


@dataclass(frozen=True)
class BatchSizes:
    """What is remembered of one kind of device."""

    objects: Objects
    device: str
    """Its name, as the driver tells it."""
    memory: int
    """Its memory in bytes."""
    _known: dict[str, int | None] = field(default_factory=dict)

    def recall(self, candidate: Candidate) -> int | None:
        """Images per forward pass that ran after a larger number did not fit; None where nothing is known.

        The store is asked once for each network.
        """
        key = self._key(candidate)
        if key not in self._known:
            found: Any = None
            with suppress(StoreError):
                found = memo.recall(key, self.objects)
            self._known[key] = found if isinstance(found, int) and found >= 1 else None
        return self._known[key]

    def remember(self, candidate: Candidate, size: int) -> None:
        """Keep a size that ran after a larger one did not fit; nothing is written where it is known already."""
        if self.recall(candidate) == size:
            return
        key = self._key(candidate)
        self._known[key] = size
        with suppress(StoreError):
            memo.remember(key, size, self.objects)

    def _key(self, candidate: Candidate) -> str:
        about = {
            "version": VERSION,
            "architecture": candidate.architecture.identity(),
            "classes": candidate.classes,
            "input_size": candidate.preprocessing.input_size,
            "numeric": candidate.numeric.identity(),
            "device": self.device,
            "memory": self.memory,
        }
        return memo.key("batch-size", about)
