"""Memory in flight is bounded in bytes, whatever the number of shards and checkpoints; each image is decoded once."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import ray

from tests.small_study import IMAGES, SHARDS, SmallStudy, net
from tests.study_fixtures import Run
from workflows.nodes import cluster as clusters
from workflows.predicting.fanout import FanOut

SIZES = (64, 96)
SHARD_BYTES = sum(3 * size * size for size in SIZES) * IMAGES // SHARDS
"""Decoded size of one shard for both preprocessings: 1.6 MB; all of them are 9.6 MB."""
CHECKPOINTS = 6


class StoreWatch(threading.Thread):
    """Samples how many bytes Ray's object store holds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.samples = 0
        self.stop = threading.Event()

    @staticmethod
    def used() -> int:
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        return int(get_memory_info_reply(state).store_stats.object_store_bytes_used)

    def run(self) -> None:
        while not self.stop.is_set():
            self.peak = max(self.peak, self.used())
            self.samples += 1
            time.sleep(0.01)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    entries = [net(f"net-{n}", n, size=SIZES[n % 2], delay=0.02) for n in range(CHECKPOINTS)]
    return SmallStudy.make(tmp_path_factory.mktemp("memory") / "study", entries)


@pytest.mark.parametrize("shards_at_once", [1.3, 2.5])
def test_decoded_batches_stay_within_the_budget(
    shards_at_once: float, study: SmallStudy, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = study.copy(tmp_path / "study")
    (node,) = clusters.nodes()
    budget = int(SHARD_BYTES * shards_at_once)
    monkeypatch.setattr(clusters, "BATCH_SHARE", budget / node.object_store)
    held: list[int] = []
    top_up = FanOut._top_up

    def watched(self: FanOut) -> None:
        top_up(self)
        coming = [(d.shard, s) for _, d, _ in self._decodes.values() for s in d.signatures]
        batches = [*coming, *(batch for _, batch in self._batches)]
        held.append(sum(len(self._shards[shard]) * 3 * dict(s)["input_size"][0] ** 2 for shard, s in batches))

    monkeypatch.setattr(FanOut, "_top_up", watched)
    watch = StoreWatch()
    watch.start()
    ran = run(here)
    watch.stop.set()
    watch.join()

    assert ran.code == 0, ran
    assert ran.outcome["computed"] == CHECKPOINTS * SHARDS
    assert ran.outcome["images_decoded"] == IMAGES, "once each, not once a checkpoint or preprocessing"
    assert SHARD_BYTES <= max(held) <= budget
    assert watch.samples > 20
    # What is let go is free a moment later, by when the next shard may be there.
    assert SHARD_BYTES <= watch.peak <= budget + SHARD_BYTES + (1 << 20) < SHARD_BYTES * SHARDS
