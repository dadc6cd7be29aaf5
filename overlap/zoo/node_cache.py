"""Weights on a node, for all of its processes, under a size limit.

Guarantees: a file is whole and has the digest it is called by; many processes that ask for one at once fetch it once;
a file that somebody uses is never removed. Least recently used files go first. The limit is kept before a file is
fetched; it is passed only where what is in use, or one file alone, is larger than it. Locks are the kernel's (flock):
they end with their process, so that a killed one leaves at most an unfinished file, which goes like any other.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from overlap.errors import DamagedObject, StoreError, StudyError

CACHE_VARIABLE = "OVERLAP_CACHE"
LIMIT_VARIABLE = "OVERLAP_CACHE_GIB"
GIB = 1 << 30
LIMIT = 200 * GIB
"""Bytes, where the variable does not say; less where the disk is small."""
SHARE = 0.8
"""Of the disk's free space, and what the cache holds already, that the cache takes where the variable does not say."""
NAME = re.compile(r"[0-9a-f]{64}")
"""Everything in the cache has the digest in its name that it is, or will be, called by."""
RESERVED = ".coming"


@dataclass(frozen=True)
class NodeCache:
    """A folder of files called by digest."""

    folder: Path
    limit: int | None = None
    """Bytes; None for the default, which depends on the disk."""

    @classmethod
    def here(cls) -> NodeCache:
        """That of this node and user: one that all users share would belong to whoever came first.

        Raises:
            StoreError: its folder cannot be made; StudyError: the limit is not a number.
        """
        default = Path(tempfile.gettempdir()) / f"overlap-cache-{os.getuid()}"
        folder = Path(os.environ.get(CACHE_VARIABLE) or default)
        stated = os.environ.get(LIMIT_VARIABLE)
        try:
            limit = None if not stated else int(float(stated) * GIB)
        except (ValueError, OverflowError):
            raise StudyError(f"{LIMIT_VARIABLE} = '{stated}' is no number of GiB; mend or unset it") from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cache {folder}: {error.strerror}; set {CACHE_VARIABLE} to a folder with room") from None
        return cls(folder, limit)

    @contextmanager
    def using(
        self, digest: str, size: int, bring: Callable[[Path], None], verify: Callable[[Path], None]
    ) -> Iterator[Path]:
        """The file of this digest, which stays while the block runs.

        Args:
            digest: SHA-256 in hex, the name of the file.
            size: bytes to make room for.
            bring: writes the file to the path it is given.
            verify: raises DamagedObject where a file is not what it should be.
        """
        path = self.folder / digest
        while True:
            with self._lock(digest, fcntl.LOCK_SH):
                if self._sound(path, verify):
                    with suppress(OSError):
                        os.utime(path)
                    yield path
                    return
            with self._lock(digest, fcntl.LOCK_EX):
                if not self._sound(path, verify):
                    self._bring(path, size, bring, verify)
            # Another may remove it before the shared lock is had again; then it is brought again.

    @contextmanager
    def making(self, digest: str, size: int = 0) -> Iterator[Path]:
        """A path of this name for this process alone, to write to; what is left there stays until room is needed."""
        with self._lock(digest, fcntl.LOCK_EX):
            self.make_room(size, digest)
            try:
                yield self.folder / digest
            finally:
                (self.folder / f"{digest}{RESERVED}").unlink(missing_ok=True)

    def make_room(self, size: int, wanted: str) -> None:
        """Remove files that nobody uses, least recently used first, until so many bytes fit, and reserve them.

        Args:
            size: bytes that will come.
            wanted: digest they are of, whose lock the caller holds.
        """
        with self._lock("room", fcntl.LOCK_EX):
            groups: dict[str, list[os.stat_result]] = defaultdict(list)
            for entry in os.scandir(self.folder):
                named = NAME.search(entry.name)
                if named and not entry.name.endswith(".lock") and named[0] != wanted:
                    with suppress(FileNotFoundError):
                        if not entry.is_dir():  # what is in it has been counted as coming
                            groups[named[0]].append(entry.stat())
            sizes = {name: sum(stat.st_size for stat in stats) for name, stats in groups.items()}
            held = sum(sizes.values())
            limit = self.limit
            if limit is None:
                on_disk = sum(stat.st_blocks * 512 for stats in groups.values() for stat in stats)
                limit = min(LIMIT, int((shutil.disk_usage(self.folder).free + on_disk) * SHARE))
            for name in sorted(groups, key=lambda name: max(stat.st_mtime_ns for stat in groups[name])):
                if held + size <= limit:
                    break
                if self._remove(name):
                    held -= sizes[name]
            reserved = self.folder / f"{wanted}{RESERVED}"
            with reserved.open("wb") as file:  # counts, and takes no space
                file.truncate(size)

    def _bring(self, path: Path, size: int, bring: Callable[[Path], None], verify: Callable[[Path], None]) -> None:
        path.unlink(missing_ok=True)  # the cache is a convenience: what is wrong in it is fetched again
        folder = path.with_suffix(".partial")  # with whatever else `bring` writes beside its file
        shutil.rmtree(folder, ignore_errors=True)
        try:
            self.make_room(size, path.name)
            folder.mkdir()
            bring(folder / path.name)
            verify(folder / path.name)
            (folder / path.name).replace(path)
        except OSError as error:
            raise StoreError(
                f"cache {path.parent}: {error.strerror or error}; set {CACHE_VARIABLE} to a folder with room"
            ) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            path.with_suffix(RESERVED).unlink(missing_ok=True)

    @staticmethod
    def _sound(path: Path, verify: Callable[[Path], None]) -> bool:
        if not path.exists():
            return False
        try:
            verify(path)
        except DamagedObject:
            return False
        return True

    def _remove(self, digest: str) -> bool:
        """Remove all files of a digest, unless somebody uses them."""
        lock = os.open(self.folder / f"{digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in self.folder.glob(f"*{digest}*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.suffix != ".lock":  # it may be waited for
                    path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True

    @contextmanager
    def _lock(self, name: str, kind: int) -> Iterator[None]:
        lock = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)
