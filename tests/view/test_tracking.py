"""MLflow against real stores: SQLite and a server process. What is asserted is what MLflow itself gives back."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from overlap.analysis.shares import Z95, wilson
from overlap.report import draw_figures, render_page
from overlap.tracking import entries
from overlap.tracking.catalogue import CONTENT, KEY
from overlap.tracking.server import ENVIRONMENT
from tests.view.holdings import MODELS, histories, holdings, of_kind, sync, zoo
from tests.view.mlflow_server import mlflow_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('a folder')}/new/mlflow.db"


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    """A store that all tests of this module share, as studies do: each test is a study of its own."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    return f"study {request.node.name}"


def test_everything_is_there_once_and_a_second_sync_writes_nothing(uri: str, study: str) -> None:
    results = zoo(study)
    first = sync(uri, results)
    assert (first.created, first.updated, first.unchanged) == (MODELS + 1, 0, 0)
    client, runs, models, datasets = holdings(uri, study)
    before = {run.info.run_id: (run.data.tags, histories(client, run)) for run in runs}

    second = sync(uri, results, call="second")
    assert (second.created, second.updated, second.unchanged) == (0, 0, MODELS + 1)
    client, runs, models, datasets = holdings(uri, study)
    assert {run.info.run_id: (run.data.tags, histories(client, run)) for run in runs} == before
    assert (len(of_kind(runs, "checkpoint")), len(of_kind(runs, "reduction")), len(of_kind(runs, "invocation"))) == (
        MODELS,
        1,
        1,
    )
    assert len(models) == MODELS
    assert datasets == {("val", results.dataset_digest[:16])}
    assert all(run.info.status == "FINISHED" for run in runs)


def test_a_checkpoint_run_says_what_the_table_says(uri: str, study: str) -> None:
    results = zoo(study)
    sync(uri, results)
    client, runs, models, _ = holdings(uri, study)
    parent = of_kind(runs, "invocation")[0].info.run_id
    by_model = {model.tags["overlap.model"]: model for model in models}
    for row in results.models.to_dicts():
        run = next(run for run in of_kind(runs, "checkpoint") if run.data.tags["overlap.model"] == row["model"])
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert run.data.tags["overlap.fingerprint"] == row["fingerprint"]
        for column in ("accuracy", "top5", "nll", "ece", "temperature", "n"):
            assert run.data.metrics[column] == pytest.approx(row[column])
        assert "noise_floor_ei" not in run.data.metrics  # null in the table
        assert run.data.metrics["predict_seconds"] == 1.5
        assert run.data.metrics["accuracy_low"] < row["accuracy"] < run.data.metrics["accuracy_high"]
        assert run.data.params == {name: row[name] for name in entries.TRAINING if row[name] is not None}
        assert run.data.tags["architecture"] == row["architecture"]
        assert {step for points in histories(client, run).values() for step, _ in points} == {0}

        model = by_model[row["model"]]
        assert (model.status, model.source_run_id) == ("READY", run.info.run_id)
        assert [one.model_id for one in run.inputs.model_inputs] == [model.model_id]
        linked = {one.key: one for one in client.get_logged_model(model.model_id).metrics}
        assert linked["accuracy"].value == pytest.approx(row["accuracy"])
        assert (linked["accuracy"].dataset_name, linked["accuracy"].dataset_digest) == (
            "val",
            results.dataset_digest[:16],
        )


def test_the_reduction_holds_tables_figures_page_and_steps(uri: str, study: str, tmp_path: Path) -> None:
    results = zoo(study)
    sync(uri, results)
    client, runs, _, _ = holdings(uri, study)
    run = of_kind(runs, "reduction")[0]
    got = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    for name, table in results.tables().items():
        assert pl.read_parquet(got / "tables" / f"{name}.parquet").equals(table)
    assert pl.read_csv(got / "tables" / "ensembles.csv").height == results.ensembles.height
    for figure in draw_figures(results):
        assert (got / "figures" / f"{figure.name}.svg").read_text() == figure.svg
    assert (got / "report.html").read_text() == render_page(results)

    wanted = results.ensembles.filter(pl.col("search") == "best single").sort("step")
    history = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "best single/accuracy_test")}
    assert history == pytest.approx(dict(wanted.select("step", "accuracy_test").iter_rows()))


