"""The checkpoint of the lease that waits comes while the one before it runs: to the node, or to a GPU's process."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from overlap.store.ledger import Ledger
from overlap.store.location import open_objects
from overlap.study import load_study
from tests import small_nets
from tests.ray_cluster import RayCluster
from tests.servers import SeaweedFS
from tests.small_study import DATA, SmallStudy, make_shards, net, timm_net
from tests.study_fixtures import Run
from workflows.plan import location, make_plan
from workflows.predicting import crew
from workflows.predicting.crew import Crew
from workflows.predicting.fanout import FanOut
from workflows.predicting.reports import Report
from workflows.predicting.worker import AHEAD


class _Recorded:
    """The task, and what was asked of it."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self.asked: list[tuple[str, str]] = []
        self.references: list[Any] = []

    def options(self, **options: Any) -> _Recorded:
        self._node, self._options = options["scheduling_strategy"].node_id, options
        return self

    def remote(self, where: Any, digest: str) -> None:
        self.asked.append((self._node, digest))
        self.references.append(self._task.options(**self._options).remote(where, digest))


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_weights_come_one_lease_ahead(
    kind: str, s3_server: SeaweedFS, tmp_path: Path, run: Run, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    task = _Recorded(crew.fetch_ahead)
    monkeypatch.setattr(crew, "fetch_ahead", task)
    study = SmallStudy.make(tmp_path / "study", [net(f"n{seed}", 10 + seed, delay=0.05) for seed in range(4)])
    if kind == "bucket":
        bucket = s3_server.create_bucket("overlap-fetch-ahead")
        study.write(store={"uri": f"s3://{bucket}", "endpoint_url": s3_server.endpoint_url})
    done = run(study)
    assert done.code == 0, done
    assert done.outcome["computed"] == 24
    if kind == "folder":
        assert task.asked == []  # read where it is
        return
    assert task.asked
    assert len(set(task.asked)) == len(task.asked)
    ray.get(task.references)
    for _, digest in task.asked:
        assert (scratch / "cache" / digest).is_file()


PATIENCE = 120.0
NETS = 12


def _records(study: SmallStudy) -> dict[str, str]:
    """Digest of the predictions by fingerprint; there is one shard."""
    plan = make_plan(load_study(study.path), DATA)
    ledger = Ledger(open_objects(location(plan.study)), DATA)
    return {
        fingerprint: record.bytes_digest
        for fingerprint in plan.distinct
        for record in ledger.records(fingerprint).values()
    }


class _Looked:
    """At a crew of one whose first lease cannot end: what had been loaded for its second, and then all reports."""

    def __init__(self, crew: Crew, gate: Path) -> None:
        self._crew, self._gate = crew, gate
        self.reports: dict[str, Report] = {}
        self.running = self.queued = self.brought = ""
        self.failures: list[BaseException] = []

    def look(self) -> None:
        import ray

        try:
            end = time.monotonic() + PATIENCE
            while not self._crew.workers or len(self._crew.workers[0].leases) < 2:
                assert time.monotonic() < end, "no second lease"
                time.sleep(0.02)
            (worker,) = self._crew.workers
            self.running, self.queued = (lease.fingerprint for lease in worker.leases.values())
            # Behind `bring` in the one thread that runs both.
            ask = worker.actor.__ray_call__.options(concurrency_group=AHEAD)
            self.brought = ray.get(ask.remote(lambda actor: actor._predictor.ahead.fingerprint), timeout=PATIENCE)
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._gate.touch()


def test_a_module_is_loaded_one_lease_ahead(
    tmp_path: Path, run: Run, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    gate = tmp_path / "go"
    study = SmallStudy.make(tmp_path / "study", [timm_net(f"net-{seed}", seed) for seed in range(NETS)])
    shutil.rmtree(study.folder / "data")
    make_shards(study.folder / "data", images=24, shards=1)
    heaviest = net("waits", 0, size=24, factory="small_nets:Waits.build", width=40_000, until=str(gate))
    save_file(small_nets.Net.build(40_000).state_dict(), study.folder / heaviest["weights"])
    study.add(heaviest, weights=False)
    gate.touch()
    alone = study.copy(tmp_path / "alone")
    assert run(alone).code == 0
    gate.unlink()

    node = cluster.add_node(cpus=1, gpus=1, environment={"OVERLAP_DEVICE": "cpu"})
    plan = make_plan(load_study(study.path), DATA)
    group = Crew(plan.study)
    looked = _Looked(group, gate)
    settle = FanOut._settle

    def kept(fan_out: FanOut, worker: Any, lease: Any, report: Report) -> None:
        looked.reports[lease.fingerprint] = report
        settle(fan_out, worker, lease, report)

    monkeypatch.setattr(FanOut, "_settle", kept)
    watcher = threading.Thread(target=looked.look, daemon=True)
    watcher.start()
    try:
        result = FanOut(plan, group).run()
        watcher.join(PATIENCE)
        assert looked.failures == []
        ask = group.workers[0].actor.__ray_call__.options(concurrency_group=AHEAD)
        left = ray.get(ask.remote(lambda actor: actor._predictor.ahead.fingerprint), timeout=PATIENCE)
    finally:
        gate.touch()
        group.dismiss()
        cluster.kill_node(node)
    assert result.computed == NETS + 1
    assert result.failed == {}
    assert plan.distinct[looked.running].id == "waits"
    assert plan.distinct[looked.queued].candidate.architecture.source == "timm"
    assert looked.brought == looked.queued, "while the first lease ran"
    assert looked.reports[looked.queued].brought
    assert not looked.reports[looked.running].brought
    assert left is None, "nothing stays when a fan-out is over"
    assert _records(study) == _records(alone)
