"""Linear probes as heads: which are fitted already, and which checkpoints wait for theirs.

A head is remembered in the store by the backbone with its head of zeros as it ran on the training set, by the images of
that set, and by the version of the fit; what it is remembered as are whole weights, held by digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from overlap.images import dataset as datasets
from overlap.store import layout, memo
from overlap.store.objects import Objects
from overlap.study import Study
from overlap.zoo.checkpoint import Checkpoint, Rejected
from overlap.zoo.probe_head import VERSION

KIND = "linear-probe"


def key(backbone: Checkpoint, trained_on: str, images: int) -> str:
    """Where the store remembers a fitted head.

    Args:
        backbone: with its head of zeros; what its outputs are mapped to does not matter.
        trained_on: digest of the training set.
        images: that are looked at, at most.
    """
    plain = Checkpoint(replace(backbone.candidate, class_map=None), backbone.weights_digest, backbone.weights_bytes)
    about = {"version": VERSION, "backbone": plain.fingerprint, "trained_on": trained_on, "images": images}
    return memo.key(KIND, about)


def settle(
    study: Study, checkpoints: Sequence[Checkpoint], objects: Objects, limit: int | None
) -> tuple[list[Checkpoint], list[Rejected]]:
    """Checkpoints with their fitted heads in place, and those whose head is still to be fitted.

    Args:
        study: names the training set.
        checkpoints: of another data set; those without a place for a probe are left as they are.
        objects: the store.
        limit: only so many leading images of every set.
    """
    if not any(checkpoint.candidate.probe for checkpoint in checkpoints):
        return [*checkpoints], []
    name = next(name for name, data in study.data.items() if data.role == "train")
    endpoint = study.store.endpoint_url
    train = datasets.load(name, study.data[name], objects, endpoint, limit=limit)
    places = {
        checkpoint.id: key(checkpoint, train.digest, study.features.train_images)
        for checkpoint in checkpoints
        if checkpoint.candidate.probe
    }
    known = memo.recall_many(places.values(), objects)
    settled, waiting = list[Checkpoint](), list[Rejected]()
    for checkpoint in checkpoints:
        if checkpoint.id not in places:
            settled.append(checkpoint)
            continue
        told = known.get(places[checkpoint.id])
        info = None if told is None else objects.head(layout.weights(told["digest"]))
        if told is None or info is None or info.size != told["bytes"]:
            reason = f"checkpoint '{checkpoint.id}': its linear probe is fitted once data.{name} is predicted"
            waiting.append(Rejected(checkpoint.id, reason))
        else:
            settled.append(replace(checkpoint, weights_digest=told["digest"], weights_bytes=told["bytes"]))
    return settled, waiting
