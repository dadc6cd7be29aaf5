"""What a fan-out remembers of itself: a row for each lease, written to the store whatever became of the run.

Positions are seconds of the driver's clock, when a lease came back; durations are the workers' own. Never part of
results, and never the reason why a run fails.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from overlap.errors import StoreError
from overlap.images.shards import Shard
from overlap.store.objects import Objects
from workflows.predicting.crew import Worker
from workflows.predicting.reports import Report
from workflows.scheduling.leases import Lease


class Logbook:
    """The leases of one fan-out."""

    def __init__(self, data: str, models: Mapping[str, str], shards: Mapping[str, Shard]) -> None:
        """Nothing has happened yet.

        Args:
            data: the data set.
            models: name by fingerprint.
            shards: by name.
        """
        self._data = data
        self._models = models
        self._shards = shards
        self._began = time.time()
        self._clock = time.monotonic()
        self._rows: list[dict[str, Any]] = []
        self._submitted: dict[Lease, float] = {}
        self._decoded: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    def now(self) -> float:
        """UTC seconds that only ever grow, even where somebody sets the clock meanwhile."""
        return self._began + time.monotonic() - self._clock

    def submitted(self, lease: Lease) -> None:
        """A lease was given to a worker."""
        self._submitted[lease] = self.now()

    def decoded(self, node: str, images: int) -> None:
        """Images were decoded on a node."""
        self._decoded[node] += images

    def done(self, worker: Worker, lease: Lease, report: Report) -> None:
        """A lease came back."""
        finished = self.now()
        started = max(self._began, finished - report.seconds)
        before = self._last.get(worker.name, max(self._began, worker.since))
        waiting = report.waiting if report.waiting is not None else max(0.0, started - before)
        self._last[worker.name] = finished
        self._enter(
            worker,
            lease,
            device=report.device,
            failed=sum(one.error is not None or one.store_error is not None for one in report.outcomes),
            lost=False,
            started=started,
            finished=finished,
            waiting=waiting,
            loading=report.loading,
            computing=report.computing,
            storing=max(0.0, report.seconds - report.loading - report.computing),
        )

    def lost(self, worker: Worker, lease: Lease) -> None:
        """A lease will not come back."""
        self._enter(worker, lease, failed=0, lost=True)

    def gone(self, workers: Iterable[Worker]) -> None:
        """Workers that went with their node, with all that they were given."""
        for worker in workers:
            for lease in worker.leases.values():
                self.lost(worker, lease)

    def _enter(self, worker: Worker, lease: Lease, **known: Any) -> None:
        self._rows.append(
            {
                "node": worker.node.id,
                "worker": worker.name,
                "model": self._models[lease.fingerprint],
                "fingerprint": lease.fingerprint,
                "shards": list(lease.shards),
                "units": len(lease.shards),
                "images": sum(len(self._shards[shard]) for shard in lease.shards),
                "submitted": self._submitted.pop(lease, None),
                "images_decoded": self._decoded.pop(worker.node.id, 0),
                **known,
            }
        )

    def write(self, objects: Objects) -> None:
        """Store the rows, if there are any; a store that fails here fails where it matters too."""
        if not self._rows:
            return
        from overlap.store import schedules

        rows = [{name: row.get(name) for name in schedules.COLUMNS} for row in self._rows]
        with suppress(StoreError):
            schedules.write(self._data, self._began, secrets.token_hex(4), schedules.table(rows), objects)
