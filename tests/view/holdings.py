"""What the tracking tests share: one way to sync, and what MLflow then holds."""

from __future__ import annotations

import dataclasses

from overlap.report import Results, draw_figures, render_page
from overlap.tracking import Tracker
from overlap.tracking.server import connect
from tests.view.frames import simulated

MODELS = 6


def sync(uri: str, results: Results, call: str = "first"):
    tracker = Tracker(uri, results.study, invocation=call, about={"command": "overlap run", "overlap": "0.1.0"})
    return tracker.sync(results, lambda: draw_figures(results), lambda: render_page(results))


def zoo(study: str, models: int = MODELS, **changes) -> Results:
    return dataclasses.replace(simulated(models, images=200), study=study, **changes)


def holdings(uri: str, study: str):
    client = connect(uri)
    experiment = client.get_experiment_by_name(study)
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    runs = [client.get_run(run.info.run_id) for run in found]  # a search leaves the links to models out
    models = client.search_logged_models([experiment.experiment_id], max_results=100)
    datasets = {(one.dataset.name, one.dataset.digest) for run in runs for one in run.inputs.dataset_inputs}
    return client, runs, list(models), datasets


def of_kind(runs, kind: str):
    return [run for run in runs if run.data.tags["overlap.kind"] == kind]


def histories(client, run) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
