"""Counts what a folder store is asked for as a bucket bills it: each call a request, each 1,000 keys listed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from overlap.store.folder import Folder
from overlap.store.objects import ObjectInfo

PAGE = 1000
"""Keys in one answer of S3 to a listing."""
CALLS = ("get", "get_range", "put", "put_if_absent", "put_file", "get_file", "head")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Requests to every folder store of this process, by kind."""
    requests: Counter[str] = Counter()

    def counting(name: str) -> Any:
        real = getattr(Folder, name)

        def call(self: Folder, *arguments: Any) -> Any:
            requests[name] += 1  # one bytecode after another under the interpreter's lock: enough for counting here
            return real(self, *arguments)

        return call

    listed = Folder.list

    def listing(self: Folder, prefix: str) -> Iterator[ObjectInfo]:
        requests["list"] += 1
        for number, info in enumerate(listed(self, prefix)):
            if number and number % PAGE == 0:
                requests["list"] += 1
            yield info

    with patch.multiple(Folder, list=listing, **{name: counting(name) for name in CALLS}):
        yield requests
