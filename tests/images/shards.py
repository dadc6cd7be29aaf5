"""Shards for tests, written as anybody's tar program would, whole or spoilt."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
"""One red pixel."""


def tar_bytes(members: Iterable[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def samples(keys: Iterable[str], image: bytes = PNG) -> list[tuple[str, bytes]]:
    """Members of samples whose labels count up from 0."""
    return [
        member
        for label, key in enumerate(keys)
        for member in ((f"{key}.png", image + key.encode()), (f"{key}.cls", str(label).encode()))
    ]


def write(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return str(path)
