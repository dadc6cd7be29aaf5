"""Weights into the store and out of it: whole, once, and identified by what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from overlap.errors import CheckpointError, DamagedObject, StoreError
from overlap.identity import digest, digest_file
from overlap.store import Location, Objects, layout, open_objects
from overlap.store.folder import Folder
from overlap.zoo import sources
from overlap.zoo.fetching import fetch
from overlap.zoo.loading import load
from overlap.zoo.weights import CACHE_VARIABLE, Staged, recall, stage
from tests.candidates import timm_candidate, timm_module
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


def test_staged_once_and_remembered(store: Folder, weights: Path) -> None:
    assert recall(str(weights), store) is None
    expected = Staged(digest(BODY), len(BODY))
    assert stage(str(weights), store) == expected
    assert store.get(layout.weights(expected.digest)) == BODY
    assert recall(str(weights), store) == expected
    assert fetch(expected.digest, store) == store.path(layout.weights(expected.digest))


def test_the_memo_does_not_outlive_the_file_it_is_about(store: Folder, weights: Path) -> None:
    stage(str(weights), store)
    was = weights.stat().st_mtime_ns
    weights.write_bytes(BODY[::-1])
    os.utime(weights, ns=(was, was + 1))
    assert recall(str(weights), store) is None
    assert stage(str(weights), store).digest == digest(BODY[::-1])
    weights.write_bytes(BODY)
    os.utime(weights, ns=(was, was))
    assert recall(str(weights), store) == Staged(digest(BODY), len(BODY))
    weights.write_bytes(BODY + b"x")
    os.utime(weights, ns=(was, was))
    assert recall(str(weights), store) is None


@pytest.mark.parametrize("damage", [b"", b"{", b'{"digest":"0"}\n{}', b'["a"]'])
def test_a_damaged_memo_says_nothing(damage: bytes, store: Folder, weights: Path) -> None:
    stage(str(weights), store)
    (key,) = [info.key for info in store.list("memo/")]
    body = store.get(key)
    store.put(key, damage)
    assert recall(str(weights), store) is None
    store.put(key, body.replace(b'"bytes":3', b'"bytes":4'))
    assert recall(str(weights), store) is None
    store.put(key, body)
    assert recall(str(weights), store) is not None


def test_a_memo_of_weights_that_the_store_lost_says_nothing(store: Folder, weights: Path) -> None:
    staged = stage(str(weights), store)
    store.delete([layout.weights(staged.digest)])
    assert recall(str(weights), store) is None


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
    for ask in (recall, stage):
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
        assert recall(uri, store) == staged
        assert server.asked["GET", "/w.pth"] == 2
        os.utime(weights, (10**9, 10**9))
        assert recall(uri, store) is None
        server.faults["/w.pth"] = ("cut", -1)
        with pytest.raises(CheckpointError, match=r"^weights http.* bytes came; the server cut the transfer"):
            stage(uri, store)
        assert recall(uri, store) is None
        with pytest.raises(CheckpointError, match=r"^weights http.*the server says 404"):
            recall(f"{server.url}/x.pth", store)


def test_weights_in_a_bucket(
    bucket: Callable[[str], Objects], s3_server: SeaweedFS, store: Folder, tmp_path: Path
) -> None:
    objects = bucket(s3_server.endpoint_url)
    objects.put("zoo/w.pth", BODY)
    uri = f"{objects.uri}/zoo/w.pth"
    staged = stage(uri, store, s3_server.endpoint_url)
    assert staged == Staged(digest(BODY), len(BODY))
    assert recall(uri, store, s3_server.endpoint_url) == staged
    objects.put("zoo/w.pth", BODY[::-1])
    assert recall(uri, store, s3_server.endpoint_url) is None
    with pytest.raises(CheckpointError, match=rf"^weights {uri}x: no such object; check bucket and key"):
        stage(f"{uri}x", store, s3_server.endpoint_url)
    for ask in (recall, stage):  # a bucket that is not there is the fault of this one checkpoint
        with pytest.raises(CheckpointError, match=r"^weights s3://no-such-bucket-here"):
            ask("s3://no-such-bucket-here/w.pth", store, s3_server.endpoint_url)


FETCH = """
import sys
from overlap.store import Location, open_objects
from overlap.zoo.fetching import fetch
print(fetch(sys.argv[3], open_objects(Location(sys.argv[1], sys.argv[2]))))
"""


def test_eight_processes_fetch_one_whole_file_once(
    bucket: Callable[[str], Objects], s3_server: SeaweedFS, weights: Path, tmp_path: Path
) -> None:
    staged = stage(str(weights), bucket(s3_server.endpoint_url))
    with Proxy(s3_server.endpoint_url) as proxy:
        where = bucket(proxy.endpoint_url).uri
        racing = [
            subprocess.Popen(
                [sys.executable, "-c", FETCH, where, proxy.endpoint_url, staged.digest],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(8)
        ]
        said = [process.communicate(timeout=120)[0].strip() for process in racing]
        assert [process.returncode for process in racing] == [0] * 8
        assert set(said) == {str(tmp_path / "cache" / staged.digest)}
        fetched = [request for request in proxy.seen if request.method == "GET" and staged.digest in request.path]
        assert len(fetched) == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [staged.digest, f"{staged.digest}.lock"]
    assert digest_file(Path(said[0])) == staged.digest


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
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [f"{staged.digest}.lock"]


def test_a_cache_that_cannot_be_made_is_named(
    bucket: Callable[[str], Objects],
    s3_server: SeaweedFS,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(weights / "below a file"))
    with pytest.raises(StoreError, match=rf"cache {weights}/below a file: Not a directory; set {CACHE_VARIABLE}"):
        fetch("0" * 64, bucket(s3_server.endpoint_url))


def test_a_sources_own_weights_are_staged_as_one_file(
    store: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The hub alone is replaced: it cannot be reached from tests."""
    published = timm_module("test_vit", classes=1000)
    offline = replace(sources.SOURCES["timm"], pretrained=lambda name: published)
    monkeypatch.setitem(sources.SOURCES, "timm", offline)
    staged = stage("timm:test_vit.r160_in1k", store)
    assert recall("timm:test_vit.r160_in1k", store) == staged
    assert stage("timm:test_vit.r160_in1k", store) == staged
    candidate = timm_candidate("test_vit.r160_in1k", tmp_path, classes=1000)
    held = load(candidate, fetch(staged.digest, store)).state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in published.state_dict().items())


OFFLINE = """
from pathlib import Path
import sys
from overlap.errors import CheckpointError
from overlap.store import Location, open_objects
from overlap.zoo.weights import stage
try:
    stage("timm:test_vit.r160_in1k", open_objects(Location(sys.argv[1])))
except CheckpointError as error:
    print(error)
"""


def test_a_hub_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    environment: dict[str, Any] = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(tmp_path / "store")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("weights timm:test_vit.r160_in1k: the hub gave nothing (")
    assert line.endswith("; give `weights` a file, or run where the hub can be reached")
