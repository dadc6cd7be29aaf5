"""Files on web servers: a look at their headers, and their bytes, whole or not at all.

Guarantees: transfers that break or stall are tried again a few times; what a server announced and did not send is an
error; no compression is asked for, so that lengths mean what they say. Every failure is one line with the address.
A file that is fetched goes on where an earlier transfer broke, in this process or one before, if the server still has
the same version (its ETag, or else its date) and can send a part; nothing is ever put together from two versions.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from overlap.errors import DataError, gist

if TYPE_CHECKING:
    import requests

TIMEOUT = (10, 60)
"""Seconds to connect, and between two packets, before a server counts as gone."""
ATTEMPTS = 3
"""Of a transfer that breaks."""
PIECE = 1 << 16
"""Bytes held in memory while a file is fetched; so many may be lost where a transfer breaks."""
NO_HEAD = (403, 405, 501)
"""What servers answer that do not know HEAD, or (signed addresses) refuse it."""

Result = TypeVar("Result")


class _CutError(Exception):
    """Fewer bytes came than were announced."""


def look(uri: str) -> tuple[int, str]:
    """Size in bytes (-1 where the server does not tell) and ETag or date (empty where it does not tell) of a file.

    Raises:
        DataError: the server cannot be reached, or does not give the file.
    """
    with _told(uri):
        answer = _ask("HEAD", uri)
        if answer.status_code in NO_HEAD:
            answer.close()
            answer = _ask("GET", uri)
        with answer:
            answer.raise_for_status()
            headers = answer.headers
            return int(headers.get("Content-Length", -1)), headers.get("ETag") or headers.get("Last-Modified") or ""


def read(uri: str) -> bytes:
    """The whole file, in memory.

    Raises:
        DataError: as for `look`, or the transfer was cut each time it was tried.
    """
    return _again(uri, lambda: b"".join(_pieces(uri)))


def fetch(uri: str, path: Path) -> None:
    """The whole file, to a local path.

    What came of it lies beside the path, `NAME.part` with `NAME.part.json` on its version, until all of it has come;
    only one process may fetch to a path at a time.

    Raises:
        DataError: as for `read`, or it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    note = path.with_name(f"{path.name}.part.json")
    _again(uri, lambda: _go_on(uri, part, note), lambda: _size(part))
    with _told(uri):
        part.replace(path)
        note.unlink(missing_ok=True)


def _go_on(uri: str, part: Path, note: Path) -> None:
    """Fetch what `part` lacks, or all of it where that cannot be told or the version is another."""
    validator = ""
    if (came := _size(part)) > 0:
        with suppress(OSError, ValueError, KeyError):
            kept = json.loads(note.read_text(encoding="utf-8"))
            validator = kept["validator"] if kept["uri"] == uri else ""
    wanted = {"Range": f"bytes={came}-", "If-Range": validator} if validator else {}
    with _ask("GET", uri, wanted) as answer:
        if answer.status_code == 416 and wanted:  # there is no more to send, or it has shrunk: not worth telling apart
            note.unlink(missing_ok=True)
            raise _CutError(f"{came} bytes came, and the server has no more of this version")
        answer.raise_for_status()
        start, total = 0, _announced(answer)
        if answer.status_code == 206:
            start, total = _range(answer)
        if start not in (0, came):
            note.unlink(missing_ok=True)
            raise _CutError(f"bytes from {came} on were asked for, those from {start} on came")
        _keep(note, uri, _validator(answer))
        with part.open("ab" if start else "wb") as file:
            for piece in _read(answer):
                file.write(piece)
        if total is not None and _size(part) != total:
            if _size(part) > total:
                note.unlink(missing_ok=True)
            raise _CutError(f"{_size(part)} of {total} bytes came")


def _keep(note: Path, uri: str, validator: str) -> None:
    if validator:
        note.write_text(json.dumps({"uri": uri, "validator": validator}), encoding="utf-8")
    else:
        note.unlink(missing_ok=True)


def _validator(answer: requests.Response) -> str:
    """What names this version of a file byte for byte, empty where nothing does."""
    etag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag


def _range(answer: requests.Response) -> tuple[int, int | None]:
    """First byte of a part, and the size of the whole where the server tells."""
    stated = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if stated is None:
        raise _CutError("the server sent a part without saying which")
    return int(stated[1]), None if stated[2] == "*" else int(stated[2])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _again(uri: str, transfer: Callable[[], Result], reached: Callable[[], int] = lambda: 0) -> Result:
    """Try a transfer until it has failed so often without having got any further."""
    with _told(uri):
        furthest, attempt = reached(), 0
        while True:
            try:
                return transfer()
            except _CutError:
                attempt += 1
                if reached() > furthest:
                    furthest, attempt = reached(), min(attempt, 1)
                if attempt >= ATTEMPTS:
                    raise
                time.sleep(0.2 * 2 ** (attempt - 1))


def _pieces(uri: str) -> Iterator[bytes]:
    with _ask("GET", uri) as answer:
        answer.raise_for_status()
        announced, came = _announced(answer), 0
        for piece in _read(answer):
            came += len(piece)
            yield piece
        if announced is not None and came != announced:
            raise _CutError(f"{came} of {announced} bytes came")


def _announced(answer: requests.Response) -> int | None:
    """Bytes that a whole file has, where the server tells."""
    stated = None if "Content-Encoding" in answer.headers else answer.headers.get("Content-Length")
    return None if stated is None else int(stated)


def _read(answer: requests.Response) -> Iterator[bytes]:
    from requests import exceptions

    came = 0
    try:
        for piece in answer.iter_content(PIECE):
            came += len(piece)
            yield piece
    except (exceptions.ChunkedEncodingError, exceptions.ConnectionError) as error:
        raise _CutError(f"{came} of {answer.headers.get('Content-Length', 'unknown')} bytes came") from error


def _ask(method: str, uri: str, headers: Mapping[str, str] | None = None) -> requests.Response:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    busy = (429, 500, 502, 503, 504)
    retry = Retry(total=4, connect=2, backoff_factor=0.3, status_forcelist=busy, respect_retry_after_header=True)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    asked = {"Accept-Encoding": "identity", **(headers or {})}
    return session.request(method, uri, timeout=TIMEOUT, allow_redirects=True, stream=True, headers=asked)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    from requests import HTTPError, RequestException

    try:
        yield
    except HTTPError as error:
        said = "" if error.response is None else f" {error.response.status_code} {error.response.reason}"
        raise DataError(f"{uri}: the server says{said}; check the address") from None
    except _CutError as error:
        raise DataError(f"{uri}: {error}; the server cut the transfer, run again") from None
    except RequestException as error:
        raise DataError(f"{uri}: {gist(error)}; check the address and that its server runs") from None
    except OSError as error:  # requests' own errors are OSErrors too: this one is of the local disk
        raise DataError(f"{uri}: {error.strerror or error}; check the space left") from None
