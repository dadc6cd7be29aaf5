"""The checkpoint that is wanted next, brought into host memory by a second thread while the first one computes.

Guarantees: one checkpoint at most is held, and never more bytes than it may be; what was brought and is not asked for
goes when the next one is brought; the second thread raises nothing, so that what is wrong with a checkpoint is said
where it is asked for, and only there; whoever asks for what is being brought waits for it. The second thread calls no
device (a CUDA graph that the first one captures would be spoilt), and runs libraries' code alone: a user's factory,
whose file may set TF32 or a default type for the whole process, and a pickle that may run code, wait for their turn,
with the factory's tensors read. Not guaranteed: that anything was brought.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.fetching import fetched
from overlap.zoo.state_dicts import read_state_dict

State = dict[str, torch.Tensor]
Build = Callable[[Checkpoint, Path | State], nn.Module]
"""Makes a module of a checkpoint and its weights: a file, or the tensors in it."""


@dataclass(frozen=True)
class Brought:
    """What is held for a checkpoint: its module, or the tensors for one that only its turn may build."""

    fingerprint: str
    what: nn.Module | State
    bytes: int


class Ahead:
    """What is resident on one device, and beside it in host memory the checkpoint that is wanted next."""

    def __init__(
        self, objects: Objects, build: Build, resident: OrderedDict[str, Any], limit: int, host_limit: int | None
    ) -> None:
        """Nothing is brought yet.

        Args:
            objects: where weights are.
            build: makes a module.
            resident: what the device holds by fingerprint, the one used last at the end; item 1 of each is its bytes.
            limit: bytes of what is resident.
            host_limit: bytes of what is brought, where the device has memory of its own; None counts it among the
                resident.
        """
        self._objects = objects
        self._build = build
        self._resident = resident
        self._limit = limit
        self._host_limit = host_limit
        self._brought: Brought | None = None
        self._asked: str | None = None
        self._building = threading.Lock()
        self._moving = threading.Lock()

    @property
    def fingerprint(self) -> str | None:
        """Of what is brought."""
        brought = self._brought
        return None if brought is None else brought.fingerprint

    def bring(self, checkpoint: Checkpoint) -> None:
        """Bring a checkpoint, for the second thread to call; raises nothing."""
        if self._is_here(checkpoint):
            return
        with (
            suppress(Exception, SystemExit),
            fetched(checkpoint.weights_digest, self._objects) as weights,
            self._building,
        ):
            if not self._is_here(checkpoint):  # nor came meanwhile
                self._brought = None
                self._brought = self._made(checkpoint, weights)

    def used(self, fingerprint: str) -> Any | None:
        """What is resident of a checkpoint, from now on the one used last; None where nothing is."""
        self._asked = fingerprint
        with self._moving:
            if fingerprint not in self._resident:
                return None
            self._resident.move_to_end(fingerprint)
            return self._resident[fingerprint]

    @contextmanager
    def turn(self, checkpoint: Checkpoint) -> Iterator[nn.Module]:
        """The module of a checkpoint, on the host, brought or built now; nothing is brought while the block runs.

        Raises:
            CheckpointError: it cannot be loaded.
            DamagedObject: the store lost its weights, or holds other bytes under their name.
            StoreError: the store cannot be reached.
        """
        with self._building:
            brought = self._brought
            if brought is not None and brought.fingerprint == checkpoint.fingerprint:
                self._brought = None
                what = brought.what
                yield what if isinstance(what, nn.Module) else self._build(checkpoint, what)
                return
        # The file first and then the lock, as in `bring`: in another order each could wait for the other.
        with fetched(checkpoint.weights_digest, self._objects) as weights, self._building:
            self.make_room(checkpoint.weights_bytes)
            yield self._build(checkpoint, weights)

    def make_room(self, size: int) -> None:
        """Let go of what is resident, least recently used first and of what is brought last, until so much more fits.

        Args:
            size: bytes.
        """
        if not self._evict(size) and self._host_limit is None:
            self._brought = None

    def forget(self) -> None:
        """Let go of what is brought."""
        with self._building:
            self._brought = None

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes may be brought; where they count among the resident, all but the one in use may go."""
        return self._evict(size, keep=1) if self._host_limit is None else size <= self._host_limit

    def _evict(self, size: int, keep: int = 0) -> bool:
        brought = self._brought
        size += brought.bytes if brought is not None and self._host_limit is None else 0
        with self._moving:
            while len(self._resident) > keep and self._held() + size > self._limit:
                self._resident.popitem(last=False)
            return self._held() + size <= self._limit

    def _held(self) -> int:
        return sum(each[1] for each in self._resident.values())

    def _is_here(self, checkpoint: Checkpoint) -> bool:
        fingerprint = checkpoint.fingerprint
        return fingerprint in (self._asked, self.fingerprint) or fingerprint in self._resident

    def _made(self, checkpoint: Checkpoint, weights: Path) -> Brought | None:
        candidate = checkpoint.candidate
        if candidate.allow_pickle or not self._has_room(checkpoint.weights_bytes):
            return None
        if candidate.architecture.source == "factory":
            what: nn.Module | State = read_state_dict(weights, candidate.weights)
        else:
            what = self._build(checkpoint, weights)
        size = _bytes(what)  # a file of half precision takes twice its size
        return Brought(checkpoint.fingerprint, what, size) if self._has_room(size) else None


def _bytes(what: nn.Module | State) -> int:
    tensors = (*what.parameters(), *what.buffers()) if isinstance(what, nn.Module) else what.values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
