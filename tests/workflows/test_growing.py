"""A cluster that an autoscaler looks after: a study that wants GPUs brings the nodes that it can use, from none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_cluster import RayCluster
from tests.small_study import SmallStudy, net

NODES = 2
HEAD = "ray.head.default"
"""As Ray itself calls the head of a cluster of this kind."""


@pytest.fixture
def growing(scratch: Path) -> Iterator[RayCluster]:
    """A head without GPUs, and an autoscaler that may add nodes of one declared GPU each on this machine."""
    settings = {"OVERLAP_DEVICE": "cpu", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    cluster = RayCluster(scratch, settings)
    nothing = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
    lists = (*nothing, "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude")
    config = {
        "cluster_name": "growing",
        "max_workers": NODES,
        "idle_timeout_minutes": 5,
        "upscaling_speed": 10.0,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": cluster.address,
            "disable_node_updaters": True,  # nodes are processes here: nothing is to be set up over SSH
            "disable_launch_config_check": True,
            "worker_liveness_check": False,
            "foreground_node_launch": True,
        },
        "auth": {},
        "docker": {},
        "available_node_types": {
            HEAD: {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": NODES},
        },
        "head_node_type": HEAD,
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "rsync_filter": [],
        **{name: [] for name in lists},
    }
    path = scratch / "growing.json"
    path.write_text(json.dumps(config))
    try:
        yield cluster.start(cpus=1, autoscaling=path)
    finally:
        cluster.close()


DRIVER = """
import sys, time
from pathlib import Path
from overlap.study import load_study
from tests.workflows.jobs import Heard
from workflows.nodes.capacity import await_gpus
from workflows.nodes.cluster import Cluster
from workflows.predicting.crew import UNITS_EACH, Crew

study, heard = load_study(Path(sys.argv[1])), Heard()
with Cluster(sys.argv[2], study.path.parent) as cluster:
    cluster.start()
    await_gpus(study, True, heard)
    crew = Crew(study)
    crew.meet()
    print(len(crew.workers), *heard.lines, flush=True)
    crew.call_for(2 * UNITS_EACH)
    while len(crew.workers) < 2:
        time.sleep(0.5)
        crew.meet()
    print(len(crew.nodes), flush=True)
    crew.call_for(0)
    crew.dismiss()
"""


def test_the_first_node_comes_and_then_as_many_as_the_units_can_use(growing: RayCluster, tmp_path: Path) -> None:
    study = SmallStudy.make(tmp_path / "study", [net("net-0", 0)])
    study.write(predict={"device": "gpu"})
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(study.path), growing.address],
        env=os.environ | growing.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = done.stdout.splitlines()
    assert first == "1 no node has a GPU yet; the autoscaler is asked for one, and given 900 s"
    assert second == str(NODES)
