"""Results as they stand in the store: written so that a reader never sees half of one reduction and half of another.

Tables are first written under the digest of what went into them, then over the newest at their fixed names, and last
comes `reduction.json`, which names that digest. Whoever reads through it reads one whole reduction.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from overlap.errors import DamagedObject, ObjectMissing
from overlap.identity import canonical_json, digest, digest_file
from overlap.report.results import Results
from overlap.report.tables import FIRST, KINDS
from overlap.store import layout
from overlap.store.long_tables import LongTable
from overlap.store.objects import Objects

REDUCTION = "reduction.json"
NEWS = "news.json"
THUMBNAILS = "thumbnails.parquet"
"""Small JPEGs by key, stored and checked like a table."""
LONG = {"pairs"}
"""Tables that may be too long to hold."""
LARGE = 1 << 26
"""Bytes from which on such a table is read into a file."""
HEAD = {"study", "inputs_digest", "dataset_digest", "tables", "measures", "absent", "notes", "provenance"}
"""What `reduction.json` holds."""


@dataclass(frozen=True)
class Snapshot:
    """What the last run resolved a data set to; with the ledger it tells the state of a study."""

    study: str
    data: str
    dataset: str
    """Digest of the ordered shards."""
    classes: int
    shards: dict[str, int]
    """Number of images by shard name, in order."""
    files: dict[str, str]
    """File name by shard name."""
    models: dict[str, str]
    """Fingerprint by checkpoint name."""
    rejected: dict[str, str] = field(default_factory=dict)
    bad_shards: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    role: str = "evaluate"
    """What the study has the data set for."""

    @property
    def images(self) -> int:
        """Number of images in all shards."""
        return sum(self.shards.values())


def write_snapshot(snapshot: Snapshot, objects: Objects) -> None:
    """Store a snapshot over the last one."""
    fields = {**vars(snapshot), "shards": list(snapshot.shards.items())}
    objects.put(layout.snapshot(snapshot.data), canonical_json(fields))


def read_snapshot(data: str, objects: Objects) -> Snapshot | None:
    """The snapshot of the last run on a data set, None where there was none.

    Raises:
        DamagedObject: it is altered.
    """
    fields = read_json(layout.snapshot(data), objects)
    if fields is None:
        return None
    try:
        return Snapshot(**{**fields, "shards": dict(fields["shards"])})
    except (KeyError, TypeError, ValueError):
        raise _damaged(layout.snapshot(data)) from None


def data_sets(objects: Objects) -> list[str]:
    """Names of all data sets with a snapshot, sorted."""
    keys = [info.key for info in objects.list("studies/")]
    return sorted(key.removeprefix("studies/").removesuffix(".json") for key in keys)


def reduced_data_sets(objects: Objects) -> list[str]:
    """Names of all data sets with results, sorted; under another truth `NAME@TRUTH`."""
    parts = [info.key.split("/") for info in objects.list("results/")]
    return sorted(part[1] for part in parts if part[2:] == [REDUCTION])


def write_results(results: Results, objects: Objects) -> None:
    """Publish the tables of a reduction."""
    inputs = results.inputs_digest
    tables = {
        f"{name}.parquet": _encode(table) for name, table in results.tables().items() if name not in results.files
    }
    if results.thumbnails:
        held = sorted(results.thumbnails.items())
        tables[THUMBNAILS] = _encode(pl.DataFrame(held, {"key": pl.String, "jpeg": pl.Binary}, orient="row"))
    files = {f"{name}.parquet": table for name, table in results.files.items()}
    digests = {name: digest(body) for name, body in tables.items()}
    digests |= {name: table.digest for name, table in files.items()}
    for name, body in tables.items():
        objects.put(layout.results(results.data, name, inputs=inputs), body)
    for name, table in files.items():
        objects.put_file(layout.results(results.data, name, inputs=inputs), table.path)
    news = None if results.news is None else canonical_json(results.news)
    if news is not None:
        objects.put(layout.results(results.data, NEWS, inputs=inputs), news)
    for name, body in tables.items():
        objects.put(layout.results(results.data, name), body)
    for name, table in files.items():
        objects.put_file(layout.results(results.data, name), table.path)
    if news is None:
        objects.delete([layout.results(results.data, NEWS)])
    else:
        objects.put(layout.results(results.data, NEWS), news)
    objects.put(
        layout.results(results.data, REDUCTION),
        canonical_json(
            {
                "study": results.study,
                "inputs_digest": inputs,
                "dataset_digest": results.dataset_digest,
                "tables": digests,
                "measures": {model: dict(values) for model, values in results.measures.items()},
                "absent": dict(results.absent),
                "notes": list(results.notes),
                "provenance": dict(results.provenance),
                "news": None if news is None else digest(news),
            }
        ),
    )


def read_inputs_digest(data: str, objects: Objects) -> str | None:
    """Digest of what went into the newest results, None where there are none that can be read."""
    try:
        head = read_json(layout.results(data, REDUCTION), objects)
    except DamagedObject:
        return None
    return None if head is None else str(head.get("inputs_digest"))


def read_absent(data: str, objects: Objects) -> dict[str, str]:
    """Models that the newest results leave out, with the reason; none where there are no results that can be read."""
    try:
        head = read_json(layout.results(data, REDUCTION), objects)
    except DamagedObject:
        return {}
    return dict((head or {}).get("absent", {}))


def read_table(data: str, name: str, objects: Objects) -> pl.DataFrame | None:
    """One table of the newest results; None where there is none that can be read whole."""
    try:
        head = read_json(layout.results(data, REDUCTION), objects) or {}
        body = objects.get(layout.results(data, f"{name}.parquet", inputs=head["inputs_digest"]))
    except (DamagedObject, ObjectMissing, KeyError, TypeError):
        return None
    whole = digest(body) == dict(head.get("tables", {})).get(f"{name}.parquet")
    return pl.read_parquet(io.BytesIO(body)) if whole else None


def read_news(data: str, head: dict[str, Any], objects: Objects) -> dict[str, Any] | None:
    """What was new in a reduction; None where nothing is told, or not whole: nobody could find it out again."""
    if head.get("news") is None:
        return None
    try:
        body = objects.get(layout.results(data, NEWS, inputs=head["inputs_digest"]))
    except ObjectMissing:
        return None
    return dict(json.loads(body)) if digest(body) == head["news"] else None


def read_results(data: str, objects: Objects) -> Results | None:
    """The newest results of a data set, None where there are none.

    Raises:
        DamagedObject: a table, or what names them, is gone or altered; names it.
    """
    head = read_json(layout.results(data, REDUCTION), objects)
    if head is None:
        return None
    if not set(head) >= HEAD:
        raise _damaged(layout.results(data, REDUCTION))
    tables: dict[str, pl.DataFrame] = {}
    long: dict[str, LongTable] = {}
    for file, expected in head["tables"].items():
        key, name = layout.results(data, file, inputs=head["inputs_digest"]), file.removesuffix(".parquet")
        if name in LONG and (found := _long(key, expected, objects)) is not None:
            tables[name] = found.frame()
            long |= {} if found.is_held else {name: found}
            continue
        try:
            body = objects.get(key)
        except ObjectMissing:
            body = b""
        if digest(body) != expected:
            raise _damaged(key)
        tables[name] = pl.read_parquet(io.BytesIO(body))
    thumbnails = tables.get(THUMBNAILS.removesuffix(".parquet"))
    return Results(
        study=head["study"],
        data=data,
        dataset_digest=head["dataset_digest"],
        inputs_digest=head["inputs_digest"],
        **{name: tables[name] for name in FIRST if name in tables},
        more={name: table for name, table in tables.items() if name in KINDS and name not in FIRST},
        files=long,
        thumbnails={} if thumbnails is None else dict(thumbnails.iter_rows()),
        measures=head["measures"],
        absent=head["absent"],
        notes=head["notes"],
        provenance=head["provenance"],
        news=read_news(data, head, objects),
    )


def _long(key: str, expected: str, objects: Objects) -> LongTable | None:
    """A table that is no small object, in a file; None of a small one."""
    info = objects.head(key)
    if info is None or info.size < LARGE:
        return None
    folder, path = LongTable.place()
    try:
        objects.get_file(key, path)
    except ObjectMissing:
        raise _damaged(key) from None
    if digest_file(path) != expected:
        raise _damaged(key)
    return LongTable.at(folder, path)


def read_json(key: str, objects: Objects) -> dict[str, Any] | None:
    """An object of JSON, None where there is none; DamagedObject where it is something else."""
    try:
        fields = json.loads(objects.get(key))
    except ObjectMissing:
        return None
    except ValueError:
        raise _damaged(key) from None
    if not isinstance(fields, dict):
        raise _damaged(key)
    return fields


def _damaged(key: str) -> DamagedObject:
    return DamagedObject(f"{key} is gone or altered; `overlap run` writes it again")


def _encode(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
