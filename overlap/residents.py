"""Networks that need not be loaded: as many as fit the given bytes, least recently used out first.

Guarantees: what leaves is let go of, compiled code with it, and is gone before as many bytes as `UNSEEN` says have
left; two threads may ask at once. Weights are counted, as they are held; not what a pass or compiled code needs beside
them.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import nn

    from overlap.compiled import Compiled
    from overlap.penultimate import Tap


UNSEEN = 0.25
"""Share of the limit that may have left and not be gone: a classifier that is kept exact refers to itself, and to look
at every object of a process with torch, timm and Ray takes a quarter of a second."""


class Resident(NamedTuple):
    """One network on its device."""

    module: nn.Module
    bytes: int
    tap: Tap | None = None
    """Where features are wanted."""
    compiled: Compiled | None = None
    """In a compiled mode."""


class Residents:
    """The networks on one device, by fingerprint."""

    def __init__(self, limit: int) -> None:
        """Nobody is there.

        Args:
            limit: bytes that all together may take; one that is larger is still let in, alone.
        """
        self._limit = limit
        self._held: OrderedDict[str, Resident] = OrderedDict()
        self._left = 0
        self._changing = threading.RLock()

    def __iter__(self) -> Iterator[str]:
        """Fingerprints, the one used last at the end."""
        with self._changing:
            return iter([*self._held])

    def __contains__(self, fingerprint: object) -> bool:
        return fingerprint in self._held

    def __getitem__(self, fingerprint: str) -> Resident:
        return self._held[fingerprint]

    def use(self, fingerprint: str) -> Resident | None:
        """One that is used now; None where it must be loaded."""
        with self._changing:
            if fingerprint not in self._held:
                return None
            self._held.move_to_end(fingerprint)
            return self._held[fingerprint]

    def add(self, fingerprint: str, resident: Resident) -> Resident:
        """Let one in, who is used now; `make_room` first."""
        with self._changing:
            self._held[fingerprint] = resident
            return resident

    def make_room(self, size: int, keep: int = 0) -> bool:
        """Let the least recently used go until so many bytes fit; whether they do.

        Args:
            size: bytes.
            keep: how many of those used last stay, even so.
        """
        with self._changing:
            while self._lacks(size) and len(self._held) > keep:
                self._let_go([next(iter(self._held))])
            return not self._lacks(size)

    def leave(self, but: str | None = None) -> bool:
        """Let all others than one go, and give their memory back to the device; whether there were any."""
        with self._changing:
            others = [fingerprint for fingerprint in self._held if fingerprint != but]
            self._let_go(others)
            self._collect()
        torch.cuda.empty_cache()
        return bool(others)

    def _lacks(self, size: int) -> bool:
        return sum(held.bytes for held in self._held.values()) + size > self._limit

    def _let_go(self, fingerprints: list[str]) -> None:
        for fingerprint in fingerprints:
            left = self._held.pop(fingerprint)
            self._left += left.bytes
            if left.compiled is not None:
                left.compiled.let_go()
            del left
        if self._left > UNSEEN * self._limit:
            self._collect()

    def _collect(self) -> None:
        if self._left:
            gc.collect()
        self._left = 0
