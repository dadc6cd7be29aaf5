"""A fan-out on real Ray nodes of one machine, with declared GPUs: who takes part, what is lost, what is told."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from overlap.errors import StudyError
from overlap.report.schedule import balance, workers
from overlap.store import schedules
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.small_study import DATA, SmallStudy, net
from workflows.plan import Plan, location, make_plan
from workflows.predicting import fanout
from workflows.predicting.crew import Crew
from workflows.predicting.fanout import FanOut, FanOutResult
from workflows.predicting.metrics import COUNTERS, GAUGES

CPU = {"OVERLAP_DEVICE": "cpu", "RAY_metrics_report_interval_ms": "500"}
CHECKPOINTS = 4
PATIENCE = 120.0


@dataclass
class Staged:
    """A study whose networks wait for a file."""

    plan: Plan
    crew: Crew
    gate: Path

    @property
    def objects(self) -> Objects:
        return open_objects(location(self.plan.study))


def until(holds: Callable[[], object], what: str, lacking: Callable[[], object] = str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"never: {what} {lacking()}"
        time.sleep(0.02)


@pytest.fixture
def staged(tmp_path: Path, cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staged]:
    monkeypatch.setattr(fanout, "REFRESH", 0.5)
    gate = tmp_path / "go"
    entries = [net(f"net-{n}", n, factory="small_nets:Waits.build", until=str(gate)) for n in range(CHECKPOINTS)]
    study = load_study(SmallStudy.make(tmp_path / "study", entries).path)
    crew = Crew(study)
    yield Staged(make_plan(study, DATA), crew, gate)
    crew.dismiss()


@dataclass
class Watched:
    """What a fan-out came to on nodes that came and went."""

    staged: Staged
    result: FanOutResult
    schedule: pl.DataFrame
    early: str
    killed: str
    late: str
    holding: dict[str, int]
    """Units that the killed node's workers had when it was killed, by worker."""
    scraped: str


@pytest.fixture
def watched(staged: Staged, cluster: RayCluster) -> Iterator[Watched]:
    """One node from the start; two join while it is at work; one of those is killed before any unit is done."""
    marks: list[str] = []
    ids: list[str] = []
    holding: dict[str, int] = {}
    failures: list[BaseException] = []
    crew = staged.crew

    def join(gpus: int) -> None:
        marks.append(cluster.add_node(cpus=1, gpus=gpus, environment=CPU))

        def leased() -> bool:
            new = [node for node in list(crew.nodes) if node not in ids]
            return bool(new) and all(w.leases for w in list(crew.workers) if w.node.id in new)

        until(leased, "leases on a node that joined")
        ids.extend(node for node in list(crew.nodes) if node not in ids)

    def events() -> None:
        try:
            until(lambda: crew.workers and all(w.leases for w in list(crew.workers)), "leases on the first node")
            ids.extend(crew.nodes)
            join(2)
            join(1)
            for worker in [w for w in crew.workers if w.node.id == ids[1]]:
                holding[worker.name] = sum(len(lease.shards) for lease in list(worker.leases.values()))
            cluster.kill_node(marks[1])
            until(lambda: ids[1] not in crew.nodes, "the driver notices that a node is gone")
        except BaseException as error:
            failures.append(error)
        finally:
            staged.gate.touch()

    marks.append(cluster.add_node(cpus=1, gpus=1, environment=CPU))
    watcher = threading.Thread(target=events, daemon=True)
    scraped = Scraped()
    try:
        watcher.start()
        scraped.start()
        result = FanOut(staged.plan, crew).run()
        watcher.join(PATIENCE)
        assert not failures, failures
        schedule = schedules.newest(DATA, staged.objects)
        assert schedule is not None

        def told() -> bool:
            done = sum(values(scraped.text, "ray_overlap_units_done_total", ids)) >= staged.plan.units
            shown = all(len(values(scraped.text, f"ray_{name}", ids)) == 2 for name in GAUGES)
            return done and shown and not absent()

        def absent() -> set[str]:
            """What our dashboards ask of Ray itself, and nobody tells."""
            return dashboard_metrics() - {f"ray_{name}_total" for name in COUNTERS} - told_names(scraped.text)

        def lacking() -> object:
            ours = {name: values(scraped.text, f"ray_{name}", ids) for name in (*GAUGES, "overlap_units_done_total")}
            return f"(told {ours}, absent {absent()})"

        until(told, "our metrics at the nodes' ports", lacking)
        yield Watched(staged, result, schedule, ids[0], ids[1], ids[2], holding, scraped.text)
    finally:
        scraped.stop()
        staged.gate.touch()
        crew.dismiss()
        for mark in marks:
            cluster.kill_node(mark)


