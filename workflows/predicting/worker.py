"""What predicts on the workers of a fan-out, with leased checkpoints.

It says what went wrong instead of raising, so that the driver can tell a bad checkpoint from a store that fails, and
confine each. A unit that is certified already is never run again: its record is looked up first.
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

import overlap
from overlap.errors import CheckpointError, DamagedObject, OverlapError, StoreError
from overlap.images.shards import Shard
from overlap.store.features import from_features
from overlap.store.ledger import Ledger, Record
from overlap.store.location import Location, open_objects
from overlap.store.tables import from_logits
from overlap.store.tops import tops_from_logits
from overlap.zoo.checkpoint import Checkpoint
from workflows.nodes.remote import remote
from workflows.predicting.metrics import Metrics
from workflows.predicting.reports import Outcome, Report

if TYPE_CHECKING:
    from overlap.inference import Inference

DEVICE = "OVERLAP_DEVICE"
"""Environment variable of a node: `cpu` computes on its CPUs, whatever GPUs are declared to Ray."""


@dataclass(frozen=True)
class Context:
    """What all leases of one fan-out have in common, kept in Ray's object store and read once by each predictor."""

    reference: Any

    @classmethod
    def put(cls, data: str, shards: dict[str, Shard], batch_size: int | None) -> Context:
        """Store the data set's name, its shards by name, and the images per forward pass."""
        return cls(ray.put((data, shards, batch_size)))


@remote(num_cpus=0, max_retries=0)
def fetch_ahead(where: Location, weights_digest: str) -> None:
    """Bring weights to the node's cache while its predictors are at work; whoever needs them says what goes wrong."""
    from overlap.zoo.fetching import fetch

    with suppress(OverlapError):
        fetch(weights_digest, open_objects(where))


class Predictors:
    """One process with one device; runs one lease at a time, in the order in which they were given."""

    def __init__(self, where: Location, gpu: bool, resident_bytes: int, name: str) -> None:
        import torch

        from overlap.inference import Predictor
        from overlap.process import be_single_threaded

        self._objects = open_objects(where)
        self._unfit: str | None = None
        self._metrics = Metrics(name)
        self._ended: float | None = None
        if gpu and os.environ.get(DEVICE) == "cpu":
            gpu = False
        if gpu and not torch.cuda.is_available():
            self._unfit = (
                f"node {platform.node()} has GPUs for Ray, but torch finds none there that it can use; install torch "
                f"for its CUDA driver, or start the node with --num-gpus=0 (or {DEVICE}=cpu, to compute on its CPUs)"
            )
            gpu = False
        ahead_bytes = resident_bytes
        if gpu:
            resident_bytes = torch.cuda.mem_get_info()[1] // 2
            self._device = torch.cuda.get_device_name()
        else:
            be_single_threaded()
            self._device = platform.processor() or platform.machine()
        self._predictor = Predictor(self._objects, "cuda" if gpu else "cpu", resident_bytes, ahead_bytes)
        self._writer = ThreadPoolExecutor(1)
        self._context: Context | None = None

    def bring(self, checkpoint: Checkpoint) -> None:
        """Load the checkpoint of the lease that waits, while another runs; that lease says what is wrong with it."""
        self._predictor.ahead.bring(checkpoint)

    def forget(self) -> None:
        """Let go of a checkpoint that was loaded ahead, and that no lease asked for."""
        self._predictor.ahead.forget()

    def run(
        self,
        context: Context,
        checkpoint: Checkpoint,
        shards: tuple[str, ...],
        replaces: list[Record | None],
        *batches: Any,
    ) -> Report:
        """Run a lease: each unit is predicted, then stored and certified while the next is predicted."""
        started = time.perf_counter()
        waiting = None if self._ended is None else started - self._ended
        if context != self._context:
            self._context = context
            data, self._shards, self._batch_size = ray.get(context.reference)
            self._ledger = Ledger(self._objects, data)
            waiting = None
        if self._unfit is not None:
            return Report([], self._device, 0.0, waiting, 0.0, 0.0, unfit=self._unfit)
        brought = self._predictor.ahead.fingerprint == checkpoint.fingerprint
        self._loading = self._computing = 0.0
        said = [
            self._predict(checkpoint, name, damaged, pixels)
            for name, damaged, pixels in zip(shards, replaces, batches, strict=True)
        ]
        outcomes = [each.result() if isinstance(each, Future) else each for each in said]
        self._ended = time.perf_counter()
        report = Report(
            outcomes,
            self._device,
            self._ended - started,
            waiting,
            self._loading,
            self._computing,
            self._predictor.resident,
            brought=brought,
        )
        self._metrics.tell(report, self._ledger.data, sum(len(self._shards[name]) for name in shards))
        return report

    def _predict(
        self, checkpoint: Checkpoint, name: str, damaged: Record | None, pixels: Any
    ) -> Outcome | Future[Outcome]:
        import torch

        try:
            if damaged is None and (held := self._ledger.record(checkpoint.fingerprint, name)) is not None:
                if held.readable:
                    return Outcome(name)
                damaged = held
            started = time.perf_counter()
            found = self._predictor.predict(checkpoint, pixels, self._batch_size)
            self._loading += time.perf_counter() - started - found.seconds
            self._computing += found.seconds
        except (CheckpointError, DamagedObject) as error:
            return Outcome(name, error=str(error))
        except StoreError as error:
            return Outcome(name, store_error=str(error))
        except torch.AcceleratorError:
            os._exit(1)  # the device is lost to this process: another takes its place
        except Exception as error:  # whatever a foreign network brings up is confined to its checkpoint
            return Outcome(name, error=f"checkpoint '{checkpoint.id}': {type(error).__name__}: {error}")
        return self._writer.submit(self._certify, checkpoint, name, damaged, found)

    def _certify(
        self,
        checkpoint: Checkpoint,
        name: str,
        damaged: Record | None,
        found: Inference,
    ) -> Outcome:
        provenance = self._provenance(found.batch_size) | ({"audit": list(found.audit)} if found.audit else {})
        keys = list(self._shards[name].keys)
        try:
            make = tops_from_logits if checkpoint.candidate.top else from_logits
            predictions = make(keys, found.logits)
            self._ledger.certify(
                checkpoint.fingerprint,
                name,
                predictions,
                seconds=found.seconds,
                provenance=provenance,
                features=None if found.features is None else from_features(keys, found.features),
                replaces=damaged,
            )
        except CheckpointError as error:
            return Outcome(name, error=f"checkpoint '{checkpoint.id}': {error}")
        except StoreError as error:
            return Outcome(name, store_error=str(error))
        return Outcome(name, seconds=found.seconds)

    def _provenance(self, batch_size: int) -> dict[str, Any]:
        import torch

        return {
            "overlap": overlap.__version__,
            "torch": torch.__version__,
            "host": platform.node(),
            "device": self._device,
            "batch_size": batch_size,
            "certified": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


AHEAD = "ahead"
"""The thread of a predictor beside the one that runs leases."""
OnCpu = remote(max_restarts=0)(Predictors)
"""Runs leases in the process's main thread, and does nothing beside it: a second thread would only take the core from
the forward pass, and memory that is freed outside the main thread goes back to the kernel batch by batch."""
OnGpu = remote(max_restarts=0, concurrency_groups={AHEAD: 1})(Predictors)
"""A second thread calls `bring` while a lease runs."""
