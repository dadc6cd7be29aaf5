"""Nodes that cannot do what a study asks for are found, and named with the mend, before a GPU is taken."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest
import ray

from overlap.errors import StudyError
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study, load_study
from tests.ray_cluster import RayCluster
from tests.servers import SeaweedFS
from tests.small_study import ROOT
from tests.web_server import WebServer
from tests.workflows.jobs import Heard, tiny
from tests.workflows.lacking import another_version, no_overlap
from workflows.nodes.preflight import Fault, check, inspect

SLOW_CLOCK = """
import time
right = time.time
time.time = lambda: right() - 1200
"""
"""In a node's `sitecustomize`: its Python tells another time; the machine has one clock only."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with WebServer(tmp_path_factory.mktemp("web")).running() as server:
        yield server


@pytest.fixture(scope="module")
def study(s3_server: SeaweedFS, web: WebServer, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Its store is a bucket, its shards are on a web server."""
    made = tiny(tmp_path_factory.mktemp("preflight") / "study")
    for path in (made.folder / "data").glob("*.tar"):
        shutil.copy(path, web.folder)
    bucket = s3_server.create_bucket("overlap-preflight")
    made.write(
        digits={"shards": f"{web.url.replace('127.0.0.1', 'localhost')}/part-{{000000..000001}}.tar"},
        store={"uri": f"s3://{bucket}/store", "endpoint_url": s3_server.endpoint_url},
    )
    return load_study(made.path)


@pytest.fixture(scope="module")
def objects(study: Study) -> Objects:
    return open_objects(Location(study.store.uri, study.store.endpoint_url))


@pytest.fixture(scope="module")
def faults(
    study: Study, objects: Objects, cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Fault]:
    """What is found when four nodes are there, each of which lacks something else, by what it lacks."""
    other = tmp_path_factory.mktemp("other")
    lacks = {
        "version": another_version(other / "version"),
        "overlap": no_overlap(other / "hollow"),
        "secret": {"AWS_SECRET_ACCESS_KEY": "another"},
        "network": {"http_proxy": "http://127.0.0.1:9", "no_proxy": f"127.0.0.1,{ray.util.get_node_ip_address()}"},
        "clock": {"PYTHONPATH": f"{other / 'clock'}{os.pathsep}{ROOT}"},
    }
    (other / "clock").mkdir()
    (other / "clock" / "sitecustomize.py").write_text(SLOW_CLOCK)
    marks: list[str] = []
    try:
        for name, environment in lacks.items():
            marks.append(cluster.add_node(environment=environment, name=name))
        names = {node["NodeID"][:8]: node["NodeName"] for node in ray.nodes() if node["Alive"]}
        found = {names[fault.node[-9:-1]]: fault for fault in inspect(study, objects)}
        with pytest.raises(StudyError, match=r"^node .* \(and 4 more nodes\)$"):
            check(study, objects, Heard())
    finally:
        for mark in marks:
            cluster.kill_node(mark)
    assert list(objects.list("check/")) == [], "nothing is left in the store"
    assert found.keys() == lacks.keys(), found
    return found


def test_another_version(faults: dict[str, Fault]) -> None:
    assert faults["version"].grave
    assert re.match(r"has overlap 0.0.1, and the driver \S+; install the same on both$", faults["version"].said)


def test_overlap_is_not_there(faults: dict[str, Fault]) -> None:
    assert faults["overlap"].grave
    assert faults["overlap"].said.startswith("cannot run overlap (")
    assert "No module named" in faults["overlap"].said
    assert "\n" not in faults["overlap"].said


def test_a_store_that_refuses_a_node(faults: dict[str, Fault]) -> None:
    assert faults["secret"].grave
    assert faults["secret"].said.startswith("does not see the store s3://overlap-preflight/store (")
    assert "SignatureDoesNotMatch" in faults["secret"].said


def test_a_server_of_images_that_only_the_driver_reaches(faults: dict[str, Fault]) -> None:
    assert faults["network"].grave
    assert re.match(
        r"does not reach http://localhost:\d+/part-000000.tar \(.*which the driver does", faults["network"].said
    )


def test_a_clock_that_differs(faults: dict[str, Fault]) -> None:
    assert faults["clock"].grave
    seconds = re.match(r"has a clock that is (\d+) s behind the driver's; start NTP on both: S3", faults["clock"].said)
    assert seconds, faults["clock"]
    assert 1100 < int(seconds[1]) <= 1201


def test_nothing_to_say_of_nodes_that_are_well(study: Study, objects: Objects, cluster: RayCluster) -> None:
    node = cluster.add_node()
    try:
        heard = Heard()
        check(study, objects, heard)
        assert heard.lines == []
    finally:
        cluster.kill_node(node)
