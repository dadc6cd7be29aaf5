"""Objects under keys: one interface, kept by a folder (`folder.Folder`) and by an S3 bucket (`s3.Bucket`).

Both guarantee: an object is seen whole or not at all, whatever dies in between; `put_if_absent` has exactly one winner;
a listing is sorted by key. Neither guarantees an order between two plain puts of one key, nor that a listing taken
during writes holds them all.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from overlap.errors import ObjectMissing, StoreError

READERS = 16
"""Threads of `get_many`: an S3 answer takes milliseconds, of which next to none is work here."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing tells of an object.

    `size` in bytes; `etag` changes whenever the bytes do (it is no digest of them); `modified` in seconds since 1970,
    which S3 rounds to whole seconds.
    """

    key: str
    size: int
    etag: str
    modified: float


class Objects(Protocol):
    """A store of objects. Keys are relative, separated by `/`, and none of their parts begins with a dot.

    Every method raises StoreError where the store cannot be reached, refuses, or is full, and what writes or deletes
    raises ValueError for a key that is none. Instances may be pickled, and used by many threads.
    """

    @property
    def uri(self) -> str:
        """What names this store to a person."""
        ...

    def get(self, key: str) -> bytes:
        """The whole object; ObjectMissing where there is none."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start` on, or as many as there are; ObjectMissing where there is no object."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing what is there."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; whether it was this call that wrote it."""
        ...

    def put_file(self, key: str, path: Path) -> None:
        """Write a file of any size as an object, replacing what is there."""
        ...

    def get_file(self, key: str, path: Path) -> None:
        """Read an object of any size into a file, which appears whole or not at all; ObjectMissing as in `get`."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys start with these characters (any, not only up to a `/`), sorted by key."""
        ...

    def head(self, key: str) -> ObjectInfo | None:
        """What a listing would tell of one object; None where there is none."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are passed over."""
        ...

    def unfinished(self) -> Iterator[ObjectInfo]:
        """What killed writers left invisible, and what living ones are writing: by the name of the hidden file, or the
        key that an upload is for; sorted, with what it takes and its last sign of life."""
        ...

    def sweep(self, older_than: float) -> int:
        """Remove what killed writers left invisible for this many seconds; how many such remains there were."""
        ...


def check_key(key: str) -> str:
    """The key itself, where it is one.

    Raises:
        ValueError: an empty, absolute or dotted key, or one with control characters: a mistake of the caller's.
    """
    if any(part == "" or part[0] == "." for part in key.split("/")) or not key.isprintable() or "\\" in key:
        raise ValueError(f"{key!r} is no key of a store")
    return key


def get_many(objects: Objects, keys: Iterable[str], threads: int = READERS) -> dict[str, bytes]:
    """Read many small objects side by side, in the order of the keys; those that are not there are left out."""

    def read(key: str) -> bytes | None:
        try:
            return objects.get(key)
        except ObjectMissing:
            return None

    wanted = list(keys)
    if len(wanted) < 2 or threads < 2:
        found = [read(key) for key in wanted]
    else:
        with ThreadPoolExecutor(min(threads, len(wanted)), thread_name_prefix="store") as pool:
            found = list(pool.map(read, wanted))
    return {key: data for key, data in zip(wanted, found, strict=True) if data is not None}


def check(objects: Objects) -> None:
    """Write, write conditionally, read, list and remove one object: what a study needs, before anything is computed.

    Raises:
        StoreError: the store cannot be reached or refuses; or its server ignores If-None-Match, so that certified
            records could be overwritten.
    """
    key = f"check/{secrets.token_hex(8)}"
    first = objects.put_if_absent(key, b"first")
    try:
        if not first or objects.put_if_absent(key, b"second"):
            raise StoreError(
                f"{objects.uri}: the server ignores If-None-Match, so that two writers would overwrite each other; "
                "use a server with conditional puts"
            )
        if objects.get(key) != b"first" or [info.key for info in objects.list(key)] != [key]:
            raise StoreError(f"{objects.uri}: the server does not give back what was just written; use another one")
    finally:
        objects.delete([key])
