"""How much memory the GPUs of a cluster have, asked of the driver on each node without taking a GPU from anybody."""

from __future__ import annotations

import subprocess

import ray

from overlap.errors import StudyError
from overlap.study import Study
from workflows.nodes.cluster import Cluster, nodes, on

QUERY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
MIB = 1 << 20


def smallest_gpu(study: Study, address: str) -> int:
    """Bytes of the smallest GPU of a cluster.

    Raises:
        StudyError: there is no cluster at the address, or none of its nodes tells of a GPU.
    """
    with Cluster(address, study.path.parent) as cluster:
        cluster.start()
        asked = [ray.remote(num_cpus=0)(_gpus).options(scheduling_strategy=on(node)).remote() for node in nodes()]
        found = [size for sizes in ray.get(asked) for size in sizes]
    if not found:
        raise StudyError(f"no node of the cluster at '{address}' tells of a GPU; give --gpu-memory")
    return min(found)


def _gpus() -> list[int]:
    """Bytes of each GPU of this node; none where there is no driver."""
    try:
        said = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=30).stdout
        return [int(line) * MIB for line in said.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
