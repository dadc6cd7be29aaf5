"""What only a folder can meet: full disks, killed writers, file systems without links."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlap.errors import StoreError
from overlap.store.atomic import PREFIX
from overlap.store.folder import Folder

MIB = 1 << 20


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "overlap-test", str(mounted)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small file system needs rights that this user has not")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(tiny_disk: Path, tmp_path: Path) -> None:
    folder = Folder(tiny_disk / "store")
    folder.put("kept", b"k" * MIB)
    large = tmp_path / "large"
    large.write_bytes(b"x" * (2 * MIB))
    for write in (
        lambda: folder.put("a/b", b"x" * (2 * MIB)),
        lambda: folder.put("kept", b"x" * (2 * MIB)),
        lambda: folder.put_if_absent("a/b", b"x" * (2 * MIB)),
        lambda: folder.put_file("a/b", large),
        lambda: Folder(tmp_path).get_file("large", tiny_disk / "out"),
    ):
        with pytest.raises(StoreError, match=r"^[^\n]*no space left[^\n]*free some space[^\n]*$") as caught:
            write()
        assert str(tiny_disk) in str(caught.value)
    assert _files(tiny_disk) == ["store/kept"]
    assert folder.get("kept") == b"k" * MIB
    folder.put("a/b", b"fits")


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from overlap.errors import StoreError
from overlap.store.folder import Folder
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Folder(Path(sys.argv[1]))
folder.put("small", b"1" * 100_000)
for write in (folder.put, folder.put_if_absent):
    try:
        write("large", b"x" * 100_001)
    except StoreError as error:
        print(error)
"""


def test_a_limit_on_file_sizes_is_as_a_full_disk(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILE_LIMIT, str(tmp_path / "store")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 2
    assert all(re.search(r"store/large: file too large; free some space", line) for line in said)
    assert _files(tmp_path) == ["store/small"]


WRITER = """
import sys
from pathlib import Path
from overlap.store.folder import Folder
folder = Folder(Path(sys.argv[1]))
for number in range(10_000):
    body = bytes([number % 256]) * (8 << 20)
    folder.put(f"objects/{number:05d}", body)
    folder.put("objects/same", body)
    folder.put_if_absent(f"records/{number:05d}", body)
    print(number, flush=True)
"""


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.011, 0.023, 0.037])
def test_a_killed_writer_leaves_no_partial_object(tmp_path: Path, delay: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"0\n"
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    folder = Folder(tmp_path)
    found = list(folder.list(""))
    assert found
    for info in found:
        data = folder.get(info.key)
        assert info.size == len(data) == 8 << 20, info.key
        assert data == data[:1] * len(data), info.key
    left = [name for name in _files(tmp_path) if PREFIX in name]
    assert len(left) <= 1
    assert folder.sweep(3600) == 0, "a young one may be in use"
    assert folder.sweep(-1) == len(left)
    assert _files(tmp_path) == sorted(info.key for info in found)


def test_a_temporary_file_is_no_object(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("a/b", b"1")
    (tmp_path / "a" / f"{PREFIX}1-2.tmp").write_bytes(b"partial")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert [info.key for info in folder.list("")] == ["a/b"]


def test_a_file_system_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(StoreError, match="no hard links"):
        Folder(tmp_path).put_if_absent("a", b"1")
    assert _files(tmp_path) == []


def test_a_lost_answer_of_the_file_server_is_told_from_a_lost_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link_twice(source: str, place: Path) -> None:
        real(source, place)
        real(source, place)  # NFS repeats a request whose answer was lost, and hears that the name is taken

    monkeypatch.setattr(os, "link", link_twice)
    assert Folder(tmp_path).put_if_absent("a", b"1") is True
    assert Folder(tmp_path).get("a") == b"1"
    assert _files(tmp_path) == ["a"]


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError, match=r"store/a.*in the way|store/a.*a file stands"):
        Folder(tmp_path / "store").put("a", b"1")
    folder = Folder(tmp_path / "other")
    folder.put("a/b", b"1")
    with pytest.raises(StoreError, match="other/a"):
        folder.put("a", b"1")
    with pytest.raises(StoreError, match="no-such-file"):
        folder.put_file("c", tmp_path / "no-such-file")


def test_a_folder_that_nobody_wrote_to_is_empty_and_not_made(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "store")
    assert list(folder.list("records/")) == []
    assert folder.head("a") is None
    assert folder.sweep(0) == 0
    assert not (tmp_path / "store").exists()


def test_files_are_readable_as_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Folder(tmp_path).put("a", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
