"""MLflow is a view: with its server stopped a study succeeds and says so, and `sync` fills it in later, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mlflow import MlflowClient

from tests.small_study import DATA, SmallStudy
from tests.study_fixtures import Run, invoke
from tests.view.mlflow_server import free_port, mlflow_server


def _holdings(uri: str) -> tuple[Counter[str], int, int]:
    """Runs by kind, metric values in all their histories, and logged models."""
    client = MlflowClient(tracking_uri=uri)
    (experiment,) = [found for found in client.search_experiments() if found.name == "small"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = Counter(run.data.tags.get("overlap.kind", "?") for run in runs)
    values = sum(len(client.get_metric_history(run.info.run_id, name)) for run in runs for name in run.data.metrics)
    return kinds, values, len(client.search_logged_models([experiment.experiment_id]))


def test_server_down_then_filled_once(complete: SmallStudy, run: Run, tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    complete.write(tracking={"uri": uri})
    (complete.store / "results" / DATA / "reduction.json").unlink()

    ran = run(complete)

    assert ran.code == 0, ran
    assert ran.outcome["reduced"]
    assert uri in ran.outcome["tracking_error"]
    assert len(ran.complaints) == 1, ran
    assert ran.complaints[0].startswith(f"warning: MLflow at {uri} does not answer")
    assert ran.complaints[0].endswith(f"`overlap sync {complete.path}` fills it in later")
    assert ran.seconds < 60

    refused = invoke("sync", str(complete.path))
    assert refused.code == 2, refused
    assert len(refused.complaints) == 1
    assert refused.complaints[0].startswith(f"error: MLflow at {uri} does not answer")

    server = tmp_path / "server"
    server.mkdir()
    with mlflow_server(server, port):
        filled = invoke("sync", str(complete.path))
        assert filled.code == 0, filled
        first = _holdings(uri)
        assert first[0]["checkpoint"] == 7, first
        assert first[0]["reduction"] == 1, first
        assert first[2] == 7

        for again in (invoke("sync", str(complete.path)), run(complete)):
            assert again.code == 0, again
            assert again.complaints == []
            assert _holdings(uri) == first
