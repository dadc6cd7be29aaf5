"""Reaching MLflow: how its client is made, how long it may hesitate, and the one line that is said when it fails.

The process-wide tracking URI is never touched. The environment variables that MLflow alone reads are set where the user
has not set them: no telemetry, no URLs on stdout, and retries short enough that an outage costs seconds, not minutes.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from overlap.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

NO_TRACKING = "none"
"""The URI of a study that wants no MLflow at all."""
PROBE_SECONDS = 4.0
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def connect(uri: str) -> MlflowClient:
    """A client for this tracking URI, after the server behind it has answered.

    Raises:
        TrackingError: nobody answers within a few seconds, or the URI is of no use.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with told(uri):
        _probe(uri)
        if folder := _database_folder(uri):
            folder.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        for chatty in ("alembic", "mlflow.store.db.utils"):  # a new database would tell of its forty migrations
            logging.getLogger(chatty).setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def told(uri: str) -> Iterator[None]:
    """Turn whatever MLflow and what lies under it raise into one line.

    Raises:
        TrackingError: in place of an error of MLflow, HTTP, SQL or the file system.
    """
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        if not _expected(error):
            raise
        first = next(iter(str(error).strip().splitlines()), type(error).__name__).replace(uri, shown(uri))
        raise TrackingError(f"MLflow at {shown(uri)}: {first}; mend it and run `overlap sync`") from error


def _expected(error: Exception) -> bool:
    """Whether an error is the server's, the database's or the network's, rather than ours.

    By module, since importing MLflow's exceptions would cost seconds when there is no server to speak to.
    """
    if isinstance(error, OSError):
        return True
    modules = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(modules & {"mlflow", "sqlalchemy", "requests", "urllib3"})


def _probe(uri: str) -> None:
    """Any HTTP answer at all counts as alive: a proxy in front may well refuse /health."""
    if urlsplit(uri).scheme not in {"http", "https"}:
        return
    address = f"{uri.rstrip('/')}/health"
    parts = urlsplit(address)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        with urlopen(Request(bare), timeout=PROBE_SECONDS):
            return
    except HTTPError:
        return
    except (URLError, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(
            f"MLflow at {shown(uri)} does not answer ({reason}); "
            "start it or mend `uri` under [tracking], then run `overlap sync`"
        ) from error


def shown(uri: str) -> str:
    """The URI without a user's name or password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def database_path(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other URI and for a database in memory."""
    if not uri.startswith("sqlite:///"):
        return None
    path = unquote(uri.removeprefix("sqlite:///").partition("?")[0])
    return Path(path).absolute() if path and path != ":memory:" else None


def _database_folder(uri: str) -> Path | None:
    path = database_path(uri)
    return path.parent if path else None


def artifacts_beside(uri: str) -> str | None:
    """Where artifacts of an SQLite store go: beside its file, not in whatever folder the process was started from.

    None for a server or another database: they decide themselves.
    """
    folder = _database_folder(uri)
    return (folder / "mlartifacts").as_uri() if folder else None


def how_to_open(uri: str) -> str:
    """What a person types (or visits) to browse this store."""
    if urlsplit(uri).scheme in {"http", "https"}:
        return shown(uri)
    path = database_path(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(f'sqlite:///{path}' if path else shown(uri))}"
