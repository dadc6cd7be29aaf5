"""The accuracy gate of a data set: who is quarantined and why, before any pair is made.

A quarantined model keeps its predictions and its row in the table of models; pairs and ensembles are made without it,
unless the study says `quarantine = false`. What is quarantined on the data that published figures are about is so on
the study's other data sets too: it is the checkpoint that is wrong, not the images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from overlap import files, smoke
from overlap.analysis.class_orders import Order, halves, known_orders
from overlap.analysis.gate import Tolerance, Verdict, judge
from overlap.errors import DataError, StudyError
from overlap.panel import Panel
from overlap.report.results import Results
from overlap.study import Study
from overlap.zoo.expected import Expected, gated_data, published
from workflows.plan import Plan

QUARANTINED = "quarantined"
"""Status of a model that the gate keeps out; the reason in `absent` begins with it."""
MANY = 3
"""Failures from which on, where they are most of what is gated, the figures themselves are doubted."""
SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Gated:
    """What the gate says of a data set's models."""

    verdicts: tuple[Verdict, ...] = ()
    quarantined: dict[str, str] = field(default_factory=dict)
    """Models that take no part in pairs and ensembles, with the reason."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """The gate before one data set."""

    plan: Plan
    imported: tuple[str, ...] = ()
    """Names of imported models."""
    carried: Mapping[str, str] = field(default_factory=dict)
    """Models that are quarantined on another data set of the study, or under its own labels, with the reason."""
    known: bool = False
    """Whether the verdicts are known already, and carried: published figures are about the data's own labels."""

    @cached_property
    def expected(self) -> dict[str, Expected]:
        """Published accuracies by model; StudyError where the table is wrong."""
        if self.known:
            return {}
        candidates = [checkpoint.candidate for checkpoint in self.plan.checkpoints]
        return published(self.plan.study, smoke.whole(self.plan.dataset.name), candidates, self.imported)

    @cached_property
    def orders(self) -> dict[str, list[int]]:
        """Further orders of classes that the study names, as the data's class by place."""
        return {name: self._order(name, uri) for name, uri in self.plan.study.gate.orders.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """All that can change a verdict beside predictions and labels, as plain JSON."""
        settings = self.plan.study.gate.model_dump(include={"quarantine", "allowance", "level", "population"})
        return {
            "settings": settings if self.expected else {},
            "published": {model: [each.top1, each.source] for model, each in self.expected.items()},
            "orders": self.orders if self.expected else {},
            "carried": dict(self.carried),
        }

    def judge(self, panel: Panel) -> Gated:
        """Judge every model of a panel that has a published accuracy."""
        gated = [model for model in panel.models if model in self.expected]
        study = self.plan.study.gate
        tolerance = Tolerance(study.level, study.allowance / 100, len(gated), study.population)
        fit = halves(panel.keys) if gated else None
        classes = max(self.plan.dataset.classes, int(panel.labels.max(initial=0)) + 1)
        known: dict[str, Order] = {}
        if self.plan.dataset.classes and gated:  # classes of imports alone are numbered as they come
            known = known_orders(classes, self.orders)
        verdicts = tuple(
            judge(
                model,
                panel.prediction[panel.row(model)],
                panel.labels,
                (self.expected[model].top1, self.expected[model].source),
                tolerance,
                fit=fit,
                classes=classes,
                known=known,
            )
            for model in gated
            if fit is not None
        )
        failed = {verdict.model: verdict.reason for verdict in verdicts if not verdict.passed}
        notes = list(_doubts(len(failed), len(gated)))
        carried = {model: reason for model, reason in self.carried.items() if model in panel.models}
        if not study.quarantine:
            notes += [f"'{model}' is not as published, and kept: {reason}" for model, reason in failed.items()]
            return Gated(verdicts, {}, tuple(notes))
        quarantined = carried | {model: f"{QUARANTINED}: {reason}" for model, reason in failed.items()}
        return Gated(verdicts, dict(sorted(quarantined.items())), tuple(notes))

    def _order(self, name: str, uri: str) -> list[int]:
        """An order file, a class a line, against the data's own order: its `names`, else synsets sorted."""
        where = f"gate.orders.{name}: {uri}"
        try:
            text = files.read(uri, self.plan.study.store.endpoint_url).decode()
        except (DataError, UnicodeDecodeError) as error:
            raise StudyError(f"gate.orders.{name}: {error}") from None
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        own: Sequence[str] = self.plan.study.data[smoke.whole(self.plan.dataset.name)].names
        synsets = [line.split()[0] for line in lines]
        if set(own) != set(lines) and all(SYNSET.fullmatch(synset) for synset in synsets):
            lines = synsets
            own = own if set(own) == set(lines) else sorted(lines)
        if len(lines) != self.plan.dataset.classes or sorted(own) != sorted(lines):
            raise StudyError(
                f"{where} does not name each of {self.plan.dataset.classes} classes once, as `names` of the data does "
                "or as a synset (n01440764); mend it"
            )
        return [list(own).index(line) for line in lines]


def is_gated(study: Study, data: str) -> bool:
    """Whether published figures are about this data set."""
    return smoke.whole(data) in gated_data(study)


def carry(results: Results) -> dict[str, str]:
    """Models that a reduction quarantined, with the reason as other data sets give it."""
    return {
        model: reason
        if " on data " in reason
        else f"{QUARANTINED} on data '{results.data}'{reason[len(QUARANTINED) :]}"
        for model, reason in results.absent.items()
        if reason.startswith(QUARANTINED)
    }


def _doubts(failed: int, gated: int) -> list[str]:
    if failed < MANY or 2 * failed <= gated:
        return []
    return [
        f"{failed} of {gated} published accuracies do not fit: are they about these images, and are the labels right? "
        "`data` under `[gate]` names the data sets they are about"
    ]
