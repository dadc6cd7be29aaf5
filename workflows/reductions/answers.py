"""What each checkpoint says of every image, read once: one task a checkpoint reads its logits and keeps what is small.

Kept are its calibration with the confidence and the likelihood of each image (which come to the driver), the largest
probabilities on the selection split that searches read, and its logits on a sample of images (both of which stay in
Ray's object store). What needs all logits of all checkpoints at once reads them again, block by block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from overlap.analysis import splits
from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, Scored, score
from overlap.analysis.divergence import soft
from overlap.analysis.ensembles.lanes import sample_size
from overlap.analysis.ensembles.largest import Largest, largest
from overlap.panel import Panel
from overlap.store.ledger import Manifest, Record
from workflows.cluster import fetch
from workflows.plan import Plan
from workflows.reductions.reader import Reader
from workflows.remote import remote


@dataclass(frozen=True, eq=False)
class Answers:
    """The models of a panel that have logits, and what they say of its images."""

    models: tuple[str, ...]
    """In ascending order."""
    rows: tuple[int, ...]
    """Their rows in the panel."""
    classes: int
    labels: NDArray[np.int32]
    """(N,), or (N, L) accepted."""
    keys: Sequence[str]
    folds: NDArray[np.int8]
    """(N,) calibration folds."""
    selection: NDArray[np.bool_]
    """(N,): whether searches select on the image, or report on it."""
    sampled: NDArray[np.int64]
    """(S,): images of the sample on which probabilities of pairs are compared whole, ascending."""
    reader: Reader
    records: tuple[tuple[Record, ...], ...]
    """Of each model, by shard."""
    scored: tuple[Scored, ...]
    largest: tuple[Any, ...]
    """Of each model a reference to its `Largest` on the selection split."""
    samples: tuple[Any, ...]
    """Of each model a reference to its logits on the sample, float16 (S, K)."""

    def block(self, images: slice) -> Block:
        """The logits of all models on a range of images within one shard (`Reader.blocks`), read and verified."""
        return self._block([self.reader.read(records, images) for records in self.records], np.r_[images])

    def sample(self, places: NDArray[np.int64], models: Collection[int] | None = None) -> Block:
        """The logits of all models, or of some (then the others' are empty), on some images of the sample."""
        wanted = range(len(self.models)) if models is None else sorted(models)
        held = dict(zip(wanted, ray.get([self.samples[model] for model in wanted]), strict=True))
        nothing = np.empty((0, self.classes), np.float16)
        logits = [held[model][places] if model in held else nothing for model in range(len(self.models))]
        return self._block(logits, self.sampled[places])

    def _block(self, logits: Sequence[NDArray[np.float16]], images: NDArray[np.int64]) -> Block:
        keys = [self.keys[image] for image in images.tolist()]
        return Block(logits, self.calibrations, self.labels[images], self.folds[images], self.selection[images], keys)

    @property
    def calibrations(self) -> list[Calibration]:
        """Of each model."""
        return [one.calibration for one in self.scored]

    @property
    def by_name(self) -> dict[str, Calibration]:
        """Calibration by model."""
        return dict(zip(self.models, self.calibrations, strict=True))

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """(M, N): calibrated probability of the predicted class, out of fold."""
        return _stacked([one.confidence for one in self.scored], len(self.keys))

    @cached_property
    def likelihood(self) -> NDArray[np.float32]:
        """(M, N): calibrated probability of the accepted classes, out of fold."""
        return _stacked([one.likelihood for one in self.scored], len(self.keys))


def read(panel: Panel, plan: Plan, manifests: Mapping[str, Manifest]) -> Answers:
    """Read every checkpoint of a panel that has logits.

    Raises:
        DamagedUnits: a certified object is not what its record says.
    """
    models = tuple(model for model in panel.models if model in manifests)
    reader = Reader.of(plan, panel.images)
    folds, selection = splits.folds(panel.keys), splits.selection(panel.keys)
    size = max(plan.study.analysis.sample, sample_size(plan.dataset.classes))
    sampled = np.flatnonzero(soft.choose(panel.keys, size))
    records = tuple(tuple(manifests[model].records) for model in models)
    held = ray.put((panel.labels, folds, selection, sampled))
    made = [_read.remote(reader, one, held) for one in records]
    return Answers(
        models=models,
        rows=tuple(panel.row(model) for model in models),
        classes=plan.dataset.classes,
        labels=panel.labels,
        keys=panel.keys,
        folds=folds,
        selection=selection,
        sampled=sampled,
        reader=reader,
        records=records,
        scored=tuple(fetch([scored for scored, _, _ in made])),
        largest=tuple(kept for _, kept, _ in made),
        samples=tuple(sample for _, _, sample in made),
    )


@remote(num_cpus=1, num_returns=3)
def _read(reader: Reader, records: Sequence[Record], held: tuple[Any, ...]) -> tuple[Scored, Largest, Any]:
    labels, folds, selection, sampled = held
    parts = list(reader.shard_by_shard(records))
    scored = score([logits for _, logits in parts], labels, folds)
    temperature = scored.calibration.of(folds)
    selected = [logits[selection[images]] for images, logits in parts]
    in_sample = np.zeros(len(folds), np.bool_)
    in_sample[sampled] = True
    sample = [logits[in_sample[images]] for images, logits in parts]
    return scored, largest(selected, temperature[selection], labels[selection]), np.concatenate(sample)


def _stacked(rows: Sequence[NDArray[np.float32]], images: int) -> NDArray[np.float32]:
    return np.stack(rows) if rows else np.empty((0, images), np.float32)
