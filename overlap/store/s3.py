"""A store in an S3 bucket, of Amazon's or of any server that honours `If-None-Match` (`objects.check` finds out).

Guarantees what `objects.Objects` does. A conditional put whose answer was lost is told from a lost race: every such
put carries a mark of its own in the object's metadata, and whoever is refused looks whose mark is there. Not
guaranteed: protection against a server that acknowledges what it has not kept.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from overlap.errors import ObjectMissing, StoreError
from overlap.store.atomic import disk_error, temporary
from overlap.store.objects import ObjectInfo, check_key
from overlap.store.s3_client import connect, error_code, store_error
from overlap.store.s3_multipart import MARK, THREADS, Source, mark_of, part_size, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LARGE = 32 << 20
"""Bytes from which an object goes in parts, and comes in ranges."""

ATTEMPTS = 5
"""Of a conditional put that met another in flight (409), and of a read whose stream broke; the rest is botocore's."""


class Bucket:
    """Objects in s3://bucket/prefix; a pickled one connects anew where it is unpickled."""

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None, *, large: int = LARGE) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.endpoint_url = endpoint_url
        self.large = large

    def __repr__(self) -> str:
        return f"Bucket({self.uri!r}, endpoint_url={self.endpoint_url!r})"

    @property
    def uri(self) -> str:
        """s3://BUCKET[/PREFIX]."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        """As `Objects.get`."""
        return self._read(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """As `Objects.get_range`."""
        if start < 0 or length < 0:
            raise ValueError(f"no range: {length} bytes from {start}")
        return self._read(key, Range=f"bytes={start}-{start + max(length, 1) - 1}")[:length]

    def put(self, key: str, data: bytes) -> None:
        """As `Objects.put`."""
        check_key(key)
        with self._named(key) as (client, at):
            if len(data) >= self.large:
                upload(client, at, Source.of_bytes(data), uuid.uuid4().hex)
            else:
                client.put_object(**at, Body=data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """As `Objects.put_if_absent`."""
        check_key(key)
        mark = uuid.uuid4().hex
        with self._named(key) as (client, at):
            for attempt in range(ATTEMPTS):
                try:
                    # In one piece whatever its size: not every server completes conditional uploads atomically.
                    client.put_object(**at, Body=data, IfNoneMatch="*", Metadata={MARK: mark})
                    return True
                except ClientError as error:
                    if error_code(error) in {"PreconditionFailed", "412"}:
                        # Refused, perhaps by our own first attempt, whose answer never came.
                        return mark_of(client, at) == mark
                    if error_code(error) not in {"ConditionalRequestConflict", "409"} or attempt == ATTEMPTS - 1:
                        raise
                    time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        raise AssertionError("unreachable")

    def put_file(self, key: str, path: Path) -> None:
        """As `Objects.put_file`."""
        check_key(key)
        try:
            with path.open("rb") as file, self._named(key) as (client, at):
                source = Source.of_file(file, path)
                if source.size >= self.large:
                    upload(client, at, source, uuid.uuid4().hex)
                else:
                    client.put_object(**at, Body=source.read(0, source.size))
        except OSError as error:
            raise disk_error(error, path) from error

    def get_file(self, key: str, path: Path) -> None:
        """As `Objects.get_file`. One that is replaced meanwhile is refused, never mixed."""
        info = self.head(key)
        if info is None:
            raise ObjectMissing(f"{self.uri}/{key}: no such object")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary(path) as file:
                if info.size < self.large:
                    file.write(self._read(key))
                else:
                    self._fetch(info, file.fileno())
                file.flush()
                os.replace(file.name, path)
        except OSError as error:
            raise disk_error(error, path) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """As `Objects.list`: pages of 1,000, sorted here, since not every server's order is that of the keys."""
        start = len(self.prefix) + 1 if self.prefix else 0
        found: dict[str, ObjectInfo] = {}
        with self._named(prefix) as (client, _):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._name(prefix))
            for page in pages:
                for entry in page.get("Contents", ()):
                    key = entry["Key"][start:]
                    # Not folders that a console made; and SeaweedFS lists more than it was asked for "a//".
                    if key.startswith(prefix) and not key.endswith("/"):
                        etag, modified = entry["ETag"].strip('"'), entry["LastModified"].timestamp()
                        found[key] = ObjectInfo(key, entry["Size"], etag, modified)
        yield from (found[key] for key in sorted(found))

    def head(self, key: str) -> ObjectInfo | None:
        """As `Objects.head`."""
        with self._named(key) as (client, at):
            try:
                answer = client.head_object(**at)
            except ClientError as error:
                if error_code(error) in {"404", "NoSuchKey"}:
                    return None
                if error_code(error) == "403":  # which has no body; a listing is refused with the reason
                    client.list_objects_v2(Bucket=self.bucket, Prefix=at["Key"], MaxKeys=1)
                raise
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"].timestamp())

    def delete(self, keys: Iterable[str]) -> None:
        """As `Objects.delete`, by the thousand."""
        names = [self._name(check_key(key)) for key in keys]
        for start in range(0, len(names), 1000):
            with self._named("") as (client, _):
                batch = [{"Key": name} for name in names[start : start + 1000]]
                answer = client.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})  # type: ignore[typeddict-item]
            for error in answer.get("Errors", ()):
                if error.get("Code") not in {"NoSuchKey", "404"}:
                    refusal = ClientError({"Error": dict(error)}, "DeleteObjects")  # type: ignore[typeddict-item]
                    raise store_error(refusal, f"s3://{self.bucket}/{error.get('Key')}", self.endpoint_url)

    def unfinished(self) -> Iterator[ObjectInfo]:
        """As `Objects.unfinished`: multipart uploads that were neither completed nor aborted; the etag is their id."""
        start = len(self._name(""))
        with self._named("") as (client, _):
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=self._name("") if self.prefix else ""
            )
            left = [upload for page in pages for upload in page.get("Uploads", ())]
            for upload in sorted(left, key=lambda each: (each["Key"], each["UploadId"])):
                parts = client.get_paginator("list_parts").paginate(
                    Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
                size = sum(part["Size"] for page in parts for part in page.get("Parts", ()))
                yield ObjectInfo(upload["Key"][start:], size, upload["UploadId"], upload["Initiated"].timestamp())

    def sweep(self, older_than: float) -> int:
        """As `Objects.sweep`."""
        limit, swept = time.time() - older_than, 0
        for left in list(self.unfinished()):
            if left.modified <= limit:
                with self._named(left.key) as (client, at):
                    client.abort_multipart_upload(**at, UploadId=left.etag)
                swept += 1
        return swept

    def _read(self, key: str, **which: Any) -> bytes:
        """A whole object or one Range of it; anew where the stream broke, which botocore does not repeat."""
        for attempt in range(ATTEMPTS):
            with self._named(key) as (client, at):
                try:
                    answer = client.get_object(**at, **which)
                except ClientError as error:
                    if error_code(error) in {"InvalidRange", "416"}:
                        return b""
                    raise
                try:
                    return answer["Body"].read()
                except (BotoCoreError, HTTPError, OSError):
                    if attempt == ATTEMPTS - 1:
                        raise
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        raise AssertionError("unreachable")

    def _fetch(self, info: ObjectInfo, descriptor: int) -> None:
        """Ranges of one version of an object, side by side, each into its place in a file."""
        step = part_size(info.size)

        def fetch(start: int) -> None:
            length = min(step, info.size - start)
            data = self._read(info.key, Range=f"bytes={start}-{start + length - 1}", IfMatch=f'"{info.etag}"')
            if len(data) != length:
                raise StoreError(f"{self.uri}/{info.key}: gave {len(data)} bytes for {length}; run again")
            while data:
                written = os.pwrite(descriptor, data, start)
                data, start = data[written:], start + written

        with ThreadPoolExecutor(THREADS, thread_name_prefix="s3-range") as pool:
            for _ in pool.map(fetch, range(0, info.size, step)):
                pass

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _named(self, key: str) -> Iterator[tuple[S3Client, dict[str, Any]]]:
        """This process's client and where the object is; errors come out as StoreErrors that name it."""
        client = connect(self.bucket, self._name(""), self.endpoint_url)
        at = {"Bucket": self.bucket, "Key": self._name(key)}
        try:
            yield client, at
        except (BotoCoreError, ClientError, HTTPError) as error:
            raise store_error(error, f"{self.uri}/{key}".rstrip("/"), self.endpoint_url) from error
