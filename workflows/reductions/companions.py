"""Data sets that are there for their features: to train probes on, or to try them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap import smoke
from overlap.analysis import splits
from overlap.store.ledger import Ledger, Record
from overlap.store.objects import Objects
from workflows.plan import Plan
from workflows.reductions.reader import Reader


@dataclass(frozen=True, eq=False)
class Companion:
    """One such data set, with the checkpoints that are complete on it."""

    name: str
    role: str
    """`train` or `downstream`."""
    classes: int
    several: bool
    """Whether any number of classes can hold of an image."""
    labels: NDArray[np.int32]
    """(n,), or (n, L) padded with -1."""
    folds: NDArray[np.int8]
    """(n,) 0..4."""
    reader: Reader
    records: dict[str, tuple[Record, ...]]
    """By model, of its units in the order of the shards."""
    dataset: str
    """Digest of its shards."""

    @classmethod
    def of(cls, plan: Plan, objects: Objects, most: int) -> Companion:
        """What a plan's data set has to give; of one to train on at most so many images, by a fixed hash of their keys.

        Raises:
            DamagedObject: a manifest is altered.
        """
        ledger, dataset = Ledger(objects, plan.dataset.name), plan.dataset
        chosen = np.arange(len(dataset.keys))
        if plan.role == "train" and len(chosen) > most:
            order = np.argsort(splits.uniform(dataset.keys, "overlap/probes/1"), kind="stable")
            chosen = np.sort(order[:most])
        manifests = {
            checkpoint.id: ledger.manifest(checkpoint.fingerprint, dataset.digest)
            for checkpoint in plan.checkpoints
            if checkpoint.fingerprint in plan.complete
        }
        return cls(
            name=dataset.name,
            role=plan.role,
            classes=dataset.classes,
            several=plan.study.data[smoke.whole(dataset.name)].multi_label,
            labels=dataset.labels[chosen],
            folds=splits.folds([dataset.keys[place] for place in chosen.tolist()]),
            reader=Reader.of(plan, chosen),
            records={model: tuple(found.records) for model, found in manifests.items() if found is not None},
            dataset=dataset.digest,
        )

    def features(self, model: str) -> NDArray[np.float32]:
        """(n, D) of one model."""
        return self.reader.features(self.records[model], slice(0, len(self.reader.places)))

    @property
    def identity(self) -> dict[str, Any]:
        """What stands for it among the inputs of a reduction, as plain JSON."""
        fingerprints = {model: records[0].fingerprint for model, records in self.records.items() if records}
        about = [self.role, self.classes, self.several, self.dataset, self.labels.tolist(), len(self.reader.places)]
        return {"name": self.name, "about": about, "models": fingerprints}


def of_role(companions: Sequence[Companion], role: str) -> list[Companion]:
    """Those of one role, in the order of the study."""
    return [companion for companion in companions if companion.role == role]
