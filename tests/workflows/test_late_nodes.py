"""Nodes that join while units are computed: looked at first, used only when they can do what the others do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from overlap.store import schedules
from overlap.store.location import open_objects
from overlap.study import Study, load_study
from tests.ray_cluster import RayCluster
from tests.small_study import DATA, SmallStudy, net
from tests.workflows.jobs import Heard, until
from tests.workflows.lacking import another_version, no_overlap
from workflows.nodes.preflight import CheckedCluster
from workflows.plan import location, make_plan
from workflows.predicting import fanout
from workflows.predicting.crew import Crew
from workflows.predicting.fanout import FanOut, FanOutResult

CPU = {"OVERLAP_DEVICE": "cpu"}
CHECKPOINTS = 4


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "go"
    yield path
    path.touch()


@pytest.fixture
def study(tmp_path: Path, gate: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Its networks wait for a file."""
    monkeypatch.setattr(fanout, "REFRESH", 0.5)
    entries = [net(f"net-{n}", n, factory="small_nets:Waits.build", until=str(gate)) for n in range(CHECKPOINTS)]
    return load_study(SmallStudy.make(tmp_path / "study", entries).path)


def test_late_nodes_are_looked_at_before_they_are_used(
    study: Study, gate: Path, cluster: RayCluster, tmp_path: Path
) -> None:
    """While all predictors wait, three nodes join: two are told once and left alone, the third gets a predictor."""
    heard, marks, failures = Heard(), list[str](), list[BaseException]()
    used: set[str] = set()
    lacks = {
        "another-version": another_version(tmp_path / "other"),
        "no-overlap": no_overlap(tmp_path / "hollow"),
    }

    def join(name: str, environment: dict[str, str]) -> None:
        marks.append(cluster.add_node(gpus=1, environment={**CPU, **environment}, name=name))

    def events(crew: Crew) -> None:
        try:
            until(lambda: crew.workers and all(worker.leases for worker in list(crew.workers)))
            for name, environment in lacks.items():
                join(name, environment)
            until(lambda: len(told(heard)) == 2)
            join("good", {})
            until(lambda: len(crew.nodes) == 2 and all(worker.leases for worker in list(crew.workers)))
        except BaseException as error:
            failures.append(error)
        finally:
            used.update(crew.nodes)
            gate.touch()

    join("first", {})
    result: FanOutResult | None = None
    try:
        with CheckedCluster(cluster.address, study, heard) as checked:
            checked.start()
            crew = Crew(study, checked.door)
            watcher = threading.Thread(target=events, args=(crew,), daemon=True)
            watcher.start()
            result = FanOut(make_plan(study, DATA), crew).run()
            watcher.join(120)
            crew.dismiss()
        names = {node["NodeID"]: node["NodeName"] for node in ray.nodes()}  # type: ignore[no-untyped-call]
    finally:
        gate.touch()
        for mark in marks:
            cluster.kill_node(mark)
    assert not failures, failures
    assert (result.computed, result.failed) == (CHECKPOINTS * 6, {})
    assert {names[node] for node in used} == {"first", "good"}
    schedule = schedules.newest(DATA, open_objects(location(study)))
    assert schedule is not None
    assert {names[node] for node in schedule["node"]} == {"first", "good"}
    assert not schedule["lost"].any(), "nothing was given to a node that could not do it"

    version, absent = sorted(told(heard), key=lambda line: "cannot run" in line)
    number = {name: node[:8] for node, name in names.items()}
    assert f"({number['another-version']}) has overlap 0.0.1, and the driver " in version
    assert "install the same on both; it joined late, and the others go on without it" in version
    assert f"({number['no-overlap']}) cannot run overlap (" in absent
    assert "No module named" in absent
    assert heard.lines == told(heard), "each is told once, and nothing of the others"
    assert list(open_objects(location(study)).list("check/")) == [], "nothing is left in the store"


def told(heard: Heard) -> list[str]:
    return [line for line in heard.lines if line.startswith("node ")]
