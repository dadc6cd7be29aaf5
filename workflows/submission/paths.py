"""Files and folders of this machine that a study names, by key: which of them can travel with a job, which cannot.

Guarantees that every key of a study that may hold a path is looked at. Small tables travel; images, weights, the store
and a tracking database never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from overlap.fields import GROUPINGS
from overlap.study import Study, is_uri

_BUCKET = "put it into a bucket, or its folder on a disk that every node mounts and name that with --shared"


@dataclass(frozen=True)
class Named:
    """One path of a study."""

    key: str
    path: Path
    travels: bool
    """Whether it is a small table, which a job takes along."""
    mend: str


def named_paths(study: Study) -> list[Named]:
    """Every path that a study names, in the order of its sections; addresses are left out."""
    return [
        Named(key, Path(text), travels, mend)
        for key, text, travels, mend in _named(study)
        if text is not None and not is_uri(text)
    ]


def _named(study: Study) -> Iterator[tuple[str, str | None, bool, str]]:
    for name, data in study.data.items():
        for uri in data.shards:
            yield f"data.{name}.shards", uri, False, _BUCKET
        yield f"data.{name}.synsets", data.synsets, True, ""
        for truth, uri in data.truths.items():
            yield f"data.{name}.truths.{truth}", uri, True, ""
        yield f"data.{name}.groups", None if data.groups in GROUPINGS else data.groups, True, ""
    yield (
        "store.uri",
        study.store.uri,
        False,
        "use s3://BUCKET/PREFIX, or name a folder that every node mounts by --shared",
    )
    yield from _tracking(study.tracking.uri)
    yield "gate.published", study.gate.published, True, ""
    for order, uri in study.gate.orders.items():
        yield f"gate.orders.{order}", uri, True, ""
    for entry in study.checkpoint:
        yield f"checkpoint.weights of '{entry.id}'", entry.weights, False, _BUCKET
        yield f"checkpoint.synsets of '{entry.id}'", entry.synsets, True, ""
    for number, query in enumerate(study.zoo):
        yield f"zoo.{number}.folder", query.folder, False, _BUCKET
        yield f"zoo.{number}.defaults.synsets", query.defaults.synsets if query.defaults else None, True, ""


def _tracking(uri: str) -> Iterator[tuple[str, str | None, bool, str]]:
    if uri.startswith("sqlite:///"):
        mend = 'give the address of an MLflow server, or "none" (`overlap sync` fills MLflow in from here)'
        yield "tracking.uri", uri.removeprefix("sqlite:///"), False, mend
