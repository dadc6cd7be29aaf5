"""Files that a user names by path, `s3://` or `http(s)://`: what tells one version from the next, and their bytes.

Guarantees: bytes are returned whole or not at all; a short read is an error that names the file. Versions are told
apart by size and ETag or modification time, as cheap as a listing; whether bytes are right is for digests to say.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from overlap.errors import DataError, ObjectMissing
from overlap.store.objects import Location, Objects, open_objects
from overlap.study import is_uri

if TYPE_CHECKING:
    import requests

TIMEOUT = (10, 60)
"""Seconds to connect, and between two packets, before an HTTP server counts as gone."""


@dataclass(frozen=True)
class Version:
    """One version of a named file."""

    uri: str
    size: int
    tag: str
    """ETag, or modification time in nanoseconds for a local file."""


def version(uri: str, endpoint_url: str | None = None) -> Version:
    """Identify the present version of a file without reading it.

    Raises:
        DataError: there is no such file; StoreError: its server cannot be reached.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        info = bucket.head(key)
        if info is None:
            raise DataError(f"{uri}: no such object; check bucket and key")
        return Version(uri, info.size, info.etag)
    if is_uri(uri):
        with _http("HEAD", uri) as answer:
            length = int(answer.headers.get("Content-Length", -1))
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        return Version(uri, length, tag)
    try:
        status = Path(uri).stat()
    except OSError as error:
        raise DataError(f"{uri}: {error.strerror}; check the path in the study") from None
    return Version(uri, status.st_size, str(status.st_mtime_ns))


def read(uri: str, endpoint_url: str | None = None) -> bytes:
    """The whole bytes of a file.

    Raises:
        DataError: there is no such file, or fewer bytes came than were announced.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        try:
            return bucket.get(key)
        except ObjectMissing:
            raise DataError(f"{uri}: no such object; check bucket and key") from None
    if is_uri(uri):
        with _http("GET", uri) as answer:
            data = answer.content
            announced = answer.headers.get("Content-Length")
        if announced is not None and "Content-Encoding" not in answer.headers and len(data) != int(announced):
            raise DataError(f"{uri}: {len(data)} of {announced} bytes came; the server cut the transfer, run again")
        return data
    try:
        return Path(uri).read_bytes()
    except OSError as error:
        raise DataError(f"{uri}: {error.strerror}; check the path in the study") from None


def copy_to(uri: str, path: Path, endpoint_url: str | None = None) -> None:
    """Copy a file to a local path; large ones are streamed.

    Raises:
        DataError: as for `read`.
    """
    if uri.startswith("s3://"):
        bucket, key = _bucket(uri, endpoint_url)
        try:
            bucket.get_file(key, path)
        except ObjectMissing:
            raise DataError(f"{uri}: no such object; check bucket and key") from None
    elif is_uri(uri):
        path.write_bytes(read(uri))
    else:
        try:
            shutil.copyfile(uri, path)
        except OSError as error:
            raise DataError(f"{uri}: {error.strerror}; check the path and the space left") from None


def tars_in(folder: str, endpoint_url: str | None = None) -> list[str]:
    """The `.tar` files directly in a local folder or under an `s3://` prefix, sorted by name."""
    if folder.startswith("s3://"):
        bucket, prefix = _bucket(folder, endpoint_url)
        base = folder.removesuffix(prefix)
        return [base + info.key for info in bucket.list(prefix.rstrip("/") + "/") if info.key.endswith(".tar")]
    return sorted(str(path) for path in Path(folder).glob("*.tar"))


def _bucket(uri: str, endpoint_url: str | None) -> tuple[Objects, str]:
    parts = urlsplit(uri)
    return _open(parts.netloc, endpoint_url), parts.path.lstrip("/")


@lru_cache(maxsize=16)
def _open(bucket: str, endpoint_url: str | None) -> Objects:
    return open_objects(Location(f"s3://{bucket}", endpoint_url))


def _http(method: str, uri: str) -> requests.Response:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    retry = Retry(
        total=4, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), respect_retry_after_header=True
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    try:
        answer = session.request(method, uri, timeout=TIMEOUT, allow_redirects=True)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DataError(f"{uri}: {error}; check the address") from None
    return answer
