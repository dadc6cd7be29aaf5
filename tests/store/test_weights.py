"""Weights that were staged before: recalled in few requests, and never where store or file say otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlap import files
from overlap.errors import CheckpointError
from overlap.store import Location, layout, open_objects
from overlap.store.folder import Folder
from overlap.zoo.weights import Staged, recall, stage
from tests.store.counting import counted


@pytest.fixture
def zoo(tmp_path: Path) -> list[str]:
    (tmp_path / "weights").mkdir()
    paths = [tmp_path / f"weights/{number}.bin" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_bytes(f"weights {number}".encode())
    return [str(path) for path in paths]


def test_the_memo_of_all_is_made_of_those_of_each(zoo: list[str], tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    with counted() as requests:
        assert recall(zoo, store) == [None] * 12
    assert requests["put"] == 0
    staged = [stage(path, store) for path in zoo]
    with counted() as requests:
        assert recall(zoo, store) == staged
    assert (requests["get"], requests["put"], requests["list"], requests["head"]) == (13, 1, 1, 0)
    with counted() as requests:
        assert recall(zoo, store) == staged
    assert requests == {"get": 1, "list": 1}


def test_a_memo_is_believed_only_of_what_is_there_and_unchanged(zoo: list[str], tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    staged = [stage(path, store) for path in zoo]
    recall(zoo, store)
    store.delete([layout.weights(staged[0].digest)])
    store.put(layout.weights(staged[1].digest), b"cut")
    Path(zoo[2]).write_bytes(b"other weights")
    os.utime(zoo[3], ns=(1, 1))
    Path(zoo[4]).unlink()
    found = recall(zoo, store)
    assert found[:4] == [None] * 4
    assert isinstance(found[4], CheckpointError)
    assert "4.bin" in str(found[4])
    assert found[5:] == staged[5:]
    mended = [stage(path, store) for path in zoo[:4]]
    assert recall(zoo[:4], store) == mended
    index = next(store.list("memo/weights-index/")).key
    store.put(index, store.get(index)[:-5])
    assert recall([zoo[0], *zoo[5:]], store) == [mended[0], *staged[5:]]


def test_objects_that_lie_together_are_listed(s3_location: Location) -> None:
    bucket = open_objects(s3_location)
    uris = [f"{s3_location.uri}/zoo/{number}.bin" for number in range(10)]
    for number in range(9):  # the last is missing
        bucket.put(f"zoo/{number}.bin", b"x" * number)
    bucket.put("zoo/other/0.bin", b"")
    bucket.put("alone.bin", b"x")
    found = files.listed([*uris, f"{s3_location.uri}/alone.bin", "/a/path"], s3_location.endpoint_url)
    assert set(found) == set(uris[:9])
    for uri, version in found.items():
        assert version == files.version(uri, s3_location.endpoint_url)
    store = open_objects(Location(f"{s3_location.uri}/store", s3_location.endpoint_url))
    staged = [stage(uri, store, s3_location.endpoint_url) for uri in uris[:9]]
    recalled = recall(uris, store, s3_location.endpoint_url)
    assert recalled[:9] == staged
    assert all(isinstance(each, Staged) for each in staged)
    assert isinstance(recalled[9], CheckpointError)
