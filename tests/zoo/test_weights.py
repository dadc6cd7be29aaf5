"""Weights into the store and out of it: whole, once, and identified by what they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from overlap.errors import CheckpointError, DamagedObject, StoreError
from overlap.identity import digest
from overlap.store import Location, Objects, layout, open_objects
from overlap.store.folder import Folder
from overlap.zoo.fetching import fetch
from overlap.zoo.node_cache import CACHE_VARIABLE
from overlap.zoo.weights import Staged, recall, stage
from tests.servers import SeaweedFS
from tests.store.proxy import BUSY, CUT, Proxy
from tests.web_server import WebServer

ROOT = Path(__file__).parents[2]
BODY = os.urandom(3_000_000)


@pytest.fixture
def store(tmp_path: Path) -> Folder:
    found = open_objects(Location(str(tmp_path / "store")))
    assert isinstance(found, Folder)
    return found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "w.pth").write_bytes(BODY)
    return tmp_path / "w.pth"


@pytest.fixture
def bucket(s3_server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Objects]:
    """Stores in a bucket of this test, at an endpoint; the node's cache is this test's too."""
    name = s3_server.create_bucket(f"weights-{digest(str(tmp_path).encode())[:8]}")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return lambda endpoint_url: open_objects(Location(f"s3://{name}/store", endpoint_url))


def recalled(reference: str, objects: Objects, endpoint_url: str | None = None) -> Staged | None:
    (found,) = recall([reference], objects, endpoint_url)
    if isinstance(found, CheckpointError):
        raise found
    return found


def test_staged_once_and_remembered(store: Folder, weights: Path) -> None:
    assert recalled(str(weights), store) is None
    expected = Staged(digest(BODY), len(BODY))
    assert stage(str(weights), store) == expected
    assert store.get(layout.weights(expected.digest)) == BODY
    assert recalled(str(weights), store) == expected
    assert fetch(expected.digest, store) == store.path(layout.weights(expected.digest))


def test_the_memo_does_not_outlive_the_file_it_is_about(store: Folder, weights: Path) -> None:
    stage(str(weights), store)
    was = weights.stat().st_mtime_ns
    weights.write_bytes(BODY[::-1])
    os.utime(weights, ns=(was, was + 1))
    assert recalled(str(weights), store) is None
    assert stage(str(weights), store).digest == digest(BODY[::-1])
    weights.write_bytes(BODY)
    os.utime(weights, ns=(was, was))
    assert recalled(str(weights), store) == Staged(digest(BODY), len(BODY))
    weights.write_bytes(BODY + b"x")
    os.utime(weights, ns=(was, was))
    assert recalled(str(weights), store) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"digest":"0"}\n{}', b'["a"]'])
def test_a_damaged_memo_says_nothing(damage: bytes, store: Folder, weights: Path) -> None:
    stage(str(weights), store)
    (key,) = [info.key for info in store.list("memo/weights/")]
    body = store.get(key)
    store.put(key, damage)
    assert recalled(str(weights), store) is None
    store.put(key, body.replace(b'"bytes":3', b'"bytes":4'))
    assert recalled(str(weights), store) is None
    store.put(key, body)
    assert recalled(str(weights), store) is not None


def test_a_memo_of_weights_that_the_store_lost_says_nothing(store: Folder, weights: Path) -> None:
    staged = stage(str(weights), store)
    store.delete([layout.weights(staged.digest)])
    assert recalled(str(weights), store) is None


def test_damaged_weights_are_found_named_and_mended_by_staging_again(store: Folder, weights: Path) -> None:
    staged = stage(str(weights), store)
    key = layout.weights(staged.digest)
    store.put(key, b"\0" + BODY[1:])  # of the right size: no listing can tell
    with pytest.raises(DamagedObject, match=rf"weights {key} are damaged .*run with --verify to stage them again"):
        fetch(staged.digest, store)
    assert stage(str(weights), store) == staged
    assert fetch(staged.digest, store).read_bytes() == BODY
    store.delete([key])
    with pytest.raises(DamagedObject, match=f"weights {key} are damaged .found nothing"):
        fetch(staged.digest, store)


def test_weights_that_are_not_there(store: Folder, tmp_path: Path) -> None:
    for ask in (recalled, stage):
        with pytest.raises(CheckpointError, match=rf"^weights {tmp_path}/gone.pth: No such file.*; check the path"):
            ask(str(tmp_path / "gone.pth"), store)
    with pytest.raises(CheckpointError, match=rf"^weights {tmp_path}: Is a directory"):
        stage(str(tmp_path), store)


def test_weights_from_a_web_server(store: Folder, weights: Path) -> None:
    with WebServer(weights.parent).running() as server:
        uri = f"{server.url}/w.pth"
        server.faults["/w.pth"] = ("cut", 1)
        staged = stage(uri, store)
        assert staged == Staged(digest(BODY), len(BODY))
        assert recalled(uri, store) == staged
        assert server.asked["GET", "/w.pth"] == 2
        os.utime(weights, (10**9, 10**9))
        assert recalled(uri, store) is None
        server.faults["/w.pth"] = ("cut", -1)
        with pytest.raises(CheckpointError, match=r"^weights http.* bytes came; the server cut the transfer"):
            stage(uri, store)
        assert recalled(uri, store) is None
        with pytest.raises(CheckpointError, match=r"^weights http.*the server says 404"):
            recalled(f"{server.url}/x.pth", store)


def test_weights_in_a_bucket(
    bucket: Callable[[str], Objects], s3_server: SeaweedFS, store: Folder, tmp_path: Path
) -> None:
    objects = bucket(s3_server.endpoint_url)
    objects.put("zoo/w.pth", BODY)
    uri = f"{objects.uri}/zoo/w.pth"
    staged = stage(uri, store, s3_server.endpoint_url)
    assert staged == Staged(digest(BODY), len(BODY))
    assert recalled(uri, store, s3_server.endpoint_url) == staged
    objects.put("zoo/w.pth", BODY[::-1])
    assert recalled(uri, store, s3_server.endpoint_url) is None
    with pytest.raises(CheckpointError, match=rf"^weights {uri}x: no such object; check bucket and key"):
        stage(f"{uri}x", store, s3_server.endpoint_url)
    for ask in (recalled, stage):  # a bucket that is not there is the fault of this one checkpoint
        with pytest.raises(CheckpointError, match=r"^weights s3://no-such-bucket-here"):
            ask("s3://no-such-bucket-here/w.pth", store, s3_server.endpoint_url)


def test_a_node_survives_broken_transfers_and_a_spoilt_cache(
    bucket: Callable[[str], Objects], s3_server: SeaweedFS, weights: Path, tmp_path: Path
) -> None:
    objects = bucket(s3_server.endpoint_url)
    staged = stage(str(weights), objects)
    with Proxy(s3_server.endpoint_url) as proxy:
        for fault in (CUT, BUSY):
            proxy.once(fault, lambda request: request.method == "GET")
            path = fetch(staged.digest, bucket(proxy.endpoint_url))
            assert path.read_bytes() == BODY
            path.write_bytes(BODY[:-1])  # the next one finds it spoilt
    assert fetch(staged.digest, objects).read_bytes() == BODY
    objects.put(layout.weights(staged.digest), BODY[::-1])
    assert fetch(staged.digest, objects).read_bytes() == BODY  # what the node holds is right
    path.unlink()
    with pytest.raises(DamagedObject, match="are damaged"):
        fetch(staged.digest, objects)
    objects.delete([layout.weights(staged.digest)])
    with pytest.raises(DamagedObject, match="are gone from the store; run with --verify"):
        fetch(staged.digest, objects)
    assert not [entry for entry in (tmp_path / "cache").iterdir() if entry.name == staged.digest]


def test_a_cache_that_cannot_be_made_is_named(
    bucket: Callable[[str], Objects],
    s3_server: SeaweedFS,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = stage(str(weights), bucket(s3_server.endpoint_url))
    monkeypatch.setenv(CACHE_VARIABLE, str(weights / "below a file"))
    with pytest.raises(StoreError, match=rf"cache {weights}/below a file: Not a directory; set {CACHE_VARIABLE}"):
        fetch(staged.digest, bucket(s3_server.endpoint_url))
