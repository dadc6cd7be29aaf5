"""The members of an ensemble as checkpoints again: from a study and its results to what can be built and loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping

from overlap import smoke
from overlap.errors import CheckpointError, ObjectMissing, StudyError
from overlap.identity import canonical_json, differences
from overlap.store import layout
from overlap.store.objects import Objects
from overlap.study import Study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.resolve import data_space, resolve_for


def checkpoints(study: Study, data: str, fingerprints: Mapping[str, str], objects: Objects) -> dict[str, Checkpoint]:
    """Checkpoints by name, exactly those whose predictions the results are made of.

    No hub is asked: the store has their weights, and the identity behind each fingerprint.

    Args:
        study: names them.
        data: the data set.
        fingerprints: by name, as results tell them.
        objects: the store.

    Raises:
        CheckpointError: the study has one no more, or names another thing by its name.
        StudyError: the store lost the identity of one.
    """
    candidates, rejected = resolve_for(study, smoke.whole(data))
    known = {candidate.id: candidate for candidate in candidates}
    refused = {one.id: one.reason for one in rejected}
    found: dict[str, Checkpoint] = {}
    for name, fingerprint in fingerprints.items():
        if name not in known:
            reason = refused.get(name, "the study does not name it any more; run it again")
            raise CheckpointError(f"checkpoint '{name}': {reason}")
        key = layout.identity(name, fingerprint)
        try:
            identity = json.loads(objects.get(key))
        except (ObjectMissing, ValueError):
            raise StudyError(f"{objects.uri}/{key}: is gone or altered; `overlap run` writes it again") from None
        weights = objects.head(layout.weights(identity["weights"]))
        if weights is None:
            raise CheckpointError(f"checkpoint '{name}': its weights are gone from the store; run with --verify")
        checkpoint = Checkpoint(known[name], identity["weights"], weights.size)
        if checkpoint.fingerprint != fingerprint:
            now = json.loads(canonical_json(checkpoint.identity()))
            changed = ", ".join(field for field, *_ in differences(identity, now))
            raise CheckpointError(
                f"checkpoint '{name}': is not what it was when it ran ({changed}); run the study again"
            )
        found[name] = checkpoint
    return found


def class_names(study: Study, data: str, classes: int) -> tuple[str, ...]:
    """Names by class number: the study's, else WordNet ids where the classes stand for them, else the numbers."""
    section = study.data[smoke.whole(data)]
    if section.names:
        return section.names
    space = data_space(smoke.whole(data), section)
    return tuple(map(str, range(classes))) if space is None else space.classes
