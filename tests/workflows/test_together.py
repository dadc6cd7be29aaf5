"""Two schedules at the same time are one: one set of results, one run of each kind in MLflow, one notification."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from overlap.published import read_results
from overlap.store import kept, layout
from overlap.store.location import open_objects
from overlap.store.objects import Objects
from overlap.study import load_study
from tests.ray_cluster import RayCluster
from tests.servers import SeaweedFS
from tests.small_study import DATA, Command, SmallStudy, net
from tests.study_fixtures import invoke
from tests.workflows.jobs import tiny
from workflows.plan import location

HEARD = "heard.jsonl"


def _tiny(folder: Path, store: dict[str, str] | None) -> SmallStudy:
    study = tiny(folder)
    script = folder / "tell.sh"
    script.write_text(f"#!/bin/sh\ncat >> {HEARD}; echo >> {HEARD}\n", encoding="utf-8")
    script.chmod(0o755)
    sections = {"tracking": {"uri": "sqlite:///mlflow.db"}, "notify": {"command": ["./tell.sh"]}}
    study.write(**sections, **({"store": store} if store else {}))
    return study


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_two_at_a_time(tmp_path: Path, scratch: Path, s3_server: SeaweedFS, kind: str) -> None:
    store = None
    if kind == "bucket":
        bucket = s3_server.create_bucket("overlap-together")
        store = {"uri": f"s3://{bucket}/store", "endpoint_url": s3_server.endpoint_url}
    study = _tiny(tmp_path / "study", store)
    first = study.run(scratch=scratch, timeout=240)
    assert first.code == 0, first
    assert first.outcome["news"] is None, "before a first reduction there is nothing"
    study.add(net("newcomer", 7, width=24))

    schedules = [Command("run", str(study.path), "--if-new", "--json", scratch=scratch) for _ in range(2)]
    try:
        ran = [command.wait(240) for command in schedules]
    finally:
        for command in schedules:
            command.end()

    assert [one.code for one in ran] == [0, 0], ran
    assert all("new: 1 added: newcomer" in one.stderr for one in ran), ran
    objects = open_objects(location(load_study(study.path)))
    results = read_results(DATA, objects)
    assert results is not None
    assert results.news is not None
    assert [(one["model"], one["change"]) for one in results.news["models"]] == [("newcomer", "added")]
    assert results.news["since"] == first.outcome["inputs"]
    _written_once(objects, results.inputs_digest)
    heard = [json.loads(line) for line in (study.folder / HEARD).read_text().splitlines()]
    assert [(one["event"], one["inputs"]) for one in heard] == [
        ("news", first.outcome["inputs"]),
        ("news", results.inputs_digest),
    ]
    client = MlflowClient(tracking_uri=f"sqlite:///{study.folder}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "small"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert Counter(run.data.tags["overlap.kind"] for run in runs) == {"checkpoint": 3, "reduction": 2, "invocation": 2}
    assert len({run.data.tags["overlap.key"] for run in runs}) == len(runs), "no twins"
    assert len(client.search_logged_models([experiment.experiment_id])) == 3
    last = invoke("run", str(study.path), "--if-new", "--json")
    assert last.outcome["new"] is False


def _written_once(objects: Objects, inputs: str) -> None:
    """Of what is at the fixed names and what is beside them under its digest the bytes are the same."""
    beside = [info.key for info in objects.list(layout.results(DATA, "", inputs=inputs))]
    assert len(beside) > 5
    for key in beside:
        name = key.rpartition("/")[2]
        if name == kept.ASKED:  # what a reduction asks for is told beside its tables alone
            continue
        assert objects.get(key) == objects.get(layout.results(DATA, name)), name


def test_a_cluster_is_sent_a_job_only_if_something_is_new(tmp_path: Path, head: RayCluster) -> None:
    study = tiny(tmp_path / "study")
    asked = ("run", str(study.path), "--if-new", "--shared", str(study.folder), "--json", "--address")
    sent = invoke(*asked, head.dashboard_url)
    assert sent.code == 0, sent
    assert "new: nothing was published yet; 2 checkpoints" in sent.stderr
    assert json.loads(sent.stdout)["exit_code"] == 0
    assert json.loads(sent.stdout)["state"] == "submitted"

    nowhere = "http://127.0.0.1:9"
    assert invoke(*asked, nowhere).code == 0, "what needs no cluster asks none"
    again = invoke(*asked, nowhere)
    assert (again.code, again.outcome["new"]) == (0, False), again

    study.remove("net-1")
    study.add(net("net-2", 2))
    refused = invoke(*asked, nowhere)
    assert refused.code == 2
    assert "new: 1 added: net-2; 1 withdrawn: net-1" in refused.stderr
    detached = invoke(*asked, head.dashboard_url, "--detach")
    assert detached.code == 0, detached
    told = json.loads(detached.stdout)
    followed = invoke("logs", told["id"], "--follow", "--address", head.dashboard_url)
    assert followed.code == 0, followed
    assert "net-2" in study.fingerprints()
