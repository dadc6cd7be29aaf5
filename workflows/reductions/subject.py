"""What one reduction is about: a data set under one truth, the models that are complete on it, and the imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from overlap.analysis.pairs import pair_count
from overlap.identity import canonical_json, digest
from overlap.images.truths import Truth
from overlap.imports import Imported
from overlap.panel import Panel, assemble
from overlap.store.ledger import Ledger, Manifest
from overlap.store.objects import Objects
from workflows.gate import Gate
from workflows.plan import Plan
from workflows.reductions import rows
from workflows.reductions.companions import Companion

REDUCTIONS = 2
"""Version of what the tables mean; raising it reduces everything again."""


@dataclass(frozen=True)
class Subject:
    """What goes into the reductions of one data set under one truth."""

    plan: Plan
    truth: Truth | None
    """None for the labels in the shards."""
    fingerprints: dict[str, str]
    """Of complete checkpoints, by name in ascending order."""
    imported: tuple[Imported, ...]
    gate: Gate
    objects: Objects
    companions: tuple[Companion, ...] = ()
    """Data sets of the study whose features it reads too."""

    @property
    def name(self) -> str:
        """The data set's name in the results, `NAME@TRUTH` under another truth than its own labels."""
        return self.plan.dataset.name + (f"@{self.truth.name}" if self.truth is not None else "")

    @cached_property
    def digest(self) -> str:
        """Equal digests mean equal tables."""
        plan, study = self.plan, self.plan.study
        return digest(
            canonical_json(
                {
                    "reductions": REDUCTIONS,
                    "dataset": plan.dataset.digest,
                    "labels": plan.dataset.labels.tolist(),
                    "truth": None if self.truth is None else self.truth.digest,
                    "checkpoints": self.fingerprints,
                    "training": {c.id: c.candidate.training.model_dump() for c in plan.checkpoints},
                    "rejected": sorted(rejected.id for rejected in plan.rejected),
                    "imports": {one.model: one.fingerprint for one in self.imported},
                    "names": rows.class_names(plan),
                    "groups": rows.groups_identity(plan),
                    "ensembles": study.ensembles.model_dump(),
                    "analysis": self._analysis,
                    "features": [study.features.model_dump(), [one.identity for one in self.companions]],
                    "gate": self.gate.identity,
                }
            )
        )

    @property
    def _analysis(self) -> dict[str, Any]:
        """What the settings are among the inputs; the limit of detailed pairs, where there may be more of them."""
        settings = self.plan.study.analysis
        all_of_them = pair_count(len(self.fingerprints) + len(self.imported)) <= settings.detailed_pairs
        return settings.model_dump(exclude={"detailed_pairs"} if all_of_them else None)

    def identities(self, models: Sequence[str]) -> list[str]:
        """What each model is known by on every data set: the digest of its weights, or the name of what is imported."""
        known = {checkpoint.id: checkpoint.weights_digest for checkpoint in self.plan.checkpoints}
        return [known.get(model, f"import {model}") for model in models]

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """Manifests of the complete checkpoints, by name."""
        return rows.manifests(self.fingerprints, self.plan, self.ledger)

    @property
    def ledger(self) -> Ledger:
        """The data set's ledger."""
        return Ledger(self.objects, self.plan.dataset.name)

    def panel(self) -> Panel:
        """The hard predictions of every model, those that the gate will refuse among them, under the truth.

        Raises:
            DamagedObject: a certified object is not what its record says.
        """
        plan = self.plan
        panel = assemble(
            plan.dataset.keys or None,
            plan.dataset.labels if plan.dataset.shards else None,
            rows.hard_predictions(self.manifests, plan, self.ledger),
            self.imported,
            plan.dataset.classes,
            rows.class_names(plan),
            reserved={*(one.id for one in plan.checkpoints), *(one.id for one in plan.rejected)},
        )
        return panel if self.truth is None else panel.under(self.truth)
