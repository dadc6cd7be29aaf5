"""A store in a folder: for one machine, or for several that share a file system.

Guarantees what `objects.Objects` does, by writing beside and then moving (`os.replace`) or linking (`os.link`, whose
one winner the file system chooses), each after fsync. Not guaranteed: anything on a file system without atomic rename
and hard links; the latter are missed loudly.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from overlap.errors import ObjectMissing, StoreError
from overlap.store.atomic import PREFIX, SUFFIX, disk_error, make_folder, sync_folder, temporary, to_disk
from overlap.store.objects import ObjectInfo, check_key

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
COPY = 4 << 20
"""Bytes per read where a file is copied."""


class Folder:
    """Objects as files under `root`; the folder is made by the first put."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def __repr__(self) -> str:
        return f"Folder({str(self.root)!r})"

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self.root)

    def path(self, key: str) -> Path:
        """The file that holds an object, whether it is there or not."""
        return self.root / check_key(key)

    def get(self, key: str) -> bytes:
        """As `Objects.get`."""
        with self._reading(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """As `Objects.get_range`."""
        if start < 0 or length < 0:
            raise ValueError(f"no range: {length} bytes from {start}")
        with self._reading(key) as file:
            file.seek(start)
            return file.read(length)

    def put(self, key: str, data: bytes) -> None:
        """As `Objects.put`."""
        with self._writing(key) as (file, path):
            file.write(data)
            self._publish(file, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """As `Objects.put_if_absent`."""
        if self.head(key) is not None:
            return False
        with self._writing(key) as (file, path):
            file.write(data)
            to_disk(file)
            try:
                os.link(file.name, path)
            except FileExistsError:
                # Over NFS the link may have been made and its answer lost: then the file there is this one.
                with suppress(OSError):
                    return os.path.samestat(os.fstat(file.fileno()), path.stat())
                return False
            except OSError as error:
                if error.errno in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                    raise StoreError(
                        f"{self.root}: this file system has no hard links, by which racing writers are told apart; "
                        "keep the store on another one, or in S3"
                    ) from error
                raise
            sync_folder(path.parent)
            return True

    def put_file(self, key: str, path: Path) -> None:
        """As `Objects.put_file`."""
        try:
            source = path.open("rb")
        except OSError as error:
            raise disk_error(error, path) from error
        with source, self._writing(key) as (file, place):
            shutil.copyfileobj(source, file, COPY)
            self._publish(file, place)

    def get_file(self, key: str, path: Path) -> None:
        """As `Objects.get_file`."""
        with self._reading(key) as source:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary(path) as file:
                    shutil.copyfileobj(source, file, COPY)
                    file.flush()
                    os.replace(file.name, path)
            except OSError as error:
                raise disk_error(error, path) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """As `Objects.list`. Files with dotted names are none of its objects."""
        inside = prefix.rpartition("/")[0]
        if "/" in prefix and any(part == "" or part[0] == "." for part in inside.split("/")):
            return
        try:
            yield from self._walk(self.root / inside, prefix)
        except OSError as error:
            raise disk_error(error, self.root) from error

    def head(self, key: str) -> ObjectInfo | None:
        """As `Objects.head`."""
        path = self.path(key)
        try:
            status = path.stat()
        except ABSENT:
            return None
        except OSError as error:
            raise disk_error(error, path) from error
        return _info(key, status) if path.is_file() else None

    def delete(self, keys: Iterable[str]) -> None:
        """As `Objects.delete`. Emptied folders stay: removing them could race with a writer."""
        for key in keys:
            path = self.path(key)
            try:
                with suppress(*ABSENT):
                    path.unlink()
            except OSError as error:
                raise disk_error(error, path) from error

    def unfinished(self) -> Iterator[ObjectInfo]:
        """As `Objects.unfinished`."""
        for left in sorted(self.root.rglob(f"{PREFIX}*{SUFFIX}")):
            with suppress(FileNotFoundError):
                yield _info(left.relative_to(self.root).as_posix(), left.stat())

    def sweep(self, older_than: float) -> int:
        """As `Objects.sweep`."""
        limit, swept = time.time() - older_than, 0
        for left in self.unfinished():
            if left.modified <= limit:
                with suppress(FileNotFoundError):
                    (self.root / left.key).unlink()
                    swept += 1
        return swept

    def _publish(self, file: BinaryIO, path: Path) -> None:
        to_disk(file)
        os.replace(file.name, path)
        sync_folder(path.parent)

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        """Files below a folder in the order of their keys: a folder sorts as its name with the slash, as in S3."""
        try:
            with os.scandir(folder) as scan:
                entries = [(e.name + "/" if e.is_dir() else e.name, e) for e in scan if not e.name.startswith(".")]
        except ABSENT:
            return
        inside = "" if folder == self.root else folder.relative_to(self.root).as_posix() + "/"
        for name, entry in sorted(entries, key=lambda named: named[0]):
            key = inside + name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / entry.name, prefix)
            elif key.startswith(prefix):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                yield _info(key, status)

    @contextmanager
    def _reading(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        try:
            with path.open("rb") as file:
                yield file
        except ABSENT as error:
            raise ObjectMissing(f"{self.uri}/{key}: no such object") from error
        except OSError as error:
            raise disk_error(error, path) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[tuple[BinaryIO, Path]]:
        path = self.path(key)
        try:
            make_folder(path.parent)
            with temporary(path) as file:
                yield file, path
        except OSError as error:
            raise disk_error(error, path) from error


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    # With the inode, since two writes can fall into one tick of the clock.
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, etag, status.st_mtime)
