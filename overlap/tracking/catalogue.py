"""What MLflow already holds of one experiment, and how its nouns are made: experiment, run, LoggedModel, dataset.

Everything of ours carries the tag `overlap.key`; nothing without it is ever touched. Deleted runs and models count as
absent.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from overlap.errors import TrackingError
from overlap.identity import SHORT, fingerprint
from overlap.report.results import Results
from overlap.tracking.entries import Entry
from overlap.tracking.server import artifacts_beside, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

KEY = "overlap.key"
CONTENT = "overlap.content"
PAGE = 1000
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's pages open on traces and prompts."""
EXTERNAL = "mlflow.model.isExternal"
"""The tag by which `mlflow.create_external_model` marks a model whose weights lie elsewhere."""


class Catalogue:
    """One experiment, read by whole listings: a request per thousand runs, not one per run."""

    def __init__(self, client: MlflowClient, uri: str, study: str) -> None:
        """Find or create the experiment.

        Raises:
            TrackingError: an experiment of this name was deleted and still holds the name.
        """
        self._client = client
        self._uri = uri
        self.experiment = self._experiment(study)

    def _experiment(self, study: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(study)
        if found is None:
            try:
                return str(self._client.create_experiment(study, artifacts_beside(self._uri), EXPERIMENT_TAGS))
            except MlflowException:
                found = self._client.get_experiment_by_name(study)  # another driver was quicker
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"MLflow at {shown(self._uri)}: the experiment {study!r} is deleted; "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}` or rename the study"
            )
        return str(found.experiment_id)

    def runs(self) -> dict[str, Run]:
        """Our active runs by key; of twins the older."""
        found: dict[str, Run] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment],
                f"tags.`{KEY}` LIKE '%'",
                max_results=PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                found.setdefault(run.data.tags[KEY], run)
            token = page.token
            if not token:
                return found

    def models(self) -> dict[str, LoggedModel]:
        """Our LoggedModels by key; of twins the older."""
        found: dict[str, LoggedModel] = {}
        token: str | None = None
        while True:
            page = self._client.search_logged_models(
                [self.experiment],
                max_results=PAGE,
                order_by=[{"field_name": "creation_time", "ascending": True}],
                page_token=token,
            )
            for model in page:
                if KEY in model.tags:
                    found.setdefault(model.tags[KEY], model)
            token = page.token
            if not token:
                return found

    def create_run(self, entry: Entry, tags: Mapping[str, str]) -> Run:
        """A run that carries its key from its first moment."""
        return self._client.create_run(self.experiment, tags={**tags_of(entry), **tags}, run_name=entry.name)

    def model(self, entry: Entry, run: Run, known: Mapping[str, LoggedModel]) -> LoggedModel:
        """The LoggedModel of a checkpoint, shared by its runs on several data sets.

        These are the steps of `mlflow.create_external_model`, which itself only knows the process-wide tracking URI.
        """
        from mlflow.models.model import MLMODEL_FILE_NAME
        from mlflow.models.utils import get_external_mlflow_model_spec

        identity = {"model": entry.identity["model"], "fingerprint": entry.identity["fingerprint"]}
        key = fingerprint({"kind": "model", **identity})
        tags = {KEY: key, EXTERNAL: "true"} | {
            f"overlap.{name}": text for name, text in (identity | dict(entry.params)).items()
        }
        model = known.get(key)
        if model is None:
            name = re.sub(r"[/:.%\"']", "-", identity["model"])  # characters MLflow forbids; the tag has the id itself
            model = self._client.create_logged_model(
                self.experiment,
                name=name,
                source_run_id=run.info.run_id,
                tags=tags,
                params=identity,
                model_type="classifier",
            )
        elif any(model.tags.get(name) != text for name, text in tags.items()):
            self._client.set_logged_model_tags(model.model_id, tags)
        if model.status != "READY":
            with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
                get_external_mlflow_model_spec(model).save(f"{folder}/{MLMODEL_FILE_NAME}")
                self._client.log_model_artifacts(model.model_id, folder)
            model = self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def link(self, run: Run, dataset: tuple[str, str], model: LoggedModel | None) -> None:
        """Say that a run looked at this dataset, and which model it evaluated. MLflow keeps one link of each."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput

        name, digest = dataset
        entity = Dataset(name=name, digest=digest, source_type="overlap", source=f'{{"data": "{name}"}}')
        context = InputTag("mlflow.data.context", "evaluation")
        self._client.log_inputs(
            run.info.run_id,
            datasets=[DatasetInput(entity, [context])],
            models=[LoggedModelInput(model.model_id)] if model else None,
        )


def dataset_of(results: Results) -> tuple[str, str]:
    """Name and digest of the dataset as MLflow knows it (a digest there holds 36 characters at most)."""
    return results.data, results.dataset_digest[:SHORT]


def tags_of(entry: Entry) -> dict[str, str]:
    """The tags an entry's run carries, all but the one that says it is filled."""
    named = {f"overlap.{name}": text for name, text in (dict(entry.identity) | dict(entry.about)).items()}
    training = {name: text for name, text in entry.params.items() if entry.kind == "checkpoint"}
    return {KEY: entry.key, "overlap.kind": entry.kind, **named, **training}
