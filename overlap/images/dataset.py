"""A data set as a run sees it: its shards, read through once and remembered by the versions of their files."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from overlap import files
from overlap.analysis.truths import NONE
from overlap.errors import DataError, StudyError
from overlap.identity import canonical_json, digest
from overlap.images.shards import Shard, expand, index
from overlap.sections import Data
from overlap.store import memo
from overlap.store.objects import READERS, Objects

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
        """Class numbers, int32 (N,), aligned with `keys`; of multi-label shards (N, L), padded with -1."""
        labels = [label for shard in self.shards for label in shard.labels]
        rows = [label for label in labels if isinstance(label, tuple)]
        if not rows:
            return np.array(labels, np.int32)
        padded = np.full((len(rows), max(1, *map(len, rows))), NONE, np.int32)
        for place, row in enumerate(rows):
            padded[place, : len(row)] = row
        return padded


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
    """Index a data set; a shard whose file has not changed since it was read through is recalled.

    Args:
        name: the data set's name in the store.
        data: the study's section.
        objects: the store, which holds the memo.
        endpoint_url: server of `s3://` addresses.
        limit: only so many leading images, for a smoke run.
        verify: ignore the memo.
        mapper: where shards are read through when they must be.

    Raises:
        StudyError: no shards, one key in two shards, or a shard to be left out that the data does not name.
    """
    wanted, left_out = _less_missing(name, data, expand(data.shards, endpoint_url))
    with ThreadPoolExecutor(READERS) as readers:
        looked = list(readers.map(lambda uri: _version(uri, endpoint_url), wanted))
    versions = [found for found in looked if isinstance(found, files.Version)]
    unreadable = [(_file(uri), found) for uri, found in zip(wanted, looked, strict=True) if isinstance(found, str)]
    reader = _Reader(objects, data.classes, data.multi_label, endpoint_url, verify, mapper)
    shards = []
    for version, said in reader.all(versions) if limit is None else reader.first(versions, limit):
        if isinstance(said, Shard):
            shards.append(said)
        else:
            unreadable.append((_file(version.uri), said))
    _refuse_doubled_keys(shards)
    if not shards and not unreadable:
        raise StudyError(f"data '{name}' has no shards; check data.{name}.shards")
    return Dataset(name, data.classes, tuple(shards), tuple(unreadable), tuple(left_out))


@dataclass(frozen=True)
class _Reader:
    """Reads shards through, or recalls what was read; says of each the shard, or why it cannot be read."""

    objects: Objects
    classes: int
    multi_label: bool
    endpoint_url: str | None
    verify: bool
    mapper: Mapper

    def all(
        self, versions: Sequence[files.Version], limit: int | None = None
    ) -> Iterator[tuple[files.Version, Shard | str]]:
        """What each shard holds, those that are new read wherever the mapper reads them."""
        kind = ["multi_label"] if self.multi_label else []
        keys = [memo.key("shard", [asdict(version), self.classes, limit, *kind]) for version in versions]
        known = {} if self.verify else memo.recall_many(keys, self.objects)
        new = [version for version, key in zip(versions, keys, strict=True) if key not in known]
        about = (self.classes, self.endpoint_url, limit, self.multi_label)
        read = self.mapper(_index, [(version.uri, *about) for version in new])
        for version, key in zip(versions, keys, strict=True):
            if key in known:
                held = known[key]
                labels = tuple(map(tuple, held["labels"])) if self.multi_label else tuple(held["labels"])
                yield version, Shard(version.uri, held["digest"], tuple(held["keys"]), labels, limit)
                continue
            said: Shard | str = next(read)
            if isinstance(said, Shard):
                memo.remember(key, {"digest": said.digest, "keys": said.keys, "labels": said.labels}, self.objects)
            yield version, said

    def first(self, versions: Sequence[files.Version], limit: int) -> Iterator[tuple[files.Version, Shard | str]]:
        """As `all`, one after the other until so many images are seen."""
        for version in versions:
            for _, said in self.all([version], limit):
                yield version, said
                limit -= len(said) if isinstance(said, Shard) else 0
            if limit <= 0:
                return


def _less_missing(name: str, data: Data, uris: Sequence[str]) -> tuple[list[str], list[str]]:
    """The shards to read, and the files to leave out; one that a listed folder has lost is left out too."""
    names = [_file(uri) for uri in uris]
    unknown = [file for file in data.allow_missing_shards if file not in names]
    if unknown and all(pattern.endswith(".tar") for pattern in data.shards):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "give the file's name alone"
        raise StudyError(f"data.{name}.allow_missing_shards: '{unknown[0]}' is none of the shards; {hint}")
    wanted = [uri for uri in uris if _file(uri) not in data.allow_missing_shards]
    return wanted, list(data.allow_missing_shards)


def _file(uri: str) -> str:
    return PurePosixPath(uri).name


def _version(uri: str, endpoint_url: str | None) -> files.Version | str:
    try:
        return files.version(uri, endpoint_url)
    except DataError as error:
        return str(error)


def _index(job: tuple[str, int, str | None, int | None, bool]) -> Shard | str:
    try:
        return index(*job[:4], multi_label=job[4])
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
