"""Whose logits a reduction combines, and under which names what they come to is kept: said once, however they are read.

Guarantees: models and images are those of the panel, in its order; a model is known by its fingerprint and by the units
that are read of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overlap.analysis import splits
from overlap.analysis.calibration import Calibration
from overlap.panel import Panel
from overlap.store.ledger import Manifest
from workflows.plan import Plan
from workflows.reductions import kept_answers
from workflows.reductions.reader import Reader


@dataclass(frozen=True, eq=False)
class Participants:
    """The models of a panel that have logits, and its images."""

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
    """(N,) calibration folds."""
    selection: NDArray[np.bool_]
    """(N,): whether searches select on the image, or report on it."""
    names: tuple[tuple[str, str], ...]
    """Of each model, its fingerprint and the digest of the units that are read: what its answers are kept by."""
    reader: Reader
    """Of those images."""

    @classmethod
    def of(cls, panel: Panel, plan: Plan, manifests: Mapping[str, Manifest]) -> Participants:
        """Those models of a panel that have a manifest."""
        models = tuple(model for model in panel.models if model in manifests)
        rows = tuple(panel.row(model) for model in models)
        return cls(
            models=models,
            rows=rows,
            classes=plan.dataset.classes,
            labels=panel.labels,
            prediction=panel.prediction[list(rows)],
            keys=panel.keys,
            folds=splits.folds(panel.keys),
            selection=splits.selection(panel.keys),
            names=tuple((manifests[name].fingerprint, kept_answers.source(manifests[name].records)) for name in models),
            reader=Reader.of(plan, panel.images),
        )


@dataclass(frozen=True, eq=False)
class Calibrated(Participants):
    """The same when each was recalled, or read and kept."""

    context: str
    """Of what is kept of them (`kept_answers.context`)."""
    paired: int
    """Images of the sample on which probabilities of pairs are compared."""
    calibrations: tuple[Calibration, ...]
    was_read: tuple[bool, ...]
    """Of each model, whether its logits were read, or recalled what an earlier run made of them."""

    @property
    def by_name(self) -> dict[str, Calibration]:
        """Calibration by model."""
        return dict(zip(self.models, self.calibrations, strict=True))
