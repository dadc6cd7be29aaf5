"""What cannot be submitted is said at once, in one line, with the mend; secrets stay here unless they are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest

from overlap.study import load_study
from tests.ray_cluster import TOKEN, RayCluster, read_environment
from tests.servers import SeaweedFS
from tests.small_study import SmallStudy
from tests.study_fixtures import invoke
from tests.web_server import WebServer
from tests.workflows.jobs import tiny
from workflows.submission import folder
from workflows.submission.folder import pack

AT = ("--address", "http://127.0.0.1:1")


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return tiny(tmp_path / "study")


@pytest.fixture
def away(study: SmallStudy) -> SmallStudy:
    """Everything large is in a bucket."""
    for entry in study.entries:
        entry["weights"] = f"s3://zoo/{entry['id']}.safetensors"
    study.write(digits={"shards": "s3://data/part-{000000..000001}.tar"}, store={"uri": "s3://overlap/small"})
    return study


def refused(*arguments: str) -> str:
    ran = invoke("submit", *arguments)
    assert ran.code == 2, ran
    assert ran.stdout == ""
    (said,) = ran.stderr.splitlines()
    return said


def test_paths_that_only_this_machine_has(study: SmallStudy, away: SmallStudy, tmp_path: Path) -> None:
    path, here = str(away.path), away.folder
    away.write(digits={"shards": "data"})
    assert refused(path, *AT) == (
        f"error: {path}: key 'data.digits.shards': {here / 'data'} is on this machine alone; put it into a bucket, or "
        "its folder on a disk that every node mounts and name that with --shared"
    )
    away.write(digits={"shards": "s3://data/part-0.tar"}, store={"uri": "store"})
    assert f"key 'store.uri': {here / 'store'} is on this machine alone; use s3://BUCKET/PREFIX" in refused(path, *AT)
    away.write(store={"uri": "s3://overlap/small"}, tracking={})
    assert "key 'tracking.uri'" in refused(path, *AT)
    assert 'give the address of an MLflow server, or "none"' in refused(path, *AT)
    away.write(tracking={"uri": "none"})
    away.entries[0]["weights"] = "weights/net-0.safetensors"
    away.write()
    assert "key 'checkpoint.weights of 'net-0'':" in refused(path, *AT)
    away.entries[0]["weights"] = "s3://zoo/net-0.safetensors"
    (tmp_path / "real.csv").write_text("key,label\n")
    away.write(digits={"shards": "s3://data/part-0.tar", "truths": {"real": "../real.csv"}})
    said = refused(path, *AT)
    assert (
        f"key 'data.digits.truths.real': {tmp_path / 'real.csv'} would not be found on the cluster; put it into" in said
    )
    assert "no such folder here" in refused(path, *AT, "--shared", str(tmp_path / "nowhere"))
    assert "nobody answers at http://127.0.0.1:1" in refused(path, *AT, "--shared", str(tmp_path))


def test_what_travels(away: SmallStudy) -> None:
    """The study, what it names, its code, and overlap; nothing large, nothing hidden, nothing excluded."""
    here = away.folder
    (here / "real.csv").write_text("key,label\n")
    (here / "nets").mkdir()
    for name in ("__init__.py", "layers.py", "notes.txt", "old.pth", ".secret"):
        (here / "nets" / name).write_text("")
    (here / "unrelated").mkdir()
    (here / "unrelated" / "big.bin").write_text("")
    (here / ".env").write_text("AWS_SECRET_ACCESS_KEY=x")
    away.write(digits={"shards": "s3://data/part-0.tar", "truths": {"real": "real.csv"}})
    study = load_study(away.path)
    sent = pack(study)
    own = {name for name in sent.files if name.startswith(("overlap/", "workflows/"))}
    assert {"overlap/cli.py", "workflows/run.py", "overlap/store/s3.py", "overlap/zoo/timm_training.toml"} < own
    assert not any("__pycache__" in name for name in own)
    expected = {"study.toml", "real.csv", "small_nets.py", "nets/__init__.py", "nets/layers.py", "nets/notes.txt"}
    assert sent.files.keys() - own == expected
    assert pack(study, baked_in=True, exclude=["*.txt"]).files.keys() == expected - {"nets/notes.txt"}
    assert pack(study, baked_in=True, shared=[here]).files == {}
    digests = {sent.digest, pack(study, baked_in=True).digest}
    (here / "nets" / "layers.py").write_text("WIDTH = 2")
    digests |= {pack(study).digest, pack(study, baked_in=True).digest}
    assert len(digests) == 4, "code and how overlap gets there are inputs"
    assert pack(study).digest in digests
    assert "--exclude keeps 'real.csv' here, which the study needs" in refused(
        str(away.path), *AT, "--exclude", "*.csv"
    )


def test_too_large(away: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    with (away.folder / "table.csv").open("wb") as file:
        file.truncate(folder.LIMIT)
    away.write(digits={"shards": "s3://data/part-0.tar", "truths": {"real": "table.csv"}})
    said = refused(str(away.path), *AT)
    assert "would travel with the job, more than 32.0 MiB; largest: table.csv (32.0 MiB), " in said
    assert "leave them out with --exclude" in said


def test_variables(away: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert "--env NOT_THERE: is not set here" in refused(str(away.path), *AT, "--env", "NOT_THERE")
    assert "--env PYTHONPATH: is set by Ray" in refused(str(away.path), *AT, "--env", "PYTHONPATH")


def test_addresses_of_no_cluster(away: SmallStudy, s3_server: SeaweedFS) -> None:
    path = str(away.path)
    assert "nobody answers at http://127.0.0.1:1; start the cluster" in refused(path, *AT)
    assert "is no dashboard's; jobs are sent to http://HOST:8265" in refused(path, "--address", "127.0.0.1:6379")
    assert "is no dashboard's" in refused(path, "--address", "ray://127.0.0.1:10001")
    said = refused(path, "--address", s3_server.endpoint_url)
    assert f"{s3_server.endpoint_url} refuses, and not as the dashboard of a Ray cluster does" in said
    with WebServer(away.folder).running() as web:
        assert f"{web.url} is not the dashboard of a Ray cluster (" in refused(path, "--address", web.url)


@contextmanager
def of_another_version(dashboard: str) -> Iterator[str]:
    """The same cluster as it would look if it ran an older Ray."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = Request(dashboard + self.path, headers={"Authorization": self.headers["Authorization"]})
            with urlopen(asked) as answer:
                body = json.dumps(json.load(answer) | {"ray_version": "2.40.0"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=partial(server.serve_forever, 0.05), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_clusters_that_do_not_fit(away: SmallStudy, head: RayCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    path = str(away.path)
    with of_another_version(head.dashboard_url) as url:
        said = refused(path, "--address", url)
    assert f"the cluster at {url} runs Ray 2.40.0, and here is {ray.__version__}, which overlap is made for" in said

    try:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
        read_environment()
        said = refused(path, "--address", head.dashboard_url)
        assert f"the cluster at {head.dashboard_url} refuses the token; set RAY_AUTH_MODE=token" in said
        assert "f" * 64 not in said
    finally:
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        read_environment()
    ran = invoke("logs", "nothing", "--address", head.dashboard_url)
    assert ran.code == 2
    assert "no job or study 'nothing' on the cluster" in ran.stderr
    # The environment's address is for those who give none.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert invoke("jobs", "--address", head.dashboard_url, "--json").code == 0
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head.dashboard_url)
    assert invoke("jobs").code == 0
