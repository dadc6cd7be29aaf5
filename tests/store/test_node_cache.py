"""Weights on a node: whole, fetched once however many ask, within a limit, and never taken from under a reader."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from overlap.errors import DamagedObject, StudyError
from overlap.identity import digest
from overlap.store import Location, layout, open_objects
from overlap.zoo.fetching import fetch, fetched
from overlap.zoo.node_cache import LIMIT_VARIABLE, NodeCache
from tests.store.counting import counted

SIZE = 1000
BODIES = [bytes([number]) * SIZE for number in range(6)]
DIGESTS = [digest(body) for body in BODIES]


def bring(cache: NodeCache, number: int) -> None:
    with cache.using(DIGESTS[number], SIZE, writer(number), checker(number)) as path:
        assert path.read_bytes() == BODIES[number]


def writer(number: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(BODIES[number])

    return write


def checker(number: int) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        if digest(path.read_bytes()) != DIGESTS[number]:
            raise DamagedObject("damaged")

    return check


def held(cache: NodeCache) -> set[int]:
    """Numbers of the files in a cache, in which nothing but them and their locks may be."""
    names = {path.name for path in cache.folder.iterdir() if path.suffix != ".lock"}
    assert names <= set(DIGESTS), names
    return {DIGESTS.index(name) for name in names}


def test_least_recently_used_files_go_first(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 3 * SIZE)
    for number in range(3):
        bring(cache, number)
        os.utime(tmp_path / DIGESTS[number], (number + 1, number + 1))
    bring(cache, 0)  # used again
    bring(cache, 3)
    assert held(cache) == {0, 2, 3}
    bring(cache, 4)
    assert held(cache) == {0, 3, 4}


def test_a_file_in_use_is_never_removed(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 2 * SIZE)
    bring(cache, 0)
    with cache.using(DIGESTS[0], SIZE, writer(0), checker(0)) as path:
        os.utime(path, (1, 1))
        for number in (1, 2, 3):
            bring(cache, number)
            assert held(cache) == {0, number}
        with cache.using(DIGESTS[3], SIZE, writer(3), checker(3)):
            bring(cache, 4)  # there is no room: what is in use stays, and so does the run
            assert held(cache) == {0, 3, 4}
    bring(cache, 5)
    assert len(held(cache)) == 2
    assert 5 in held(cache)


def test_a_file_larger_than_the_limit_comes_alone(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, SIZE // 2)
    bring(cache, 0)
    bring(cache, 1)
    assert held(cache) == {1}


def test_what_a_killed_process_left_goes_too(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 2 * SIZE)
    (tmp_path / f"{DIGESTS[0]}.partial").mkdir()
    (tmp_path / f"{DIGESTS[0]}.partial" / "half").write_bytes(b"x" * 500)
    (tmp_path / f"{DIGESTS[0]}.coming").write_bytes(b"x" * SIZE)
    (tmp_path / f"{DIGESTS[1]}.part").write_bytes(b"x" * 500)
    (tmp_path / DIGESTS[2]).write_bytes(b"half")
    bring(cache, 2)
    bring(cache, 3)
    bring(cache, 4)
    assert held(cache) == {3, 4}


def test_files_that_come_at_once_share_the_room(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 3 * SIZE)
    bring(cache, 0)
    bring(cache, 1)

    def writes(path: Path) -> None:
        assert held_besides(cache, 2) == {0, 1}
        bring(cache, 3)  # three are there or coming: one of the first two must go
        assert len(held_besides(cache, 2)) == 2
        path.write_bytes(BODIES[2])

    with cache.using(DIGESTS[2], SIZE, writes, checker(2)):
        pass
    assert len(held(cache)) == 3
    assert {2, 3} < held(cache)


def held_besides(cache: NodeCache, number: int) -> set[int]:
    names = {path.name for path in cache.folder.iterdir() if path.suffix != ".lock"}
    return {DIGESTS.index(name) for name in names if DIGESTS[number] not in name}


def test_a_limit_that_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERLAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(LIMIT_VARIABLE, "lots")
    with pytest.raises(StudyError, match=r"^OVERLAP_CACHE_GIB = 'lots' is no number of GiB"):
        NodeCache.here()
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert NodeCache.here() == NodeCache(tmp_path / "cache", 1 << 29)


FETCH = """
import sys
from overlap.identity import digest_file
from overlap.store import Location, open_objects
from overlap.zoo.fetching import fetched
uri, endpoint, digest = sys.argv[1:]
with fetched(digest, open_objects(Location(uri, endpoint))) as path:
    print(digest_file(path), flush=True)
"""


def test_eight_processes_make_one_whole_file(
    s3_location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAP_CACHE", str(tmp_path / "cache"))
    body = os.urandom(3_000_000)
    objects = open_objects(s3_location)
    objects.put(layout.weights(digest(body)), body)
    command = [sys.executable, "-c", FETCH, s3_location.uri, str(s3_location.endpoint_url), digest(body)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    assert {each.communicate(timeout=120)[0].decode().strip() for each in racing} == {digest(body)}
    files = [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
    assert [(path.name, path.read_bytes()) for path in files] == [(digest(body), body)]
    with counted() as requests:
        fetch(digest(body), objects)
    assert not requests["get"]


def test_a_damaged_cache_is_mended_and_a_lost_object_named(
    s3_location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLAP_CACHE", str(tmp_path / "cache"))
    objects = open_objects(s3_location)
    key = layout.weights(DIGESTS[0])
    objects.put(key, BODIES[0])
    fetch(DIGESTS[0], objects).write_bytes(b"other")
    with fetched(DIGESTS[0], objects) as path:
        assert path.read_bytes() == BODIES[0]
    objects.put(key, b"other")
    path.unlink()
    with pytest.raises(DamagedObject, match=r"are damaged \(found"):
        fetch(DIGESTS[0], objects)
    objects.delete([key])
    with pytest.raises(DamagedObject, match="are gone from the store"):
        fetch(DIGESTS[0], objects)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]
