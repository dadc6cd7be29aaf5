"""The same study with three lines changed: on a Ray cluster that runs already, an S3 bucket, and an MLflow server."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import overlap
from tests.ray_cluster import TOKEN, RayCluster
from tests.servers import SeaweedFS
from tests.small_study import DATA, TABLES, Ran, SmallStudy, equal, marked, read_tables
from tests.study_fixtures import Run, invoke
from tests.view.mlflow_server import mlflow_server

BUCKET = "overlap-end-to-end"


@pytest.fixture(scope="module")
def bucket(s3_server: SeaweedFS) -> str:
    return s3_server.create_bucket(BUCKET)


def on_s3(study: SmallStudy, s3_server: SeaweedFS, bucket: str, prefix: str, **sections: Any) -> None:
    """Shards, one checkpoint's weights, and the store are in the bucket; nothing but code stays in the folder."""
    client = s3_server.client()
    for path in sorted((study.folder / "data").glob("*.tar")):
        client.upload_file(str(path), bucket, f"{prefix}/data/{path.name}")
        path.unlink()
    client.upload_file(str(study.folder / study.entries[0]["weights"]), bucket, f"{prefix}/zoo/first.safetensors")
    study.entries[0]["weights"] = f"s3://{bucket}/{prefix}/zoo/first.safetensors"
    study.write(
        **{DATA: {"shards": f"s3://{bucket}/{prefix}/data/part-{{000000..000005}}.tar"}},
        store={"uri": f"s3://{bucket}/{prefix}/store", "endpoint_url": s3_server.endpoint_url},
        **sections,
    )


def objects_in(s3_server: SeaweedFS, bucket: str, prefix: str) -> dict[str, bytes]:
    client = s3_server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def certified(records: dict[str, bytes]) -> dict[str, str]:
    """Digest of the predictions by record."""
    return {key: json.loads(body)["bytes_digest"] for key, body in records.items()}


@dataclass
class OnServers:
    """The study after its first run there."""

    study: SmallStudy
    ran: Ran
    again: Ran
    stored: dict[str, bytes]
    """The store after the first run."""
    runs: list[Any]
    """In MLflow, after the second."""
    runs_before: int
    artifacts: set[str]


