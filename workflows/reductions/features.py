"""What penultimate features share: similarity of all pairs, and probes on mixed, ranked and joined features of some.

Probes are trained on the study's training set where there is one, else cross-fitted. A task holds the features of one
or two models; on a cluster with GPUs each that fits probes gets one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import ray
from numpy.typing import NDArray

from overlap.analysis import splits
from overlap.analysis.features.choice import chosen_pairs
from overlap.analysis.features.cka import GramSums, gram_sums, minibatches
from overlap.analysis.features.compression import compression_summary, compression_table
from overlap.analysis.features.mixing import Mixed, mixing_summary, mixing_table
from overlap.analysis.features.pairs import feature_pairs_table
from overlap.analysis.features.ridge import r_squared
from overlap.analysis.pair_categories import PairCategories
from overlap.panel import Panel
from overlap.sections import Features
from overlap.store.ledger import Manifest, Record
from workflows.nodes import cluster
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan
from workflows.reductions.companions import Companion, of_role
from workflows.reductions.reader import Reader

if TYPE_CHECKING:
    from overlap.probes.trial import Sight, Trial

BATCHES = 4
"""Minibatches of one task: their Gram matrices are 0.6 GiB of 300 models."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The models whose features take part, and the images they are judged on."""

    models: tuple[str, ...]
    """In ascending order."""
    records: dict[str, tuple[Record, ...]]
    reader: Reader
    labels: NDArray[np.int32]
    folds: NDArray[np.int8]
    classes: int
    train: Companion | None
    gpu: bool
    several: bool = False

    def features(self, model: str, images: slice | None = None) -> NDArray[np.float32]:
        """(m, D) of one model."""
        return self.reader.features(self.records[model], images or slice(0, len(self.reader.places)))

    def sight(self, model: str) -> Sight:
        """A model's features on the images, and on those that probes are trained on."""
        from overlap.probes.trial import Sight

        return Sight(self.features(model), None if self.train is None else self.train.features(model))

    @property
    def trial(self) -> Trial:
        """The images, and what probes are trained on."""
        from overlap.probes.trial import Trial

        train = self.train
        return Trial(
            self.labels,
            self.classes,
            self.folds,
            None if train is None else train.labels,
            None if train is None else train.folds,
            several=self.several,
            device="cuda" if self.gpu else "cpu",
        )


