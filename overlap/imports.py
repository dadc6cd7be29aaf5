"""Predictions made elsewhere: hard predictions by sample key, kept in the store one table per model.

Labels and predictions are text and compared as text, unless the study maps class names to numbers. A table replaces
the model's earlier one whole; importing the same file again changes nothing. Which of them take part in an analysis
is decided when it runs, against the keys and labels of its data set.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from overlap.errors import DamagedObject, ObjectMissing, StudyError, gist
from overlap.identity import SHORT, canonical_json, digest
from overlap.store import layout
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects, get_many
from overlap.store.tables import decode_labels
from overlap.study import Study

COLUMNS = ("model", "key", "label", "prediction")
DEFAULT_DATA = "imported"
"""Name of the data set of a study that consists of imports alone."""


@dataclass(frozen=True)
class Imported:
    """The imported predictions of one model."""

    model: str
    fingerprint: str
    table: pl.DataFrame
    """Columns key, label, prediction (text), sorted by key."""


@dataclass(frozen=True)
class ImportOutcome:
    """What an import did, by model name."""

    stored: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: dict[str, str]


def import_file(study: Study, path: Path, data: str | None = None) -> ImportOutcome:
    """Import a file into a study's store.

    Args:
        study: the study.
        path: csv or parquet.
        data: the data set that was predicted; the study's own where it has one, `imported` where it has none.

    Raises:
        StudyError: no such data set, or a file that cannot be used.
    """
    if data is None:
        data = next(iter(study.evaluated), DEFAULT_DATA)
        if len(study.evaluated) > 1:
            raise StudyError(f"{study.path}: has data sets {', '.join(study.evaluated)}; say which with --data")
    if study.data and data not in study.evaluated:
        raise StudyError(f"{study.path}: has no data set '{data}'; it has {', '.join(study.evaluated)}")
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    try:
        known_keys = decode_labels(objects.get(layout.labels(data))).keys
    except ObjectMissing:
        known_keys = None
    return store_predictions(path, data, objects, known_keys)


def imported_data_sets(objects: Objects) -> list[str]:
    """Names of the data sets that predictions were imported for, sorted."""
    return sorted({info.key.split("/")[1] for info in objects.list("imports/")})


def read_predictions(path: Path) -> pl.DataFrame:
    """Read a csv or parquet file of predictions as text columns model, key, label, prediction.

    Raises:
        StudyError: unreadable, of another kind, without a column, with an empty cell, a doubled (model, key), or one
            key with two labels.
    """
    table = _read(path)
    for name in COLUMNS:
        if table[name].null_count():
            raise StudyError(
                f"{path}: {table[name].null_count()} empty cells in column '{name}'; fill or drop the rows"
            )
    doubled = table.filter(pl.struct("model", "key").is_duplicated())
    if doubled.height:
        model, key = doubled.row(0)[:2]
        raise StudyError(f"{path}: model '{model}' has key '{key}' more than once ({doubled.height} rows); keep one")
    contradicting = (
        table.group_by("key", maintain_order=True).agg(pl.col("label").n_unique()).filter(pl.col("label") > 1)
    )
    if contradicting.height:
        raise StudyError(
            f"{path}: key '{contradicting['key'][0]}' has several labels ({contradicting.height} such keys); mend them"
        )
    for model in table["model"].unique(maintain_order=True):
        try:
            layout.check_model(model)
        except StudyError as error:
            raise StudyError(f"{path}: {error}") from None
    return table


def _read(path: Path) -> pl.DataFrame:
    """The four columns of a file, as text."""
    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path)
        elif path.suffix.lower() == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        else:
            raise StudyError(f"{path}: neither .csv nor .parquet; convert it")
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing:
            raise StudyError(f"{path}: no column '{missing[0]}'; columns must be {', '.join(COLUMNS)}")
        if nested := [name for name in COLUMNS if table[name].dtype.is_nested()]:
            raise StudyError(f"{path}: column '{nested[0]}' holds {table[nested[0]].dtype}; give one value a row")
        table = table.select(pl.col(name).cast(pl.String) for name in COLUMNS)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file; check the path") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StudyError(f"{path}: cannot be read as csv or parquet of text ({gist(error)}); export it again") from None
    if not table.height:
        raise StudyError(f"{path}: holds no rows; export it again")
    return table


def store_predictions(
    path: Path, data: str, objects: Objects, known_keys: Sequence[str] | None = None
) -> ImportOutcome:
    """Import a file: each of its models that has every key is stored, the others are refused and named.

    Args:
        path: csv or parquet.
        data: name of the data set the predictions belong to.
        objects: the store.
        known_keys: the data set's keys where they are known; else those of earlier imports, else those of the file.

    Raises:
        StudyError: the file itself cannot be used; nothing was stored.
    """
    table = read_predictions(path)
    earlier, _ = _held(data, objects)  # a damaged one is only mended by importing it again
    if known_keys is not None:
        expected = set(known_keys)
    elif others := [one for one in earlier if one.model not in set(table["model"])]:
        expected = set(others[0].table["key"])
    else:
        expected = set(table["key"])
    held = {one.model: one.fingerprint for one in earlier}
    stored, unchanged, refused = [], [], {}
    for (model,), rows in table.group_by("model", maintain_order=True):
        name = str(model)
        reason = _mismatch(set(rows["key"]), expected)
        if reason is not None:
            refused[name] = reason
            continue
        table_of = rows.select("key", "label", "prediction").sort("key")
        content = _content(table_of)
        if held.get(name) == content[:SHORT]:
            unchanged.append(name)
            continue
        body = _encode(table_of)
        key = layout.imported_table(data, name, digest(body))
        objects.put(key, body)
        pointer = {"model": name, "object": key, "digest": digest(body), "content": content}
        objects.put(layout.imported(data, name), canonical_json(pointer))
        stored.append(name)
    return ImportOutcome(tuple(stored), tuple(unchanged), refused)


def load_imports(data: str, objects: Objects) -> list[Imported]:
    """The imported models of a data set, sorted by name.

    Raises:
        DamagedObject: a table is gone or altered.
    """
    imported, damaged = _held(data, objects)
    if damaged:
        raise DamagedObject(f"{damaged[0]} is gone or altered; import its model's predictions again")
    return imported


def _held(data: str, objects: Objects) -> tuple[list[Imported], list[str]]:
    """The imported models that can be read, sorted by name, and the keys of what cannot."""
    pointers = get_many(
        objects, [info.key for info in objects.list(layout.imports(data)) if info.key.endswith(".json")]
    )
    records = {key: _record(body) for key, body in pointers.items()}
    tables = get_many(objects, [record["object"] for record in records.values() if record is not None])
    imported: list[Imported] = []
    damaged: list[str] = []
    for key, record in records.items():
        body = b"" if record is None else tables.get(record["object"], b"")
        if record is None or digest(body) != record["digest"]:
            damaged.append(key if record is None else record["object"])
        else:
            table = pl.read_parquet(io.BytesIO(body))
            imported.append(Imported(record["model"], record["content"][:SHORT], table))
    return sorted(imported, key=lambda one: one.model), damaged


def _record(body: bytes) -> dict[str, str] | None:
    try:
        fields = json.loads(body)
        return {name: str(fields[name]) for name in ("model", "object", "digest", "content")}
    except (ValueError, KeyError, TypeError):
        return None


def _mismatch(keys: set[str], expected: set[str]) -> str | None:
    lacking, foreign = sorted(expected - keys), sorted(keys - expected)
    if lacking:
        return f"lacks {len(lacking)} of {len(expected)} keys (first: '{lacking[0]}'); predict them too"
    if foreign:
        return f"has {len(foreign)} keys that are not in the data set (first: '{foreign[0]}'); drop them"
    return None


def _encode(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def _content(table: pl.DataFrame) -> str:
    """Digest of what a table says, which no version of parquet's writer changes."""
    return digest(table.write_csv(include_header=False, quote_style="always").encode())
