"""The connection of this process to an S3 server, and its errors as one line each.

Guarantees one boto3 client per process, server and set of credentials, with a pool of kept connections; bounded waits;
and that no message holds a secret. Credentials are looked for where every AWS tool looks: environment, files, role.
"""

from __future__ import annotations

import datetime
import os
import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.utils import parse_timestamp
from urllib3.exceptions import HTTPError

from overlap.errors import ObjectMissing, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

POOL = 32
"""Connections kept; more threads than this wait for each other."""

_PATIENT: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"mode": "adaptive", "total_max_attempts": 6},
}
_HASTY: dict[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 5,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION")
_CODES = {
    "no such bucket {at}; create it or correct the store's uri": {"NoSuchBucket"},
    "refused {at} ({code}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and what they are allowed": {
        *("AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId", "InvalidToken"),
        *("SignatureDoesNotMatch", "401", "403"),
    },
    "the credentials have expired {at} ({code}); renew them, or use a role that renews them, and run again: what is "
    "certified stays": {
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"),
    },
    "this machine's clock differs from the server's {at} ({code}); start NTP on both": {"RequestTimeTooSkewed"},
    "the store {at} is full ({code}); free some space and run again": {
        *("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"),
    },
    "the server {at} is overloaded ({code}); run again with fewer workers": {
        *("RequestLimitExceeded", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "503"),
    },
}
"""What is said of the codes that a person can mend."""

_lock = threading.Lock()
_clients: dict[tuple[Any, ...], S3Client] = {}
_reached: set[tuple[Any, ...]] = set()


def connect(bucket: str, prefix: str, endpoint_url: str | None) -> S3Client:
    """This process's client of a server.

    The first call for a bucket asks the server for one listing with little patience, so that an endpoint that is not
    there is named within seconds; later failures are retried for up to about half a minute (refused connections) or
    three minutes (a server that takes requests and never answers).

    Raises:
        StoreError: the server cannot be reached, has no such bucket, or refuses the credentials.
    """
    # With the pid, since a forked child must not share its parent's sockets.
    server = (os.getpid(), endpoint_url, *(os.environ.get(name) for name in _CREDENTIALS))
    with _lock:
        client = _clients.get(server)
        if client is None or (*server, bucket) not in _reached:
            try:
                session = _session()
                hasty = _client(session, endpoint_url, _HASTY)
                try:
                    hasty.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
                except ClientError as error:
                    if error_code(error) != "AccessDenied":  # known here, but not allowed to list: reading may be
                        raise
                hasty.close()
                client = client or _client(session, endpoint_url, _PATIENT)
            except (BotoCoreError, ClientError, ValueError) as error:
                raise store_error(error, f"s3://{bucket}", endpoint_url) from error
            _clients[server] = client
            _reached.add((*server, bucket))
        return client


def store_error(error: Exception, name: str, endpoint_url: str | None) -> StoreError:
    """One line for what boto3 raised: the object or bucket, the endpoint, the mend."""
    at = f"at {_endpoint(endpoint_url) or 'Amazon S3'}"
    code = error_code(error)
    if code in {"NoSuchKey", "404", "NotFound"}:
        return ObjectMissing(f"{name}: no such object")
    if isinstance(error, ClientError):
        message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
        text = f"{error.operation_name} failed {at} ({code}: {message}); run again"
        for known, codes in _CODES.items():
            if code in codes:
                text = known.format(at=at, code=code)
    elif isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound)):
        text = "no usable credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    elif isinstance(error, (exceptions.ConnectionError, HTTPClientError, HTTPError)):
        text = f"cannot reach the store {at} ({type(error).__name__}); start the server or correct endpoint_url"
    else:
        text = f"{' '.join(str(error).split())} {at}; check the store's settings"
    return StoreError(f"{name}: {text}")


def error_code(error: BaseException) -> str:
    """The S3 code of an error ("NoSuchKey", or the HTTP status where the answer had no body); "" of other errors."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _endpoint(endpoint_url: str | None) -> str | None:
    return endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _session() -> boto3.session.Session:
    """Credentials and settings as every AWS tool finds them; dates are read quickly.

    Of a page of a listing botocore's own way with dates takes four fifths of the time, of a small object a tenth.
    """
    found = botocore.session.get_session()
    found.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
    return boto3.session.Session(botocore_session=found)


def _moment(text: Any) -> datetime.datetime:
    """A date as S3 writes it in listings and in headers, or as botocore reads any other."""
    try:
        moment = parsedate_to_datetime(text) if text[3:5] == ", " else datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)
    return moment if moment.tzinfo is not None else parse_timestamp(text)


def _client(session: boto3.session.Session, endpoint_url: str | None, waits: dict[str, Any]) -> S3Client:
    settings: dict[str, Any] = {"max_pool_connections": POOL, "tcp_keepalive": True, **waits}
    if _endpoint(endpoint_url):
        # Few servers beside Amazon's answer to BUCKET.HOST; and few know its newest checksums, which the ledger's
        # digests make superfluous.
        settings["s3"] = {"addressing_style": "path"}
        if "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:
            settings["request_checksum_calculation"] = "when_required"
    client: S3Client = session.client("s3", endpoint_url=endpoint_url, config=Config(**settings))
    return client
