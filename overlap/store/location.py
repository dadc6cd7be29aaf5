"""Where a store is, and what opens it: a folder, or a bucket of an S3 server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from overlap.errors import StudyError
from overlap.store.objects import Objects


@dataclass(frozen=True)
class Location:
    """Where a store is: plain data that a study file names and a worker opens.

    `uri` is a folder (made absolute here, so that it means the same in every process) or s3://BUCKET[/PREFIX];
    `endpoint_url` is the S3 server, None for Amazon's or the one that AWS_ENDPOINT_URL names.

    Raises:
        StudyError: another scheme, a bucket that cannot be one, or an endpoint that carries credentials.
    """

    uri: str
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+)://", self.uri)
        if scheme is None or scheme[1] == "file":
            path = self.uri if scheme is None else urlsplit(self.uri).path
            object.__setattr__(self, "uri", str(Path(path).expanduser().absolute()))
            return
        if scheme[1] != "s3":
            raise StudyError(f"store {self.uri}: {scheme[1]}:// is unknown here; use a folder or s3://BUCKET/PREFIX")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", self.bucket):
            raise StudyError(f"store {self.uri}: {self.bucket!r} is no bucket name; use s3://BUCKET/PREFIX")
        if self.endpoint_url is not None:
            parts = urlsplit(self.endpoint_url)
            if "@" in parts.netloc:
                raise StudyError(
                    f"endpoint_url of {self.uri} carries credentials; "
                    "put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and take them out of the study"
                )
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise StudyError(f"endpoint_url {self.endpoint_url!r} of {self.uri}: use http(s)://HOST[:PORT]")

    @property
    def is_bucket(self) -> bool:
        """Whether this is S3; a folder exists on one machine only."""
        return self.uri.startswith("s3://")

    @property
    def bucket(self) -> str:
        """The bucket's name; of S3 only."""
        return self.uri.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What all keys in the bucket start with, without slashes at its ends; of S3 only."""
        return self.uri.removeprefix("s3://").partition("/")[2].strip("/")


def open_objects(location: Location) -> Objects:
    """The store at a location. Nothing is read or written yet: a wrong endpoint shows at first use, or in `check`."""
    if location.is_bucket:
        from overlap.store.s3 import Bucket

        return Bucket(location.bucket, location.prefix, location.endpoint_url)
    from overlap.store.folder import Folder

    return Folder(Path(location.uri))
