"""Bytes that lie within an open file: images of an archive or a spool, each read only when it is wanted.

Guarantees: reading one never moves the file's position, so that threads can share the file; a file that ends too early
is an error that names the image. Whoever opened the file closes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO

from overlap.errors import DataError


@dataclass(frozen=True)
class Slice:
    """`size` bytes of an open file, from `offset`."""

    file: IO[bytes]
    offset: int
    size: int
    name: str
    """What an error calls it: the file and the member or row."""

    def read(self) -> bytes:
        """The bytes.

        Raises:
            DataError: they cannot be read, or the file ends before them.
        """
        parts, wanted = [], self.size
        while wanted:
            try:
                part = os.pread(self.file.fileno(), wanted, self.offset + self.size - wanted)
            except OSError as error:
                raise DataError(f"{self}: cannot be read ({error.strerror}); copy its file again") from None
            if not part:
                raise DataError(f"{self}: its file ends before it; copy the file again")
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def __str__(self) -> str:
        return self.name
