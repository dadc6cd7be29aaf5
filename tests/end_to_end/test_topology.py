"""The topology of the compose file and the charts without containers: S3 server, MLflow server on a database, a Ray
head and two workers, a study submitted to them; then MLflow and the dashboard are looked at as a person does."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import overlap
from tests.end_to_end.test_on_servers import objects_in
from tests.ray_cluster import TOKEN, RayCluster
from tests.servers import SeaweedFS
from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import invoke
from tests.view.browser import browsing, chromium
from tests.view.mlflow_server import mlflow_server
from tests.workflows.jobs import tiny
from workflows.submission import folder as packing
from workflows.submission.connection import connect

BUCKET = "overlap-topology"


@dataclass
class Topology:
    study: SmallStudy
    head: RayCluster
    mlflow: str
    said: dict[str, Any]
    """What `overlap submit --json` printed."""
    stored: dict[str, bytes]


@pytest.fixture(scope="module")
def topology(head: RayCluster, s3_server: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    folder = tmp_path_factory.mktemp("topology")
    study = tiny(folder / "study")
    _to_bucket(study, s3_server)
    (folder / "server").mkdir()
    workers = [head.add_node(cpus=1) for _ in range(2)]
    try:
        with mlflow_server(folder / "server") as mlflow:
            study.write(tracking={"uri": mlflow})
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(packing, "_own", partial(_ours, packing._own(), folder / "__init__.py"))
                ran = invoke("submit", str(study.path), "--address", head.dashboard_url, "--json")
            assert ran.code == 0, ran
            yield Topology(study, head, mlflow, json.loads(ran.stdout), objects_in(s3_server, BUCKET, "store/"))
    finally:
        for worker in workers:
            head.kill_node(worker)


def _ours(files: dict[str, Path], changed: Path) -> dict[str, Path]:
    """Overlap as it travels, with a version by which it can be told from what the nodes have."""
    changed.write_text(
        re.sub('__version__ = "(.*)"', r'__version__ = "\1+sent"', files["overlap/__init__.py"].read_text())
    )
    return {**files, "overlap/__init__.py": changed}


def _to_bucket(study: SmallStudy, s3_server: SeaweedFS) -> None:
    """Shards and weights move into the bucket; the study file and its code stay."""
    s3_server.create_bucket(BUCKET)
    client = s3_server.client()
    for path in (*(study.folder / "data").glob("*.tar"), *(study.folder / "weights").iterdir()):
        client.upload_file(str(path), BUCKET, f"{path.parent.name}/{path.name}")
        path.unlink()
    for entry in study.entries:
        entry["weights"] = f"s3://{BUCKET}/{entry['weights']}"
    study.write(
        **{DATA: {"shards": f"s3://{BUCKET}/data/part-{{000000..000001}}.tar"}},
        store={"uri": f"s3://{BUCKET}/store", "endpoint_url": s3_server.endpoint_url},
    )


def test_the_study_is_in_the_bucket(topology: Topology) -> None:
    """Computed by the overlap that was sent, not by that of the nodes."""
    stored, said = topology.stored, topology.said
    assert said["exit_code"] == said["outcome"]["exit_code"] == 0
    (outcome,) = said["outcome"]["outcomes"]
    assert (outcome["units"], outcome["computed"], outcome["tracking_error"]) == (4, 4, None)
    assert json.loads(stored[f"jobs/{said['id']}.json"])["outcomes"] == [outcome]
    models = pl.read_parquet(io.BytesIO(stored[f"results/{DATA}/models.parquet"]))
    assert models["model"].to_list() == ["net-0", "net-1"]
    assert set(models["n"]) == {40}
    assert not [key for key in stored if key.startswith("check/")]
    records = [json.loads(body) for key, body in stored.items() if key.startswith("records/")]
    assert [record["provenance"]["overlap"] for record in records] == [f"{overlap.__version__}+sent"] * 4


def test_no_secret_is_in_the_job(topology: Topology, s3_server: SeaweedFS) -> None:
    job = connect(topology.head.dashboard_url).get_job_info(topology.said["id"])
    assert set(job.runtime_env["env_vars"]) == {"OVERLAP_SUBMISSION", "OVERLAP_SUBMISSION_SESSION"}
    told = json.dumps([job.runtime_env, job.metadata, job.entrypoint, job.message])
    assert s3_server.secret_key not in told
    assert TOKEN not in told


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if chromium() is None:
        pytest.skip("no Chromium with its driver here")
    with browsing(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def shows(browser: Any, *texts: str) -> str:
    """The text of the page, once it holds all of these."""
    until = time.monotonic() + 60
    while True:
        page = str(browser.execute_script("return document.body ? document.body.innerText : ''"))
        if all(text in page for text in texts):
            return page
        assert time.monotonic() < until, page[-2000:]
        time.sleep(0.1)


def test_the_dashboard_shows_the_job(topology: Topology, browser: Any) -> None:
    url = topology.head.dashboard_url
    browser.get(url)
    browser.add_cookie({"name": "ray-authentication-token", "value": TOKEN})
    browser.get(f"{url}/#/jobs")
    shows(browser, topology.said["id"], "SUCCEEDED")
    browser.get(f"{url}/#/cluster")
    shows(browser, "ALIVE")


def test_mlflow_shows_the_study(topology: Topology, browser: Any) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=topology.mlflow)
    (experiment,) = [found for found in client.search_experiments() if found.name == "small"]
    browser.get(f"{topology.mlflow}/#/experiments/{experiment.experiment_id}/runs")
    # Parents are shown, and a checkpoint's run is a child; the count is of all.
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags.get("overlap.model") for run in runs} >= {"net-0", "net-1"}
    shows(browser, "overlap run", f"{DATA} (", f"{len(runs)} matching runs")
