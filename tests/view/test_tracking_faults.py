"""MLflow out of reach, ending half way, or of no use: one line, within seconds, and nothing is lost or doubled."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from overlap.errors import TrackingError
from overlap.report import draw_figures
from overlap.tracking import Tracker, how_to_open
from overlap.tracking.server import ENVIRONMENT, connect, shown
from tests.view.holdings import holdings, of_kind, sync, zoo
from tests.view.mlflow_server import free_port, mlflow_server


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    return f"study {request.node.name}"


def test_nothing_is_written_beside_the_store_or_to_the_process(tmp_path: Path, study: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    code = f"""
import sys
from tests.view.frames import simulated
from overlap.tracking import Tracker
results = simulated(3, images=50)
Tracker("sqlite:///{tmp_path}/store/mlflow.db", "s", invocation="i").sync(results, lambda: [])
import mlflow
assert "store" not in mlflow.get_tracking_uri(), mlflow.get_tracking_uri()
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        env={name: text for name, text in os.environ.items() if name not in ENVIRONMENT} | {"PYTHONPATH": str(root)},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(one.name for one in (tmp_path / "store").iterdir()) == ["mlartifacts", "mlflow.db"]


def test_a_server_that_is_down_is_named_within_seconds(study: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TrackingError, match=r"^MLflow at http://127\.0\.0\.1:\d+ does not answer .*overlap sync`$"):
        sync(f"http://someone:secret@127.0.0.1:{free_port()}", zoo(study, 3))
    assert time.monotonic() - begun < 3


def test_a_server_that_never_answers_is_named_within_seconds(study: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        with pytest.raises(TrackingError, match="does not answer"):
            sync(f"http://127.0.0.1:{mute.getsockname()[1]}", zoo(study, 3))
        assert time.monotonic() - begun < 8


def test_a_server_that_dies_half_way_is_filled_in_later(tmp_path: Path, study: str) -> None:
    results, port = zoo(study, 12), free_port()
    with mlflow_server(tmp_path, port) as address:
        tracker = Tracker(address, study, invocation="first")
        started = threading.Event()

        # The reduction comes last, so the other runs exist by now; the server ends before this one's artifacts arrive.
        def draw_after_the_end():
            started.set()
            down.wait(60)
            return draw_figures(results)

        down = threading.Event()
        failure: list[BaseException] = []

        def call() -> None:
            try:
                tracker.sync(results, draw_after_the_end, lambda: "page")
            except BaseException as error:
                failure.append(error)

        worker = threading.Thread(target=call)
        worker.start()
        assert started.wait(120)
    begun = time.monotonic()
    down.set()
    worker.join(60)
    assert time.monotonic() - begun < 30
    assert [type(error) for error in failure] == [TrackingError]
    assert "\n" not in str(failure[0])

    with mlflow_server(tmp_path, port) as address:
        done = sync(address, results, call="later")
        assert done.created + done.updated >= 1
        _, runs, models, _ = holdings(address, study)
        assert len(of_kind(runs, "checkpoint")) == len(models) == 12
        assert len(of_kind(runs, "reduction")) == 1
        assert sync(address, results, call="again").unchanged == 13


def test_a_deleted_experiment_is_named_with_its_mend(tmp_path: Path, study: str) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sync(uri, zoo(study, 3))
    client = connect(uri)
    client.delete_experiment(client.get_experiment_by_name(study).experiment_id)
    with pytest.raises(TrackingError, match=r"is deleted; `mlflow experiments restore"):
        sync(uri, zoo(study, 3))


def test_a_uri_of_no_use_is_refused_in_one_line(tmp_path: Path, study: str) -> None:
    with pytest.raises(TrackingError) as caught:
        sync(f"file://{tmp_path}/mlruns", zoo(study, 3))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://user:word@mlflow:5000", ["http://mlflow:5000"]),
        ("sqlite:////data/a b/mlflow.db", ["mlflow", "ui", "--backend-store-uri", "sqlite:////data/a b/mlflow.db"]),
    ],
)
def test_how_to_open(uri: str, words: list[str]) -> None:
    assert shlex.split(how_to_open(uri)) == words
    assert "word" not in shown(uri)
