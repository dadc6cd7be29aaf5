"""Identity is data: canonical JSON, the digests made from it, and the field-by-field comparison of two identities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SHORT = 16
"""Hex digits of a digest that appear in keys (64 bits: names, not proofs; records carry whole digests)."""


def canonical_json(value: Any) -> bytes:
    """Serialise to the one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN.

    Raises:
        ValueError: the value holds a NaN or an infinity.
        TypeError: the value holds something JSON has no form for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(data: bytes | memoryview) -> str:
    """SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_keys(keys: Iterable[str]) -> str:
    """SHA-256 over an ordered sequence of sample keys; equal digests mean rows that are aligned."""
    running = hashlib.sha256()
    for key in keys:
        running.update(key.encode() + b"\n")
    return running.hexdigest()


def fingerprint(identity: Mapping[str, Any]) -> str:
    """The short name of an identity: the first 16 hex digits of the digest of its canonical JSON."""
    return digest(canonical_json(identity))[:SHORT]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Fields in which two identities differ, as (dotted name, old value, new value), in order of name."""
    found: list[tuple[str, Any, Any]] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append((prefix + name, before, after))
    return found
