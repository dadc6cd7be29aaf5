"""Fitting linear probes as heads: a task for each backbone, once the training set is predicted.

Idempotent: a head that the store remembers is not fitted again. A backbone whose head cannot be fitted waits, with the
reason; the others go on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from overlap.errors import CheckpointError
from overlap.identity import digest_file
from overlap.store import layout, memo
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Checkpoint
from workflows.heads.probe_heads import key
from workflows.nodes import cluster as clusters
from workflows.nodes.cluster import Cluster, fetch
from workflows.nodes.remote import remote
from workflows.outcome import Outcome
from workflows.plan import Plan
from workflows.reductions.companions import Companion
from workflows.stages import Stages


def before(
    plans: Sequence[Plan], stages: Stages, plan_again: Callable[[str], Plan], *, verify: bool
) -> tuple[list[Plan], dict[str, Outcome]]:
    """Predict the training set where heads are to be fitted on it, fit them, and plan the other sets again.

    Args:
        plans: of all data sets.
        stages: of the run.
        plan_again: plans a data set of the study by its name there.
        verify: trust no memo and check every certified object.

    Returns:
        The plans as they are then, and what came of the training set by its name, where it was predicted here.
    """
    place = next((number for number, plan in enumerate(plans) if plan.role == "train" and _probes(plan)), None)
    if place is None:
        return [*plans], {}
    train = plans[place]
    outcome = Outcome(train.dataset.name, train.role, units=train.units)
    train = stages.predict(train, outcome, verify=verify)
    failed = fit(train, stages.objects, stages.cluster)
    for model, reason in failed.items():
        stages.tell.say(f"{model}: {reason}")
    names = [*stages.study.data]
    again = [train if number == place else plan_again(names[number]) for number in range(len(plans))]
    return again, {train.dataset.name: outcome}


def fit(plan: Plan, objects: Objects, cluster: Cluster) -> dict[str, str]:
    """Fit the heads that the store does not remember.

    Args:
        plan: of the training set, predicted.
        objects: the store.
        cluster: where tasks run; on one with GPUs each gets one.

    Returns:
        Why heads could not be fitted, by model.
    """
    most = plan.study.features.train_images
    places = {checkpoint.id: key(checkpoint, plan.dataset.digest, most) for checkpoint in _probes(plan)}
    known = memo.recall_many(places.values(), objects)
    wanted = [
        checkpoint
        for checkpoint in _probes(plan)
        if checkpoint.fingerprint in plan.complete and not _held(known.get(places[checkpoint.id]), objects)
    ]
    if not wanted or plan.dataset.unreadable:
        return {}
    companion = Companion.of(plan, objects, most)
    cluster.start()
    shared = ray.put(companion)
    gpus = 1 if any(node.gpus >= 1 for node in clusters.nodes()) else 0
    task = remote(num_cpus=1, num_gpus=gpus, max_retries=3)(_fit)
    distinct = {places[checkpoint.id]: checkpoint for checkpoint in wanted}
    said = fetch([task.remote(shared, checkpoint, place) for place, checkpoint in distinct.items()])
    return {checkpoint.id: why for checkpoint, why in zip(distinct.values(), said, strict=True) if why}


def _probes(plan: Plan) -> list[Checkpoint]:
    return [checkpoint for checkpoint in plan.checkpoints if checkpoint.candidate.probe]


def _held(told: Any, objects: Objects) -> bool:
    info = None if told is None else objects.head(layout.weights(told["digest"]))
    return info is not None and bool(info.size == told["bytes"])


def _fit(train: Companion, checkpoint: Checkpoint, place: str) -> str:
    """Fit one head and keep backbone and head as weights; returns why it could not be."""
    from overlap.probes.probe import fit_head
    from overlap.process import be_single_threaded
    from overlap.zoo import probe_head
    from overlap.zoo.fetching import fetched

    be_single_threaded()
    head = checkpoint.candidate.probe
    if head is None:
        return "it has no place for a linear probe"
    objects = open_objects(train.reader.where)
    features = train.features(checkpoint.id)
    try:
        weight, bias = fit_head(features, train.labels, head.classes, train.folds == 0)
        with tempfile.TemporaryDirectory(prefix="overlap-probe-") as folder:
            path = Path(folder) / "weights"
            with fetched(checkpoint.weights_digest, objects) as blank:
                probe_head.fill(head, blank, weight, bias, path)
            told = {"digest": digest_file(path), "bytes": path.stat().st_size}
            objects.put_file(layout.weights(str(told["digest"])), path)
    except (CheckpointError, ValueError) as error:
        return f"its linear probe could not be fitted ({error})"
    about = {"backbone": checkpoint.fingerprint, "images": len(features), "features": features.shape[1]}
    memo.remember(place, told | {"trained_on": train.dataset, **about}, objects)
    return ""
