"""Large objects into S3 in parts, several side by side, from bytes or a file.

Guarantees that the object appears whole or not at all, that a failed upload is aborted, and that a completion whose
answer was lost counts as done. A killed process leaves an invisible upload for `Objects.sweep`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from overlap.errors import StoreError
from overlap.store.s3_client import error_code

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART = 16 << 20
"""Bytes of a part, where 10,000 of them (S3's limit) are enough."""

THREADS = 4
"""Parts in flight; times PART it bounds the memory."""

MARK = "overlap-put"
"""Metadata under which a put leaves its own mark, by which it can be known again."""


@dataclass(frozen=True)
class Source:
    """Bytes to be sent: how many, and how to read some of them (start, length), from several threads."""

    size: int
    read: Callable[[int, int], bytes]

    @classmethod
    def of_bytes(cls, data: bytes) -> Source:
        """From memory."""
        return cls(len(data), lambda start, length: bytes(memoryview(data)[start : start + length]))

    @classmethod
    def of_file(cls, file: BinaryIO, path: Path) -> Source:
        """From an open file; a file that shrinks meanwhile is a StoreError."""

        def read(start: int, length: int) -> bytes:
            data = os.pread(file.fileno(), length, start)
            if len(data) != length:
                raise StoreError(f"{path}: became shorter while it was sent; run again when nobody writes to it")
            return data

        return cls(os.fstat(file.fileno()).st_size, read)


def part_size(size: int) -> int:
    """Bytes per part of an object of this size: PART, or more whole MiB where 10,000 parts would not do."""
    mebibytes = -(-size // (10_000 << 20))
    return max(PART, mebibytes << 20)


def upload(client: S3Client, at: dict[str, Any], source: Source, mark: str) -> None:
    """Send a source to the bucket and key of `at`.

    Raises:
        ClientError: what the server says.
        BotoCoreError: what the connection says.
    """
    identity = client.create_multipart_upload(**at, Metadata={MARK: mark})["UploadId"]
    step = part_size(source.size)

    def send(start: int) -> CompletedPartTypeDef:
        number = start // step + 1
        data = source.read(start, min(step, source.size - start))
        answer = client.upload_part(**at, UploadId=identity, PartNumber=number, Body=data)
        return {"ETag": answer["ETag"], "PartNumber": number}

    try:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="s3-part") as pool:
            parts = list(pool.map(send, range(0, source.size, step)))
        client.complete_multipart_upload(**at, UploadId=identity, MultipartUpload={"Parts": parts})
    except BaseException as error:
        # The server forgets a completed upload: a repeated completion finds none, and the object is there.
        if error_code(error) == "NoSuchUpload" and mark_of(client, at) == mark:
            return
        with suppress(BotoCoreError, ClientError):
            client.abort_multipart_upload(**at, UploadId=identity)
        raise


def mark_of(client: S3Client, at: dict[str, Any]) -> str | None:
    """The mark of the put that wrote the object there; None without an object or a mark."""
    try:
        return client.head_object(**at)["Metadata"].get(MARK)
    except ClientError as error:
        if error_code(error) in {"404", "NoSuchKey"}:
            return None
        raise