def compare(
    panel: Panel,
    plan: Plan,
    manifests: dict[str, Manifest],
    categories: PairCategories,
    companions: Sequence[Companion],
    settings: Features,
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The tables of features, and notes on models without; nothing where no two models have features.

    Args:
        panel: all models that take part.
        plan: of their data set.
        manifests: of those that are complete on it.
        categories: of their pairs.
        companions: the study's other data sets, as far as they can be read.
        settings: which pairs the probes are fitted for.
    """
    seen, notes = _seen(panel, plan, manifests, companions)
    if len(seen.models) < 2:
        return {}, notes
    rows = [panel.row(model) for model in seen.models]
    own, accuracies = categories.among(rows), panel.correct[rows].mean(axis=1)
    base = settings.base if settings.base in seen.models else None
    if settings.base is not None and base is None:
        notes.append(f"features.base '{settings.base}' has no features here: another checkpoint takes its place")
    pairs = chosen_pairs(seen.models, own, accuracies, base, settings.pairs_per_category)
    held = ray.put(seen)
    task = functools.partial(_task, seen.gpu)
    sums = [_grams.remote(held, part) for part in _parts(len(seen.labels))]
    together = sorted({(min(a, b), max(a, b)) for a, b, _ in pairs})
    ridge = {pair: _ridge.remote(held, *pair) for pair in together}
    mixed = [task(_mix).remote(held, *pair, settings.draws) for pair in pairs]
    halves = [
        task(_halve).remote(held, model, settings.draws) for model in sorted({m for a, b, _ in pairs for m in (a, b)})
    ]
    compressed = [task(_compress).remote(held, *pair) for pair in pairs]
    joined = [_downstream(seen, companion, pairs, task) for companion in of_role(companions, "downstream")]

    found: list[Mixed] = [one for several in fetch(mixed) for one in several] + fetch(halves)
    curve = compression_table([row for rows_ in fetch(compressed) for row in rows_])
    fitted = {pair: fetch(reference) for pair, reference in ridge.items()}
    total: GramSums = functools.reduce(operator.add, fetch(sums))
    first = [seen.records[model][0].features for model in seen.models]
    sizes = [held_.dimension for held_ in first if held_ is not None]
    tables = {"feature_pairs": feature_pairs_table(seen.models, total, sizes, fitted, own)}
    if pairs:
        tables |= {
            "feature_mixing": mixing_table(found),
            "feature_mixing_summary": mixing_summary(found),
            "feature_compression": curve,
            "feature_compression_summary": compression_summary(curve),
        }
    finished = [finish() for finish in joined]
    return tables | ({"feature_downstream": pl.concat(finished)} if finished else {}), notes


def _seen(
    panel: Panel, plan: Plan, manifests: dict[str, Manifest], companions: Sequence[Companion]
) -> tuple[Seen, list[str]]:
    train = next(iter(of_role(companions, "train")), None)
    records = {
        model: tuple(manifests[model].records)
        for model in panel.models
        if model in manifests and all(record.features is not None for record in manifests[model].records)
    }
    lacking = [] if train is None else [model for model in records if model not in train.records]
    notes = [
        f"`{model}` is not complete on '{train.name}': it is in no table of features" for model in lacking if train
    ]
    models = tuple(model for model in records if model not in lacking)
    gpu = any(node.gpus >= 1 for node in cluster.nodes())
    return Seen(
        models,
        {model: records[model] for model in models},
        Reader.of(plan, panel.images),
        panel.labels,
        splits.folds(panel.keys),
        plan.dataset.classes,
        train,
        gpu,
    ), notes


def _downstream(
    seen: Seen, companion: Companion, pairs: Sequence[tuple[str, str, str]], task: Callable[[Any], Any]
) -> Callable[[], pl.DataFrame]:
    """Start the probes of one downstream set; what is returned makes its table of them."""
    models = tuple(model for model in seen.models if model in companion.records)
    there = Seen(
        models,
        {model: companion.records[model] for model in models},
        companion.reader,
        companion.labels,
        companion.folds,
        companion.classes,
        None,
        seen.gpu,
        companion.several,
    )
    held = ray.put(there)
    keys: list[tuple[str, str | None]] = [(model, None) for model in models]
    keys += sorted({(min(a, b), max(a, b)) for a, b, _ in pairs if a in models and b in models})
    judged = {key: task(_judge).remote(held, *key) for key in keys}

    def finish() -> pl.DataFrame:
        from overlap.probes.downstream import downstream_table

        return downstream_table(companion.name, there.trial, {key: fetch(found) for key, found in judged.items()})

    return finish


def _parts(images: int) -> list[list[slice]]:
    """Minibatches, some to a task; one task without any where there are too few images."""
    batches = minibatches(images)
    return [batches[start : start + BATCHES] for start in range(0, max(1, len(batches)), BATCHES)]


def _task(gpu: bool, function: Callable[..., Any]) -> Any:
    return remote(num_cpus=1, num_gpus=1 if gpu else 0)(function)


@remote(num_cpus=1)
def _grams(seen: Seen, batches: Sequence[slice]) -> GramSums:
    images = slice(batches[0].start, batches[-1].stop) if batches else slice(0, 0)
    features = (seen.features(model, images) for model in seen.models)
    return gram_sums(features, [batch.stop - batch.start for batch in batches])


@remote(num_cpus=1)
def _ridge(seen: Seen, a: str, b: str) -> tuple[float, float]:
    first, second = seen.sight(a), seen.sight(b)
    train = None
    if seen.train is not None and first.train is not None and second.train is not None:
        train = (first.train, second.train, seen.train.folds)
    return r_squared(first.images, second.images, seen.folds, train)


def _mix(seen: Seen, base: str, other: str, category: str, draws: int) -> list[Mixed]:
    from overlap.probes.mixing import mix_pair

    return mix_pair(base, other, category, seen.sight(base), seen.sight(other), seen.trial, draws)


def _halve(seen: Seen, model: str, draws: int) -> Mixed:
    from overlap.probes.mixing import mix_halves

    return mix_halves(model, seen.sight(model), seen.trial, draws)


def _compress(seen: Seen, base: str, other: str, category: str) -> list[dict[str, Any]]:
    from overlap.probes.compression import compression_rows

    return compression_rows(base, other, category, seen.sight(base), seen.sight(other), seen.trial)


def _judge(seen: Seen, a: str, b: str | None) -> NDArray[np.float32]:
    from overlap.probes.downstream import judged

    return judged(seen.trial, seen.sight(a), None if b is None else seen.sight(b))
