"""What the reductions are about: the models that take part, what is known of each, and who is left out and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap import smoke
from overlap.analysis import truths
from overlap.analysis.calibration import Calibration
from overlap.analysis.models import ModelRow
from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.specialisation.groups import ClassGroups
from overlap.errors import DamagedObject
from overlap.identity import digest_keys
from overlap.images.class_groups import class_groups
from overlap.images.truths import Truth
from overlap.methodology import Training, pair_categories
from overlap.panel import Panel
from overlap.store.hard import certified_prediction
from overlap.store.ledger import Ledger, Manifest
from overlap.store.objects import READERS
from overlap.zoo.checkpoint import Checkpoint
from workflows.gate import QUARANTINED, Gated
from workflows.plan import Plan

TABLES = 4
"""Tables of hard predictions that are read side by side."""
UNFINISHED = "not all of its units are done; run again"
"""Why a checkpoint is absent that did not fail."""


def class_names(plan: Plan) -> tuple[str, ...]:
    """Class names by number, where the study gives them."""
    data = plan.study.data.get(smoke.whole(plan.dataset.name))
    return data.names if data is not None else ()


def manifests(fingerprints: dict[str, str], plan: Plan, ledger: Ledger) -> dict[str, Manifest]:
    """Manifests of complete checkpoints, by name.

    Raises:
        DamagedObject: one is gone, or is about other samples than the data set's.
    """
    keys = digest_keys(plan.dataset.keys)

    def read(fingerprint: str) -> Manifest:
        manifest = ledger.manifest(fingerprint, plan.dataset.digest)
        if manifest is None or manifest.keys_digest != keys:
            raise DamagedObject(f"the manifest of {fingerprint} is gone or does not match the data set's keys")
        return manifest

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(fingerprints, pool.map(read, fingerprints.values()), strict=True))


def hard_predictions(manifests: dict[str, Manifest], plan: Plan, ledger: Ledger) -> dict[str, NDArray[np.int32]]:
    """Class numbers by checkpoint, aligned with the data set's keys: of these manifests, whose keys were compared.

    Raises:
        DamagedObject: a table is gone, or is not the one of its manifest.
    """

    def read(manifest: Manifest) -> NDArray[np.int32]:
        return certified_prediction(ledger.objects, plan.dataset.digest, manifest)

    with ThreadPoolExecutor(TABLES) as pool:
        return dict(zip(manifests, pool.map(read, manifests.values()), strict=True))


def groups(plan: Plan) -> ClassGroups | None:
    """Which classes belong together, where the study says so."""
    name = smoke.whole(plan.dataset.name)
    data = plan.study.data.get(name)
    return None if data is None else class_groups(name, data)


def groups_identity(plan: Plan) -> Any:
    """What stands for the groups among the inputs of a reduction, as plain JSON."""
    found = groups(plan)
    return None if found is None else [found.names, found.of_class.tolist()]


def trainings(panel: Panel, plan: Plan) -> list[Training]:
    """Training columns of each model of the panel; of imports none is known."""
    known = {checkpoint.id: checkpoint for checkpoint in plan.checkpoints}
    return [_told(known.get(model))[0] for model in panel.models]


def categories(panel: Panel, plan: Plan) -> PairCategories:
    """Category of each pair of the panel's models."""
    known = {checkpoint.id: checkpoint for checkpoint in plan.checkpoints}
    told = [_told(known.get(model)) for model in panel.models]
    return pair_categories(panel.models, [training for training, _ in told], [weights for _, weights in told])


