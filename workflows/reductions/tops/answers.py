"""What each checkpoint says of every image as far as its largest logits tell: one task a checkpoint.

Guarantees: temperatures are cross-fitted on the calibration sample alone, by all of its logits; on the audit sample
every bound is compared with all logits, and one that does not hold is an error. Not kept in the store between runs:
what is read here is a fifth of all logits of a thousand classes, and less of more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis import splits, truths
from overlap.analysis.calibration import Calibration, score
from overlap.analysis.divergence import soft
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.tops import samples
from overlap.analysis.tops.agreement import Agreement, agreement
from overlap.analysis.tops.bounded import bounded
from overlap.panel import Panel
from overlap.store.ledger import Manifest, Record
from overlap.store.tops import Tops, joined
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan
from workflows.reductions.reader import Reader


@dataclass(frozen=True, eq=False)
class TopAnswers:
    """The checkpoints of a panel, and what they say of its images. Tasks are given parts of it."""

    models: tuple[str, ...]
    """In ascending order."""
    rows: tuple[int, ...]
    """Their rows in the panel."""
    classes: int
    labels: NDArray[np.int32]
    """(N,), or (N, L) accepted."""
    prediction: NDArray[np.int32]
    """(M, N)."""
    keys: Sequence[str]
    folds: NDArray[np.int8]
    selection: NDArray[np.bool_]
    whole: NDArray[np.int64]
    """(s,): images of which all logits are stored, ascending."""
    calibrated: NDArray[np.int64]
    """Places in `whole` of the images on which temperatures were fitted."""
    scored: NDArray[np.int64]
    """Places in `whole` of the images on which pairs' temperatures are fitted, and their probabilities judged."""
    audited: NDArray[np.bool_]
    """(s,): whether bounds are compared with all logits."""
    calibrations: tuple[Calibration, ...]
    agreements: tuple[Agreement, ...]
    bounded: tuple[Any, ...]
    """Of each model a reference to its `Bounded`."""
    logits: tuple[Any, ...]
    """Of each model a reference to its (s, K) logits."""

    @property
    def by_name(self) -> dict[str, Calibration]:
        """Calibration by model."""
        return dict(zip(self.models, self.calibrations, strict=True))


def read(panel: Panel, plan: Plan, manifests: Mapping[str, Manifest]) -> TopAnswers:
    """Read every checkpoint of a panel.

    Raises:
        DamagedUnits: a certified object is not what its record says.
        DataError: all logits of one were stored; or its bounds do not hold.
    """
    models = tuple(model for model in panel.models if model in manifests)
    rows = tuple(panel.row(model) for model in models)
    reader = Reader.of(plan, panel.images)
    folds, selection = splits.folds(panel.keys), splits.selection(panel.keys)
    whole = np.flatnonzero(samples.whole(panel.keys))
    keys = [panel.keys[image] for image in whole.tolist()]
    calibrated, audited = np.flatnonzero(samples.calibration(keys)), samples.audit(keys)
    chosen = soft.choose([keys[place] for place in calibrated.tolist()], sample_size(plan.dataset.classes))
    about = ray.put((panel.labels, folds, whole, calibrated, audited))
    made = [_read.remote(reader, manifests[model].records, model, about) for model in models]
    return TopAnswers(
        models=models,
        rows=rows,
        classes=plan.dataset.classes,
        labels=panel.labels,
        prediction=panel.prediction[list(rows)],
        keys=panel.keys,
        folds=folds,
        selection=selection,
        whole=whole,
        calibrated=calibrated,
        scored=calibrated[chosen],
        audited=audited,
        calibrations=tuple(fetch([one for one, *_ in made])),
        agreements=tuple(fetch([one for _, one, *_ in made])),
        bounded=tuple(one for _, _, one, _ in made),
        logits=tuple(one for *_, one in made),
    )


@remote(num_cpus=1, num_returns=4)
def _read(reader: Reader, records: Sequence[Record], model: str, about: tuple[Any, ...]) -> tuple[Any, ...]:
    labels, folds, whole, calibrated, audited = about
    held: Tops = joined([part for _, part in reader.tops(records)])
    if not np.array_equal(held.rows, whole):
        raise ValueError(f"'{model}' has all logits of {len(held.rows)} images, not of the {len(whole)} of the samples")
    images = whole[calibrated]
    found = score([held.logits[calibrated]], labels[images], folds[images]).calibration
    found = replace(found, top5=_top5(held, labels))
    parts = (held.largest, held.classes, held.least, held.moments)
    one = bounded(*parts, found.of(folds), held.among)
    return found, agreement(model, one, held.logits[audited], whole[audited]), one, np.array(held.logits)


def _top5(held: Tops, labels: NDArray[np.int32]) -> float | None:
    """Share of all images of which an accepted class is among the five largest; exact, since these are stored."""
    right = [truths.right(np.ascontiguousarray(held.classes[:, rank], np.int32), labels) for rank in range(5)]
    return float(np.any(right, axis=0).mean()) if len(held) else None
