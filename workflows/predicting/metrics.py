"""What the workers tell Prometheus, through Ray's own metrics agent, which puts `ray_` before
every name and `_total` behind that of a counter.

Told once a lease, beside the work: a figure here is for watching, what is certified is in the store.
"""

from __future__ import annotations

import ray
from ray.util.metrics import Counter, Gauge

from workflows.predicting.reports import Report

TAGS = ("data", "node", "worker")
COUNTERS = {
    "overlap_units_done": "Units (a checkpoint on a shard) that are certified.",
    "overlap_units_failed": "Units whose checkpoint or store failed them.",
    "overlap_images": "Images that were run through a checkpoint.",
}
GAUGES = {
    "overlap_images_per_second": "Images of the last lease over its seconds, with waiting and loading.",
    "overlap_decode_wait_share": "Share of a worker's time in this fan-out that it waited for decoded images.",
    "overlap_device_busy_share": "Share of a worker's time in this fan-out that its device computed.",
}


class Metrics:
    """The metrics of one worker."""

    def __init__(self, worker: str) -> None:
        """Tell of a worker by this name; the node is the one it runs on."""
        self._tags = {"node": ray.get_runtime_context().get_node_id()[:12], "worker": worker}
        self._counters = {name: Counter(name, text, TAGS) for name, text in COUNTERS.items()}
        self._gauges = {name: Gauge(name, text, TAGS) for name, text in GAUGES.items()}
        self._spent = [0.0, 0.0, 0.0]

    def tell(self, report: Report, data: str, images: int) -> None:
        """A lease over so many images of a data set is done."""
        tags = {**self._tags, "data": data}
        failed = sum(one.error is not None or one.store_error is not None for one in report.outcomes)
        counts = {
            "overlap_units_done": len(report.outcomes) - failed,
            "overlap_units_failed": failed,
            "overlap_images": images,
        }
        for name, value in counts.items():
            if value:
                self._counters[name].inc(value, tags)
        if report.waiting is None:
            self._spent = [0.0, 0.0, 0.0]
        whole = (report.waiting or 0.0) + report.seconds
        for place, seconds in enumerate((whole, report.waiting or 0.0, report.computing)):
            self._spent[place] += seconds
        shares = [part / self._spent[0] if self._spent[0] else 0.0 for part in self._spent]
        told = {
            "overlap_images_per_second": images / whole if whole else 0.0,
            "overlap_decode_wait_share": shares[1],
            "overlap_device_busy_share": shares[2],
        }
        for name, share in told.items():
            self._gauges[name].set(share, tags)
