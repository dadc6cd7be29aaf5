"""What workers on other machines cannot see is made visible before any of them is asked for a GPU.

On this machine alone there is nothing to do: weights are in the store already, shards are read where they are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ray

from overlap.errors import CheckpointError, StudyError
from overlap.identity import digest_file
from overlap.images.shards import Shard
from overlap.keeping.references import STAGED
from overlap.store import layout, memo
from overlap.store.objects import Objects
from overlap.study import is_uri
from overlap.zoo.checkpoint import Architecture
from overlap.zoo.factories import source_digest
from workflows.nodes.cluster import Cluster
from workflows.plan import Plan


def stage_for_cluster(plan: Plan, objects: Objects, cluster: Cluster) -> Plan:
    """The same plan with everything where every node of a cluster finds it.

    Raises:
        StudyError: a node imports another factory than this machine, or none.
    """
    if cluster.address is None:
        return plan
    for architecture in {c.candidate.architecture.name: c.candidate.architecture for c in plan.checkpoints}.values():
        if architecture.source == "factory":
            _check_factory(architecture)
    staged = {shard.name: _in_store(shard, objects) for shard in plan.dataset.shards}
    return replace(
        plan,
        dataset=replace(plan.dataset, shards=tuple(staged[shard.name] for shard in plan.dataset.shards)),
        missing={fp: tuple(staged[shard.name] for shard in shards) for fp, shards in plan.missing.items()},
    )


def _in_store(shard: Shard, objects: Objects) -> Shard:
    if is_uri(shard.uri):
        return shard
    digest = digest_file(Path(shard.uri))
    key = layout.shards(digest)
    memo.remember(memo.key(STAGED, digest), shard.name, objects)  # by which a clean-up knows whose it is
    if objects.head(key) is None:
        objects.put_file(key, Path(shard.uri))
    return replace(shard, uri=f"{objects.uri}/{key}")


def _check_factory(architecture: Architecture) -> None:
    found = ray.get(ray.remote(num_cpus=1)(_digest_of).remote(architecture))
    if found != architecture.source_digest:
        raise StudyError(
            f"factory '{architecture.name}': a worker of the cluster finds {found}, not the file that is here; "
            "install its package in the cluster's image, at the same version"
        )


def _digest_of(architecture: Architecture) -> str:
    try:
        return source_digest(architecture.name, architecture.search_path)
    except CheckpointError as error:
        return str(error)