@pytest.fixture(scope="module")
def on_servers(
    undisturbed: SmallStudy,
    s3_server: SeaweedFS,
    bucket: str,
    cluster: RayCluster,
    scratch: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> OnServers:
    folder = tmp_path_factory.mktemp("servers")
    study = undisturbed.copy(folder / "study")
    shutil.rmtree(study.store)
    (folder / "server").mkdir()
    with mlflow_server(folder / "server") as uri:
        on_s3(study, s3_server, bucket, "whole", tracking={"uri": uri})
        arguments: dict[str, Any] = {"scratch": scratch, "environment": {"RAY_AUTH_TOKEN": TOKEN}}
        ran = study.run("--address", cluster.address, **arguments)
        stored = objects_in(s3_server, bucket, "whole/store/")
        client = MlflowClient(tracking_uri=uri)
        (experiment,) = [found for found in client.search_experiments() if found.name == "small"]
        before = len(client.search_runs([experiment.experiment_id]))
        again = invoke("run", str(study.path), "--json", "--address", cluster.address)
        runs = list(client.search_runs([experiment.experiment_id]))
        artifacts = {
            item.path
            for run in runs
            if run.data.tags.get("overlap.kind") == "reduction"
            for item in client.list_artifacts(run.info.run_id)
        }
    return OnServers(study, ran, again, stored, runs, before, artifacts)


def test_the_same_tables_as_in_a_folder(on_servers: OnServers, undisturbed: SmallStudy, bucket: str) -> None:
    ran, stored = on_servers.ran, on_servers.stored
    assert ran.code == 0, ran
    assert ran.complaints == []
    assert (ran.outcome["computed"], ran.outcome["images_decoded"]) == (42, 240)
    assert ran.outcome["tracking_error"] is None
    assert ran.outcome["report"] == f"s3://{bucket}/whole/store/results/{DATA}/report.html"
    assert equal(read_tables(stored.__getitem__), undisturbed.tables()) == []
    records = {key: body for key, body in stored.items() if key.startswith("records/")}
    assert certified(records) == certified(undisturbed.objects("records"))
    assert not on_servers.study.store.exists(), "nothing but the bucket was written"


def test_mlflow_says_the_same(on_servers: OnServers, undisturbed: SmallStudy) -> None:
    accuracies = {
        run.data.tags["overlap.model"]: run.data.metrics["accuracy"]
        for run in on_servers.runs
        if run.data.tags.get("overlap.kind") == "checkpoint"
    }
    models = undisturbed.tables()["models"]
    assert accuracies == dict(zip(models["model"], models["accuracy"], strict=True))
    assert [run.data.tags.get("overlap.kind") for run in on_servers.runs].count("reduction") == 1
    assert any("report" in name for name in on_servers.artifacts), on_servers.artifacts


def test_again_there_is_nothing_to_do(on_servers: OnServers, cluster: RayCluster) -> None:
    again = on_servers.again
    assert again.code == 0, again
    assert (again.outcome["units"], again.outcome["computed"], again.outcome["reduced"]) == (0, 0, False)
    assert len(on_servers.runs) == on_servers.runs_before
    assert any("raylet" in line for line in marked(cluster.mark).values()), "the cluster is left as it was"


def test_open_reads_a_bucket(on_servers: OnServers, undisturbed: SmallStudy, bucket: str, s3_server: SeaweedFS) -> None:
    opened = overlap.open(f"s3://{bucket}/whole/store", endpoint_url=s3_server.endpoint_url)
    assert {name: getattr(opened, name)().height for name in TABLES} == {
        name: table.height for name, table in undisturbed.tables().items()
    }
    assert opened.logits("resnet").shape == (240, 10)


def test_damage_in_a_bucket(
    on_servers: OnServers, undisturbed: SmallStudy, s3_server: SeaweedFS, bucket: str, run: Run
) -> None:
    """Truncated and deleted objects are found through S3 too, and their units alone are computed again."""
    stored, study = on_servers.stored, on_servers.study
    study.write(tracking={"uri": "none"})
    first, second = sorted(key for key in stored if key.startswith("predictions/"))[3:30:20]
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key=f"whole/store/{first}", Body=stored[first][:-7])
    client.delete_object(Bucket=bucket, Key=f"whole/store/{second}")
    for key in (key for key in stored if key.startswith("answers/")):  # else no logits would be read at all
        client.delete_object(Bucket=bucket, Key=f"whole/store/{key}")
    client.delete_object(Bucket=bucket, Key=f"whole/store/results/{DATA}/reduction.json")

    ran = run(study)

    assert ran.code == 0, ran
    assert ran.outcome["computed"] == 2
    told = [line for line in ran.stderr.splitlines() if line.startswith("damaged: ")]
    assert f"damaged: {first}; its unit is computed again" in told, ran
    assert f"damaged: {second}; its unit is computed again" in told, ran
    after = objects_in(s3_server, bucket, "whole/store/")
    assert equal(read_tables(after.__getitem__), undisturbed.tables()) == []
    assert all(after[key] == stored[key] for key in (first, second))
    new = {key for key in after if key.startswith("records/")} - {key for key in stored if key.startswith("records/")}
    assert len(new) == 2
    assert all(key.endswith(".1.json") for key in new)


def test_no_cluster_at_the_address(fresh: SmallStudy, scratch: Path) -> None:
    ran = fresh.run("--address", "127.0.0.1:1", scratch=scratch, environment={"RAY_AUTH_TOKEN": TOKEN})
    assert ran.code == 2, ran
    assert ran.stdout == ""
    assert ran.complaints[-1].startswith("error: no Ray cluster at '127.0.0.1:1' ("), ran
    assert ran.complaints[-1].endswith("start one there, or leave --address out to run here")
