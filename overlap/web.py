"""Files on web servers: a look at their headers, and their bytes, whole or not at all.

Guarantees: transfers that break or stall are tried again a few times; what a server announced and did not send is an
error; no compression is asked for, so that lengths mean what they say. Every failure is one line with the address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from overlap.errors import DataError, gist

if TYPE_CHECKING:
    import requests

TIMEOUT = (10, 60)
"""Seconds to connect, and between two packets, before a server counts as gone."""
ATTEMPTS = 3
"""Of a transfer that breaks."""
PIECE = 1 << 20
"""Bytes held in memory while a file is fetched."""
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

    Raises:
        DataError: as for `read`, or it cannot be written.
    """

    def write() -> None:
        with path.open("wb") as file:
            for piece in _pieces(uri):
                file.write(piece)

    _again(uri, write)


def _again(uri: str, transfer: Callable[[], Result]) -> Result:
    with _told(uri):
        for attempt in range(ATTEMPTS):
            try:
                return transfer()
            except _CutError:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def _pieces(uri: str) -> Iterator[bytes]:
    from requests import exceptions

    with _ask("GET", uri) as answer:
        answer.raise_for_status()
        announced = None if "Content-Encoding" in answer.headers else answer.headers.get("Content-Length")
        came = 0
        try:
            for piece in answer.iter_content(PIECE):
                came += len(piece)
                yield piece
        except (exceptions.ChunkedEncodingError, exceptions.ConnectionError) as error:
            raise _CutError(f"{came} of {announced or 'unknown'} bytes came") from error
        if announced is not None and came != int(announced):
            raise _CutError(f"{came} of {announced} bytes came")


def _ask(method: str, uri: str) -> requests.Response:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    busy = (429, 500, 502, 503, 504)
    retry = Retry(total=4, connect=2, backoff_factor=0.3, status_forcelist=busy, respect_retry_after_header=True)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    headers = {"Accept-Encoding": "identity"}
    return session.request(method, uri, timeout=TIMEOUT, allow_redirects=True, stream=True, headers=headers)


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