class Scraped(threading.Thread):
    """What nodes have told Prometheus since this began, each series by its last value: Ray forgets a gauge two seconds
    after it was set, and one worker may end long before another."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._lines: dict[str, str] = {}

    @property
    def text(self) -> str:
        return "\n".join(list(self._lines.values()))

    def run(self) -> None:
        while not self._ended.wait(0.3):
            for line in scrape().splitlines():
                self._lines[line if line.startswith("#") else line.rsplit(" ", 1)[0]] = line

    def stop(self) -> None:
        self._ended.set()
        self.join(PATIENCE)


def scrape() -> str:
    """What all nodes that are alive tell Prometheus."""
    import ray

    texts = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            place = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
            try:
                with urllib.request.urlopen(place, timeout=10) as answer:
                    texts.append(answer.read().decode())
            except OSError:
                continue
    return "\n".join(texts)


def values(text: str, name: str, nodes: Sequence[str]) -> list[float]:
    """What the workers on some nodes tell: other tests' workers were on other nodes of the same cluster."""
    lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    told = [line for line in lines if any(f'node="{node[:12]}"' in line for node in nodes)]
    return [float(line.rsplit(" ", 1)[1]) for line in told]


def test_nodes_that_come_and_go(watched: Watched) -> None:
    units = watched.staged.plan.units
    schedule = watched.schedule
    back, lost = schedule.filter(~pl.col("lost")), schedule.filter("lost")

    assert watched.result.computed == units == CHECKPOINTS * 6
    assert watched.result.failed == {}
    assert sorted(set(back["node"])) == sorted([watched.early, watched.late]), "the late node takes part"
    assert set(lost["node"]) == {watched.killed}
    assert dict(lost.group_by("worker").agg(pl.col("units").sum()).iter_rows()) == watched.holding
    done = back.explode("shards").select("fingerprint", "shards")
    assert done.height == done.n_unique() == units, "every unit came back once"
    again = lost.explode("shards").select("fingerprint", "shards")
    assert again.join(done, on=["fingerprint", "shards"], how="anti").is_empty(), "what was lost was computed elsewhere"

    # The record: durations are the workers', positions the driver's.
    assert dict(schedule.schema) == dict(schedules.COLUMNS)
    spent = back["loading"] + back["computing"] + back["storing"]
    assert (back["finished"] - back["started"] - spent).abs().max() < 1e-3  # type: ignore[operator]
    assert (back["submitted"] <= back["finished"]).all()
    assert (back["waiting"] >= 0).all()
    assert back["images"].sum() == CHECKPOINTS * 240
    whole = balance(schedule)
    assert whole is not None
    assert (whole.units, whole.workers, whole.lost) == (units, 2, sum(watched.holding.values()))
    assert whole.ratio >= 1.0
    table = workers(schedule)
    assert table["units"].sum() == units
    assert table["last"].max() == pytest.approx(whole.makespan)

    # Prometheus: what the workers told, and everything that the dashboard asks for.
    nodes = (watched.early, watched.late)
    assert sum(values(watched.scraped, "ray_overlap_units_done_total", nodes)) == units
    assert sum(values(watched.scraped, "ray_overlap_images_total", nodes)) == CHECKPOINTS * 240
    for name in ("ray_overlap_decode_wait_share", "ray_overlap_device_busy_share"):
        shares = values(watched.scraped, name, nodes)
        assert len(shares) == 2
        assert all(0 <= share <= 1 for share in shares)
    assert all(value > 0 for value in values(watched.scraped, "ray_overlap_images_per_second", nodes))
    ours = {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}" for name in GAUGES}
    assert ours <= dashboard_metrics()
    assert dashboard_metrics() - ours <= told_names(watched.scraped)


def told_names(text: str) -> set[str]:
    """The metrics that a scrape holds."""
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}


def dashboard_metrics() -> set[str]:
    """Every metric that a panel of the Grafana dashboard names."""
    text = (Path(__file__).parents[2] / "infra" / "grafana" / "overlap.json").read_text(encoding="utf-8")
    asked = [target["expr"] for panel in json.loads(text)["panels"] for target in panel.get("targets", [])]
    return {name for expression in asked for name in re.findall(r"\bray_\w+", expression)}


def test_a_declared_gpu_that_torch_does_not_see(staged: Staged, cluster: RayCluster) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU that torch sees")
    mark = cluster.add_node(cpus=1, gpus=1)
    try:
        with pytest.raises(StudyError, match=r"has GPUs for Ray, but torch finds none there .*--num-gpus=0"):
            FanOut(staged.plan, staged.crew).run()
    finally:
        staged.crew.dismiss()
        cluster.kill_node(mark)
