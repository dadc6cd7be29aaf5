"""Weights of the libraries' own hubs, from a server on this machine that answers as the hub does, or does not."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from overlap import web
from overlap.errors import CheckpointError
from overlap.zoo import hub
from overlap.zoo.hub import Published
from tests.candidates import timm_module
from tests.web_server import WebServer

NAME = "test_resnet.r160_in1k"
FILE = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does to its client: HEAD tells commit, digest and size, GET gives the bytes."""

    bodies: dict[str, bytes]
    asked: list[str]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _head(self) -> bytes | None:
        self.asked.append(f"{self.command} {self.path}")
        body = self.bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        return body

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self.wfile.write(self._head() or b"")


@pytest.fixture
def hub_server(tmp_path: Path) -> Iterator[tuple[str, type[_Hub]]]:
    path = tmp_path / "published.safetensors"
    save_file(timm_module("test_resnet", classes=1000).state_dict(), path)
    handler = type("Handler", (_Hub,), {"bodies": {FILE: path.read_bytes()}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


STAGE = """
import json, sys, time
from overlap.errors import CheckpointError
from overlap.store import Location, open_objects
from overlap.zoo import timm_names
from overlap.zoo.weights import out_of_reach, recall, recall_named, stage
store, local, *references = sys.argv[1:]
local = local == "local"
objects = open_objects(Location(store))
timm_names.published()
import huggingface_hub
started = time.monotonic()
reach = out_of_reach(references, local=local)
seconds = time.monotonic() - started
staged = [
    None if isinstance(said, str) else stage(name, objects, local=said is None).digest
    for name, said in zip(references, reach)
]
named = [found and found.digest for found in recall_named(references, objects)]
print(json.dumps({"reach": reach, "seconds": seconds, "staged": staged, "named": named}))
"""


def ask(endpoint: str, home: Path, *references: str, local: bool = False) -> dict[str, Any]:
    """In a process of its own: the hub's client reads its variables once."""
    import os

    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "TORCH_HOME": str(home / "torch")}
    command = [sys.executable, "-c", STAGE, str(home / "store"), "local" if local else "any", *references]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_hub_gives_a_file_once_and_timm_loads_it(hub_server: tuple[str, type[_Hub]], tmp_path: Path) -> None:
    endpoint, handler = hub_server
    first = ask(endpoint, tmp_path, f"timm:{NAME}")
    assert first["reach"] == [True]
    assert first["named"] == first["staged"]
    assert sum(line == f"GET {FILE}" for line in handler.asked) == 1
    [stored] = [path for path in (tmp_path / "store").rglob(first["staged"][0] + "*") if path.is_file()]
    published, kept = load_file(tmp_path / "published.safetensors"), load_file(stored)
    assert set(published) == set(kept)
    assert all(torch.equal(published[name], kept[name]) for name in published)  # the head too
    handler.asked.clear()
    offline = ask(endpoint, tmp_path, f"timm:{NAME}", "timm:test_vit.r160_in1k", "torchvision:resnet18", local=True)
    assert handler.asked == []
    assert offline["staged"] == [first["staged"][0], None, None]
    assert offline["reach"][1:] == [
        f"offline: timm/test_vit.r160_in1k model.safetensors is neither in the store nor in {tmp_path}/hub (HF_HOME)",
        "offline: https://download.pytorch.org/models/resnet18-f37072fd.pth is neither in the store nor in "
        f"{tmp_path}/torch/hub/checkpoints (TORCH_HOME)",
    ]


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_hub_that_does_not_answer_costs_seconds_for_the_whole_zoo(kind: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == "hangs":
            taken.listen()
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        names = [f"timm:test_{kind}.r160_in1k" for kind in ("resnet", "vit", "efficientnet", "convnext")]
        said = ask(endpoint, tmp_path, *names)
    assert said["seconds"] < hub.PROBE_S + 2
    assert said["staged"] == [None] * 4
    [reason] = set(said["reach"])  # one for all: it is said once
    assert reason.startswith(f"unreachable: {endpoint} does not answer (")


def test_files_at_addresses_are_kept_where_torch_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "www"
    folder.mkdir()
    body = bytes(range(256)) * 2000
    right = f"net-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    (folder / right).write_bytes(body)
    (folder / "net-00000000.pth").write_bytes(body)
    with WebServer(folder, parts=True).running() as server:
        server.faults[f"/{right}"] = ("cut", 2)
        published = Published(url=f"{server.url}/{right}")
        assert hub.held(published) is None
        path = hub.obtain(published)
        assert path == tmp_path / "torch" / "hub" / "checkpoints" / right
        assert path.read_bytes() == body
        assert server.sent <= len(body) + 2 * web.PIECE
        with pytest.raises(CheckpointError, match="do not have the digest in its name"):
            hub.obtain(Published(url=f"{server.url}/net-00000000.pth"))
        assert hub.absent([published, Published(url=f"{server.url}/gone.pth")]) == [True, True]
    started = time.monotonic()
    assert hub.obtain(published) == path  # its server is gone
    assert hub.absent([published])[0] is None
    assert time.monotonic() - started < hub.PROBE_S


def test_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in hub.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert not hub.offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert not hub.offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "true")
    assert hub.offline()
