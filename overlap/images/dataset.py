"""A data set as a run sees it: its shards, read through once and remembered by the versions of their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np

from overlap import files
from overlap.errors import DataError, ObjectMissing, StudyError
from overlap.identity import canonical_json, digest
from overlap.images.shards import Shard, expand, index
from overlap.store import layout
from overlap.store.objects import Objects
from overlap.study import Data

Item = TypeVar("Item")
Result = TypeVar("Result")
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Applies a function to many items, somewhere, in order: threads here, Ray tasks in `workflows`."""


@dataclass(frozen=True)
class Dataset:
    """The shards of one data set that could be read, in order."""

    name: str
    classes: int
    shards: tuple[Shard, ...]
    unreadable: tuple[tuple[str, str], ...] = ()
    """Shards that nobody could read, (file, reason): while there are any, nothing is reduced."""
    left_out: tuple[str, ...] = ()
    """Files that the study leaves out under `allow_missing_shards`."""

    @cached_property
    def digest(self) -> str:
        """Over the digests of the shards in order: what a complete checkpoint is complete on."""
        return digest(canonical_json([shard.digest for shard in self.shards]))

    @cached_property
    def keys(self) -> list[str]:
        """All sample keys, in the order of shards and rows."""
        return [key for shard in self.shards for key in shard.keys]

    @cached_property
    def labels(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Class numbers, int32, aligned with `keys`."""
        return np.array([label for shard in self.shards for label in shard.labels], np.int32)


def in_process(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """The mapper that needs nothing: one item after the other, here."""
    return map(function, items)


def load(
    name: str,
    data: Data,
    objects: Objects,
    endpoint_url: str | None = None,
    *,
    limit: int | None = None,
    verify: bool = False,
    mapper: Mapper = in_process,
) -> Dataset:
    """Index a data set, or recall its index where no file has changed since.

    Args:
        name: the data set's name in the store.
        data: the study's section.
        objects: the store, which holds the memo.
        endpoint_url: server of `s3://` addresses.
        limit: only so many leading images, for a smoke run.
        verify: ignore the memo.
        mapper: where shards are read through when they must be.

    Raises:
        StudyError: no shards, or one key in two shards.
    """
    versions: list[files.Version] = []
    unreadable: list[tuple[str, str]] = []
    left_out: list[str] = []
    for uri in expand(data.shards, endpoint_url):
        file = PurePosixPath(uri).name
        if file in data.allow_missing_shards:
            left_out.append(file)
            continue
        try:
            versions.append(files.version(uri, endpoint_url))
        except DataError as error:
            unreadable.append((file, str(error)))
    memo = layout.memo("data", digest(canonical_json([[asdict(version) for version in versions], data.classes, limit])))
    shards = None if verify else _recall(memo, objects)
    if shards is None:
        shards, failed = _index(versions, data.classes, endpoint_url, limit, mapper)
        unreadable += failed
        if not failed:
            objects.put(memo, _encode(shards))
    _refuse_doubled_keys(shards)
    if not shards and not unreadable:
        raise StudyError(f"data '{name}' has no shards; check data.{name}.shards")
    return Dataset(name, data.classes, tuple(shards), tuple(unreadable), tuple(left_out))


def _index(
    versions: list[files.Version], classes: int, endpoint_url: str | None, limit: int | None, mapper: Mapper
) -> tuple[list[Shard], list[tuple[str, str]]]:
    """Read shards through; with a limit, one after the other until enough images are seen."""
    shards: list[Shard] = []
    failed: list[tuple[str, str]] = []
    if limit is None:
        found = mapper(_index_one, [(version.uri, classes, endpoint_url, None) for version in versions])
        for version, shard in zip(versions, found, strict=True):
            if isinstance(shard, Shard):
                shards.append(shard)
            else:
                failed.append((PurePosixPath(version.uri).name, shard))
        return shards, failed
    left = limit
    for version in versions:
        if left <= 0:
            break
        shard = _index_one((version.uri, classes, endpoint_url, left))
        if isinstance(shard, Shard):
            shards.append(shard)
            left -= len(shard)
        else:
            failed.append((PurePosixPath(version.uri).name, shard))
    return shards, failed


def _index_one(job: tuple[str, int, str | None, int | None]) -> Shard | str:
    try:
        return index(*job)
    except DataError as error:
        return str(error)


def _refuse_doubled_keys(shards: list[Shard]) -> None:
    home: dict[str, str] = {}
    for shard in shards:
        for key in shard.keys:
            if key in home:
                raise StudyError(
                    f"key '{key}' stands in {home[key]} and in {shard.uri}; keys must be unique in a data set"
                )
            home[key] = shard.uri


def _encode(shards: list[Shard]) -> bytes:
    return canonical_json([asdict(shard) for shard in shards])


def _recall(memo: str, objects: Objects) -> list[Shard] | None:
    try:
        rows = json.loads(objects.get(memo))
    except ObjectMissing:
        return None
    return [Shard(**{**row, "keys": tuple(row["keys"]), "labels": tuple(row["labels"])}) for row in rows]
