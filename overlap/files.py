"""Files that a user names by path, `s3://` or `http(s)://`: what tells one version from the next, and their bytes.

Guarantees: bytes are returned whole or not at all; a short read is an error that names the file. Versions are told
apart by size and ETag or modification time, as cheap as a listing; whether bytes are right is for digests to say.
"""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from overlap import web
from overlap.errors import DataError, ObjectMissing, StoreError
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import is_uri

TOGETHER = 8
"""Objects of one folder from which on it is listed."""
MOST_OTHERS = 100
"""Objects listed for each that is wanted, before the rest is asked for one by one: a thousand cost one request."""


@dataclass(frozen=True)
class Version:
    """One version of a named file."""

    uri: str
    size: int
    tag: str
    """ETag, or modification time in nanoseconds for a local file."""


def version(uri: str, endpoint_url: str | None = None) -> Version:
    """Identify the present version of a file without reading it.

    A server that tells neither ETag nor date cannot say whether a file changed: each look is then at a new version.

    Raises:
        DataError: there is no such file, or its web server does not give it.
        StoreError: the bucket cannot be reached or refuses.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        info = bucket.head(key)
        if info is None:
            raise DataError(f"{uri}: no such object; check bucket and key")
        return Version(uri, info.size, info.etag)
    if is_uri(uri):
        size, tag = web.look(uri)
        return Version(uri, size, tag or secrets.token_hex(8))
    with _named(uri):
        status = Path(uri).stat()
    return Version(uri, status.st_size, str(status.st_mtime_ns))


def listed(uris: Iterable[str], endpoint_url: str | None = None) -> dict[str, Version]:
    """Versions of objects that lie together in a bucket, by a listing of each folder instead of a request for each.

    What is not in the answer is to be asked for by `version`: whatever lies elsewhere, alone, among many others, is not
    there, or cannot be reached.
    """
    folders: dict[str, set[str]] = defaultdict(set)
    for uri in uris:
        if uri.startswith("s3://"):
            folders[uri.rpartition("/")[0] + "/"].add(uri)
    found: dict[str, Version] = {}
    for folder, wanted in folders.items():
        if len(wanted) < TOGETHER:
            continue
        bucket, prefix = _bucket(folder, endpoint_url)
        root = folder.removesuffix(prefix)
        with suppress(StoreError):
            for number, info in enumerate(bucket.list(prefix)):
                if (uri := root + info.key) in wanted:
                    found[uri] = Version(uri, info.size, info.etag)
                if number > MOST_OTHERS * len(wanted):
                    break
    return found


def read(uri: str, endpoint_url: str | None = None) -> bytes:
    """The whole bytes of a file.

    Raises:
        DataError: there is no such file, or fewer bytes came than were announced.
        StoreError: as for `version`.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        with _present(uri):
            return bucket.get(key)
    if is_uri(uri):
        return web.read(uri)
    with _named(uri):
        return Path(uri).read_bytes()


def copy_to(uri: str, path: Path, endpoint_url: str | None = None) -> None:
    """Copy a file of any size to a local path, through a bounded piece of memory.

    Raises:
        DataError, StoreError: as for `read`.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        with _present(uri):
            bucket.get_file(key, path)
    elif is_uri(uri):
        web.fetch(uri, path)
    else:
        with _named(uri, "check the path and the space left"):
            shutil.copyfile(uri, path)


def tars_in(folder: str, endpoint_url: str | None = None) -> list[str]:
    """The `.tar` files directly in a local folder, or anywhere under an `s3://` prefix, sorted by name."""
    if folder.startswith("s3://"):
        bucket, key = _bucket(folder.rstrip("/"), endpoint_url)
        name = folder.removeprefix("s3://").partition("/")[0]
        found = bucket.list(f"{key}/" if key else "")
        return [f"s3://{name}/{info.key}" for info in found if info.key.endswith(".tar")]
    return sorted(str(path) for path in Path(folder).glob("*.tar"))


def beneath(folder: str, endpoint_url: str | None = None) -> list[str]:
    """Names of the files in a local folder, or under an `s3://` prefix, and in its sub-folders, relative and sorted.

    Deeper files and what is hidden (a name that begins with a dot) are left out. Of a bucket this is one listing.

    Raises:
        DataError: there is no such folder, or it cannot be read.
        StoreError: the bucket cannot be reached or refuses.
    """
    if folder.startswith("s3://"):
        bucket, key = _bucket(folder.rstrip("/"), endpoint_url)
        prefix = f"{key}/" if key else ""
        names = [info.key.removeprefix(prefix) for info in bucket.list(prefix)]
        return [name for name in names if name.count("/") < 2 and not any(p[:1] in ("", ".") for p in name.split("/"))]
    found: list[str] = []
    with _named(folder):
        for entry in Path(folder).iterdir():
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                inner = (one for one in entry.iterdir() if not one.name.startswith(".") and one.is_file())
                found += [f"{entry.name}/{one.name}" for one in inner]
            else:
                found.append(entry.name)
    return sorted(found)


@contextmanager
def _named(path: str, mend: str = "check the path in the study") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; {mend}") from None


@contextmanager
def _present(uri: str) -> Iterator[None]:
    try:
        yield
    except ObjectMissing:
        raise DataError(f"{uri}: no such object; check bucket and key") from None


def _bucket(uri: str, endpoint_url: str | None) -> tuple[Objects, str]:
    name, _, key = uri.removeprefix("s3://").partition("/")
    return _open(name, endpoint_url), key


@lru_cache(maxsize=16)
def _open(bucket: str, endpoint_url: str | None) -> Objects:
    return open_objects(Location(f"s3://{bucket}", endpoint_url))