def model_rows(
    panel: Panel,
    plan: Plan,
    manifests: dict[str, Manifest],
    calibrations: dict[str, Calibration],
    quarantined: Collection[str],
) -> Iterator[ModelRow]:
    """One row a model of the panel, those that are quarantined among them, and one for each other of the study."""
    known = {checkpoint.id: checkpoint for checkpoint in plan.checkpoints}
    for row, model in enumerate(panel.models):
        manifest = manifests.get(model)
        status = "complete" if manifest is not None else "imported"
        yield ModelRow(
            model,
            known[model].fingerprint if model in known else None,
            QUARANTINED if model in quarantined else status,
            n=len(panel.keys),
            right=int(truths.right(panel.prediction[row], panel.labels).sum()),
            calibration=calibrations.get(model),
            noise_floor_ei=_noise_floor(manifest, panel, row) if manifest is not None else None,
            training=_told(known.get(model))[0].model_dump(),
        )
    for checkpoint in plan.checkpoints:
        if checkpoint.id not in panel.models:
            training = checkpoint.candidate.training.model_dump()
            yield ModelRow(checkpoint.id, checkpoint.fingerprint, "incomplete", training=training)
    for rejected in plan.rejected:
        yield ModelRow(rejected.id, None, "rejected")


def absent(panel: Panel, plan: Plan, failed: dict[str, str], gated: Gated) -> dict[str, str]:
    """Models of the study that are in no pair, with the reason."""
    reasons = {rejected.id: rejected.reason for rejected in plan.rejected}
    for checkpoint in plan.checkpoints:
        if checkpoint.id not in panel.models:
            reasons[checkpoint.id] = failed.get(checkpoint.id, UNFINISHED)
    return reasons | panel.refused | gated.quarantined


def class_notes(panel: Panel, plan: Plan) -> Iterator[str]:
    """What a reader must know of heads that lack classes of the data."""
    for checkpoint in plan.checkpoints:
        mapped = checkpoint.candidate.class_map
        if checkpoint.id in panel.models and mapped is not None and mapped.lacking:
            yield (
                f"`{checkpoint.id}`: its head ({mapped.space}) lacks {mapped.lacking} of {len(mapped.columns):,} "
                "classes, which it never predicts"
            )


def data_notes(truth: Truth | None, panel: Panel, plan: Plan) -> Iterator[str]:
    """Which images take no part: those of shards that are left out, and those of which a truth accepts no class."""
    for file in plan.dataset.left_out:
        yield f"shard {file} is left out (allow_missing_shards)"
    if truth is not None:
        several = int((panel.labels[:, 1:] != truths.NONE).any(axis=1).sum()) if panel.labels.ndim == 2 else 0
        yield (
            f"truth `{truth.name}` accepts no class of {len(truth.labels) - len(panel.keys):,} of "
            f"{len(truth.labels):,} images, which are left out, and several of {several:,}"
        )


def measures(manifests: dict[str, Manifest], gated: Gated) -> dict[str, dict[str, float]]:
    """Further scalars by model."""
    found = {
        model: {"inference_seconds": manifest.seconds, "images_per_second": manifest.rows / max(manifest.seconds, 1e-9)}
        for model, manifest in manifests.items()
    }
    for verdict in gated.verdicts:
        found.setdefault(verdict.model, {})["published_accuracy"] = verdict.published
    return found


def _told(checkpoint: Checkpoint | None) -> tuple[Training, str | None]:
    if checkpoint is None:
        return Training(), None
    return checkpoint.candidate.training, checkpoint.weights_digest


def _noise_floor(manifest: Manifest, panel: Panel, row: int) -> float | None:
    """Error inconsistency between a checkpoint's stored predictions and its float32 audit; None where it is float32."""
    places: list[int] = []
    audited: list[int] = []
    start = 0
    for record in manifest.records:
        audit = record.provenance.get("audit", ())
        places += range(start, start + len(audit))
        audited += audit
        start += record.rows
    images = np.arange(len(panel.keys)) if panel.images is None else panel.images
    audits = np.isin(places, images)
    rows = np.searchsorted(images, np.array(places, np.int64)[audits])
    if not len(rows):
        return None
    right = truths.right(panel.prediction[row, rows], panel.labels[rows])
    return float((right != truths.right(np.array(audited)[audits], panel.labels[rows])).mean())
