"""What the runs say, before MLflow is asked anything: pure data made from `Results`.

An entry's key says which run it is; its content says what is in it. A run that carries the key is the entry's run, one
that carries the content too is up to date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from overlap import __version__
from overlap.analysis.shares import wilson
from overlap.identity import fingerprint
from overlap.news import of_plain
from overlap.report.across import across_scalars
from overlap.report.findings import find
from overlap.report.news import headline
from overlap.report.results import Results
from overlap.report.schedule import balance

SCHEMA = 1
"""Raise it when entries of the same results come to say something else: every run is then filled again."""
TRAINING = ("dataset", "framework", "architecture", "hyper_parameters", "seed", "parent", "teacher")
NEWS = ("added", "replaced", "back", "withdrawn", "failed", "quarantined")
TAG = 500
"""Characters of a tag at most."""
SCALARS = ("n", "accuracy", "top5", "nll", "ece", "temperature", "noise_floor_ei")


@dataclass(frozen=True)
class Entry:
    """One run to be."""

    kind: str
    """`checkpoint`, `reduction` or `invocation`."""
    name: str
    identity: Mapping[str, str]
    """What makes it this run and no other; also written as tags."""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[str, float, int], ...] = ()
    """(name, value, step)."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Further tags; they may change."""
    beside: tuple[tuple[str, float, int], ...] = ()
    """Further metrics, about how it was computed: written when the run is filled, and no reason to fill it again."""

    @property
    def key(self) -> str:
        """Short fingerprint of the identity."""
        return fingerprint({"kind": self.kind, **self.identity})

    @property
    def content(self) -> str:
        """Short fingerprint of all that is written, but for what is beside the results."""
        values = [[name, value, step] for name, value, step in self.metrics]
        return fingerprint({"schema": SCHEMA, "params": self.params, "metrics": values, "about": self.about})


def checkpoints(results: Results) -> list[Entry]:
    """One entry per model with an accuracy: about a dozen scalars, no steps; nulls are left out."""
    entries = []
    for row in results.models.to_dicts():
        if row["accuracy"] is None:
            continue
        name = str(row["model"])
        scalars = {column: row.get(column) for column in SCALARS}
        low, high = wilson(row["accuracy"], row["n"])
        scalars |= {"accuracy_low": low, "accuracy_high": high, **results.measures.get(name, {})}
        training = {column: str(row[column]) for column in TRAINING if row.get(column) is not None}
        status = "quarantined" if row.get("status") == "quarantined" else "complete"
        identity = {
            "model": name,
            "fingerprint": str(row["fingerprint"] or ""),
            "data": results.data,
            "dataset_digest": results.dataset_digest,
        }
        entries.append(
            Entry("checkpoint", f"{name} · {results.data}", identity, training, _metrics(scalars), {"status": status})
        )
    return entries


def reduction(results: Results) -> Entry:
    """The entry of the tables: how many of what, means by category, and greedy accuracy by step."""
    found = find(results)
    scalars: dict[str, object] = {"models": found.models, "pairs": found.pairs, "images": found.images}
    if found.best_single:
        scalars["best_single_accuracy"] = found.best_single["accuracy"]
    if found.best_pair:
        scalars["best_pair_gain"] = found.best_pair["gain_best"]
    for row in found.categories:
        scalars[f"error_inconsistency/{row['category']}"] = row["error_inconsistency"]
        scalars[f"kappa/{row['category']}"] = row["kappa"]
    metrics = list(_metrics(scalars | across_scalars(results.data, results.across)))
    for search in found.searches:
        for step in search.steps:
            metrics.append((metric_name(f"{search.name}/accuracy_select"), step.accuracy_select, step.number))
            if step.accuracy_test is not None:
                metrics.append((metric_name(f"{search.name}/accuracy_test"), step.accuracy_test, step.number))
    about = {"drawn_by": f"overlap {__version__}", "absent": str(len(results.absent))}
    news = of_plain(results.news)
    if news is not None:
        metrics += _metrics({f"new/{kind}": sum(one.change == kind for one in news.models) for kind in NEWS})
        for size in news.sizes:
            of_size = {"gain": size.gain, "gain_low": size.gain_low, "gain_high": size.gain_high, "beyond": size.beyond}
            named = {f"new/ensemble_{name}": value for name, value in of_size.items() if value is not None}
            metrics += [(name, value, size.size) for name, value, _ in _metrics(named)]
        previous = _reduced(results.data, news.since_dataset, news.since)
        about |= {"previous": Entry("reduction", "", previous).key, "previous_inputs": news.since}
        about |= {"new": headline(news)[:TAG]}
    identity = _reduced(results.data, results.dataset_digest, results.inputs_digest)
    ran = None if results.schedule is None else balance(results.schedule)
    return Entry(
        "reduction",
        f"pairs and ensembles · {results.data}",
        identity,
        metrics=tuple(metrics),
        about=about,
        beside=() if ran is None else _metrics(ran.metrics),
    )


def _reduced(data: str, dataset_digest: str, inputs_digest: str) -> dict[str, str]:
    """What makes the run of a reduction that run."""
    return {"data": data, "dataset_digest": dataset_digest, "inputs_digest": inputs_digest}


def invocation(identifier: str, about: Mapping[str, str]) -> Entry:
    """The entry of one call of a verb, the parent of the runs it created."""
    return Entry("invocation", about.get("command", "overlap"), {"invocation": identifier}, params=dict(about))


def metric_name(text: str) -> str:
    """A text as MLflow allows it in the name of a metric: other characters become underscores."""
    return re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII)


def _metrics(scalars: Mapping[str, object]) -> tuple[tuple[str, float, int], ...]:
    return tuple(
        (metric_name(name), float(value), 0)
        for name, value in scalars.items()
        if isinstance(value, int | float) and math.isfinite(value)
    )
