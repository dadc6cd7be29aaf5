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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from overlap.residents import Residents
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
    """The checkpoint that is wanted next, beside those that are resident on one device."""

    def __init__(self, objects: Objects, build: Build, residents: Residents, host_limit: int | None) -> None:
        """Nothing is brought yet.

        Args:
            objects: where weights are.
            build: makes a module.
            residents: what the device holds.
            host_limit: bytes of what is brought, where the device has memory of its own; None counts it among the
                resident.
        """
        self._objects = objects
        self._build = build
        self._residents = residents
        self._host_limit = host_limit
        self._brought: Brought | None = None
        self._asked: str | None = None
        self._building = threading.Lock()

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

    @contextmanager
    def turn(self, checkpoint: Checkpoint) -> Iterator[nn.Module]:
        """The module of a checkpoint, on the host, brought or built now; nothing is brought while the block runs.

        Raises:
            CheckpointError: it cannot be loaded.
            DamagedObject: the store lost its weights, or holds other bytes under their name.
            StoreError: the store cannot be reached.
        """
        self._asked = checkpoint.fingerprint
        try:
            with self._building:
                if (what := self._taken(checkpoint)) is not None:
                    yield what if isinstance(what, nn.Module) else self._build(checkpoint, what)
                    return
            # The file first and then the lock, as in `bring`: in another order each could wait for the other.
            with fetched(checkpoint.weights_digest, self._objects) as weights, self._building:
                self.make_room(checkpoint.weights_bytes)
                yield self._build(checkpoint, weights)
        finally:
            self._asked = None

    def make_room(self, size: int) -> None:
        """Have residents leave, least recently used first and what is brought last, until so much more fits.

        Args:
            size: bytes.
        """
        if self._host_limit is not None:
            self._residents.make_room(size)
            return
        brought = self._brought
        if not self._residents.make_room(size + (0 if brought is None else brought.bytes)):
            self._brought = None

    def forget(self) -> None:
        """Let go of what is brought."""
        with self._building:
            self._brought = None

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes may be brought; where they count among the resident, all but the one in use may go."""
        return self._residents.make_room(size, keep=1) if self._host_limit is None else size <= self._host_limit

    def _is_here(self, checkpoint: Checkpoint) -> bool:
        fingerprint = checkpoint.fingerprint
        return fingerprint in (self._asked, self.fingerprint) or fingerprint in self._residents

    def _taken(self, checkpoint: Checkpoint) -> nn.Module | State | None:
        brought = self._brought
        if brought is None or brought.fingerprint != checkpoint.fingerprint:
            return None
        self._brought = None
        return brought.what

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
