"""Files that appear whole or not at all: written beside their place under a hidden name, then moved.

A killed writer leaves at most such a hidden file. With `to_disk` and `sync_folder` the result also survives power loss
on file systems that honour fsync.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from overlap.errors import StoreError

PREFIX, SUFFIX = ".overlap-", ".tmp"
"""Of the hidden names: dotted, so that no key can be one."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def temporary(path: Path) -> Iterator[BinaryIO]:
    """A new hidden file beside `path`, open for writing; gone at the end unless it was moved.

    Raises:
        OSError: as opening and writing do.
    """
    name = path.with_name(f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}{SUFFIX}")
    try:
        with name.open("xb") as file:
            yield file
    finally:
        name.unlink(missing_ok=True)


def to_disk(file: BinaryIO) -> None:
    """Wait until a file's bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably; nothing where it is there already."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def disk_error(error: OSError, path: Path) -> StoreError:
    """A file system's error as one line that names the file and the mend."""
    reason = (error.strerror or str(error)).lower()
    if error.errno in FULL:
        mend = "free some space and run again; what is finished is kept"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        mend = "give this user the right to read and write there"
    elif error.errno in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}:
        mend = "a file stands where a folder should, or the reverse; move it away"
    elif error.errno == errno.ENOENT:
        mend = "check the path"
    else:
        mend = "see to the disk and run again; what is finished is kept"
    return StoreError(f"{path}: {reason}; {mend}")
