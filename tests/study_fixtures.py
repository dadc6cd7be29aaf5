"""Fixtures of the tests that run whole studies; tests/conftest.py makes them known to every room."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from click.testing import CliRunner

from tests.ray_cluster import RayCluster, read_environment
from tests.servers import SeaweedFS
from tests.small_study import Ran, SmallStudy

Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder with a short path, since Ray's sockets are in it and their paths end at 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="ovl-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> SmallStudy:
    """The small study, run once to its end by a command of its own; tests copy it and leave it alone."""
    study = SmallStudy.make(tmp_path_factory.mktemp("undisturbed") / "study")
    ran = study.run(scratch=scratch)
    assert ran.code == 0, ran
    assert ran.outcome["computed"] == ran.outcome["units"] == 42, ran
    return study


@pytest.fixture
def complete(undisturbed: SmallStudy, tmp_path: Path) -> SmallStudy:
    """A copy of the small study with its complete store."""
    return undisturbed.copy(tmp_path / "study")


@pytest.fixture
def fresh(complete: SmallStudy) -> SmallStudy:
    """A copy of the small study of which nothing was run."""
    shutil.rmtree(complete.store)
    return complete


@pytest.fixture(scope="session")
def cluster(scratch: Path, s3_server: SeaweedFS) -> Iterator[RayCluster]:
    """A Ray cluster with two CPUs, to which this process is connected: `run` then need not start one each time.

    Its workers have the credentials of the tests' S3 server.
    """
    import ray

    cluster = RayCluster(scratch)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "OVERLAP_CACHE"):
            patch.setenv(name, cluster.environment[name])
        try:
            cluster.start()
            cluster.connect()
            yield cluster
        finally:
            ray.shutdown()
            cluster.close()


@pytest.fixture(scope="session")
def head(s3_server: SeaweedFS) -> Iterator[RayCluster]:
    """A Ray cluster with two CPUs and a job server, with overlap baked in; this process has its token.

    Its workers have the credentials of the tests' S3 server, and are not niced: other tests would starve them. Its
    temporary folder is its own, for Ray's job server sends jobs to the cluster that signed in there last.
    """
    scratch = Path(tempfile.mkdtemp(prefix="ovl-"))
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    cluster = RayCluster(scratch, {"PATH": path, "RAY_worker_niceness": "0"})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, cluster.environment[name])
        read_environment()
        try:
            yield cluster.start(dashboard=True)
        finally:
            cluster.close()
            shutil.rmtree(scratch, ignore_errors=True)


def invoke(*arguments: str) -> Ran:
    """An `overlap` command in this process; where `cluster` is there, it runs on that."""
    from overlap.cli import main

    started = monotonic()
    done = CliRunner().invoke(main, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr, monotonic() - started)


@pytest.fixture(scope="session")
def run(cluster: RayCluster) -> Run:
    """Run a study through the command line, in this process, on the tests' cluster."""
    return lambda study, *arguments: invoke("run", str(study.path), "--json", *arguments)