def test_new_checkpoints_join_and_changed_numbers_replace(uri: str, study: str) -> None:
    results = zoo(study)
    models = results.models[:4]
    known = pl.col("model_a").is_in(models["model"].to_list()) & pl.col("model_b").is_in(models["model"].to_list())
    sync(uri, dataclasses.replace(results, models=models, pairs=results.pairs.filter(known)))
    grown = sync(uri, dataclasses.replace(results, inputs_digest="b" * 64), call="second")
    assert (grown.created, grown.updated, grown.unchanged) == (2 + 1, 0, 4)

    changed = results.models.with_columns(pl.col("nll") + 1)
    replaced = sync(uri, dataclasses.replace(results, models=changed, inputs_digest="b" * 64), call="third")
    assert (replaced.created, replaced.updated) == (0, MODELS)
    _, runs, models, _ = holdings(uri, study)
    shown_nll = {run.data.tags["overlap.model"]: run.data.metrics["nll"] for run in of_kind(runs, "checkpoint")}
    assert shown_nll == pytest.approx(dict(changed.select("model", "nll").iter_rows()))
    assert (len(models), len(of_kind(runs, "invocation"))) == (MODELS, 3)


def test_an_interrupted_run_is_completed_without_doubles(uri: str, study: str) -> None:
    results = zoo(study)
    sync(uri, results)
    client, runs, _, _ = holdings(uri, study)
    for run in runs:
        client.delete_tag(run.info.run_id, CONTENT)  # as if the driver had died before the last request
    again = sync(uri, results)
    assert (again.created, again.updated) == (0, MODELS + 1)
    client, after, models, datasets = holdings(uri, study)
    assert len(after) == len(runs)
    assert (len(models), len(datasets)) == (MODELS, 1)
    for run in of_kind(after, "checkpoint"):
        assert all(len(points) == 1 for points in histories(client, run).values())
        assert (len(run.inputs.model_inputs), len(run.inputs.dataset_inputs)) == (1, 1)


def test_other_training_columns_replace_the_run(uri: str, study: str) -> None:
    results = zoo(study)
    sync(uri, results)
    relabelled = results.models.with_columns(
        pl.Series("dataset", ["web-scale", *results.models["dataset"].to_list()[1:]])
    )
    done = sync(uri, dataclasses.replace(results, models=relabelled), call="second")
    assert (done.created, done.updated, done.unchanged) == (1, 0, MODELS)
    _, runs, models, _ = holdings(uri, study)
    name = results.models["model"][0]
    params = [
        run.data.params["dataset"] for run in of_kind(runs, "checkpoint") if run.data.tags["overlap.model"] == name
    ]
    assert params == ["web-scale"]
    assert [model.tags["overlap.dataset"] for model in models if model.tags["overlap.model"] == name] == ["web-scale"]
    assert len(models) == MODELS


def test_a_second_data_set_shares_the_models(uri: str, study: str) -> None:
    results = zoo(study)
    sync(uri, results)
    sync(uri, dataclasses.replace(results, data="val@relabelled", dataset_digest="c" * 64), call="second")
    _, runs, models, datasets = holdings(uri, study)
    assert len(of_kind(runs, "checkpoint")) == 2 * MODELS
    assert len(models) == MODELS
    assert {name for name, _ in datasets} == {"val", "val@relabelled"}


def test_our_models_are_what_create_external_model_makes(tmp_path: Path, study: str) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    results = zoo(study)
    sync(uri, results)
    code = f"""
import mlflow
mlflow.set_tracking_uri({uri!r})
experiment = mlflow.get_experiment_by_name({study!r})
mlflow.create_external_model(name="theirs", experiment_id=experiment.experiment_id)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | ENVIRONMENT)
    client, _, models, _ = holdings(uri, study)
    theirs = next(model for model in models if KEY not in model.tags)
    ours = next(model for model in models if KEY in model.tags)
    assert ours.tags["mlflow.model.isExternal"] == theirs.tags["mlflow.model.isExternal"] == "true"
    assert ours.status == theirs.status
    for model in (ours, theirs):
        assert [one.path for one in client.list_logged_model_artifacts(model.model_id)] == ["MLmodel"]


def test_wilson_matches_the_roots_of_its_definition() -> None:
    for share, n in ((0.0, 10), (0.5, 40), (0.93, 1500), (1.0, 7)):
        for bound in wilson(share, n):
            assert (share - bound) ** 2 == pytest.approx(Z95**2 * bound * (1 - bound) / n, abs=1e-12)
