"""A cluster that an autoscaler looks after: a study that wants GPUs brings the nodes that it can use, from none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlap.store import schedules
from overlap.store.objects import open_objects
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import DATA, SmallStudy, net
from workflows.plan import location

NODES = 2


@pytest.fixture
def growing(scratch: Path) -> Iterator[RayCluster]:
    """A head without GPUs, and an autoscaler that may add nodes of one declared GPU each on this machine."""
    nothing = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    lists = (*nothing, "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
    config = {
        "cluster_name": "growing",
        "max_workers": NODES,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 10.0,
        "provider": {"type": "fake_multinode"},
        "auth": {},
        "docker": {},
        "available_node_types": {
            "head": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": NODES},
        },
        "head_node_type": "head",
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "rsync_filter": [],
        **{name: [] for name in lists},
    }
    path = scratch / "growing.json"
    path.write_text(json.dumps(config))
    cluster = RayCluster(scratch, {"OVERLAP_DEVICE": "cpu", "AUTOSCALER_UPDATE_INTERVAL_S": "1"})
    try:
        yield cluster.start(cpus=1, autoscaling=path)
    finally:
        cluster.close()


@pytest.mark.timeout(400)
def test_nodes_come_for_a_study_and_take_part(growing: RayCluster, tmp_path: Path, scratch: Path) -> None:
    entries = [net(f"net-{number}", number) for number in range(3)]
    study = SmallStudy.make(tmp_path / "study", entries)
    study.write(entries, predict={"device": "gpu"})
    ran = study.run("--address", growing.address, environment=growing.environment, scratch=scratch, timeout=300)
    assert ran.code == 0, ran
    assert "no node has a GPU yet" in ran.stderr
    told = schedules.newest(DATA, open_objects(location(load_study(study.path))))
    assert told is not None
    assert told["node"].n_unique() == NODES
    assert told["units"].sum() == ran.outcome["computed"]
