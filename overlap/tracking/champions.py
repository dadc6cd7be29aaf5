"""The registered model of a study's best ensembles: its versions, which of them is champion, and how one is added.

Guarantees: a version is looked up by its tag before it is made, so that one ensemble is one version; the alias is moved
last, to a version that is whole. Two drivers that register at the same moment can still create twins, as with runs.
Versions and aliases that are not overlap's are never touched.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.ensemble.description import Description
from overlap.errors import TrackingError
from overlap.identity import fingerprint
from overlap.report.results import Results
from overlap.tracking import entries
from overlap.tracking.catalogue import KEY, Catalogue
from overlap.tracking.server import connect, shown, told

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
MEMBERS = "overlap.members"
"""Tag with the fingerprints in the order of their selection, one as often as it was taken."""
LAST = "overlap.last_challenge"
"""Tag of the registered model: who was last compared with the champion, and what came of it."""
CODE = Path(__file__).with_name("champion_model.py")
ARTIFACT = "ensemble"


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    key: str
    members: tuple[str, ...]
    """Fingerprints, as of `MEMBERS`."""


class Champions:
    """The registered model of one study."""

    def __init__(self, uri: str, study: str, name: str) -> None:
        """Connect.

        Args:
            uri: of the tracking server, which is the registry too.
            study: name of the experiment that the model belongs to.
            name: of the registered model.

        Raises:
            TrackingError: MLflow does not answer or refuses.
        """
        self.uri, self.name = uri, name
        self._client = connect(uri)
        with told(uri):
            self._catalogue = Catalogue(self._client, uri, study)

    def present(self) -> Version | None:
        """The champion; None where there is none yet.

        Raises:
            TrackingError: MLflow refuses, or the alias is on a version that is not overlap's.
        """
        with told(self.uri):
            for model in self._client.search_registered_models(f"name = '{self.name}'"):
                if ALIAS in model.aliases:
                    number = str(model.aliases[ALIAS])
                    found = _version(self._client.get_model_version(self.name, number))
                    if found is None:
                        raise TrackingError(
                            f"MLflow at {shown(self.uri)}: the {ALIAS} of '{self.name}' is version {number}, which "
                            "overlap did not register; give [champion] another name, or take the alias away"
                        )
                    return found
        return None

    def held(self, key: str) -> Version | None:
        """The version of an ensemble, None where it was never registered; of twins the older."""
        with told(self.uri):
            versions = self._client.search_model_versions(f"name = '{self.name}'")
            ours = [found for found in map(_version, versions) if found is not None and found.key == key]
        return min(ours, key=lambda one: int(one.number), default=None)

    def register(
        self, export: Path, described: Description, members: Sequence[str], results: Results, about: Mapping[str, str]
    ) -> Version:
        """Make an ensemble a version.

        Args:
            export: its folder.
            described: what it is.
            members: as of `Version`.
            results: of the reduction that found it.
            about: further tags.
        """
        tags = {
            KEY: described.key,
            MEMBERS: json.dumps(list(members)),
            "overlap.models": json.dumps({one.model: round(one.weight, 4) for one in described.members}),
            **about,
        }
        with told(self.uri):
            run = self._catalogue.runs().get(entries.reduction(results).key)
            origin = None if run is None else str(run.info.run_id)
            model = self._model(export, described, tags, origin)
            if not self._client.search_registered_models(f"name = '{self.name}'"):
                text = f"The best ensembles of the study {described.study}, of which {ALIAS} is the best so far."
                self._client.create_registered_model(self.name, {KEY: described.study}, text)
            linked: str | None
            source, linked = f"models:/{model.model_id}", model.model_id
            if not self.uri.startswith("http"):
                # A server looks these up in its own store; MLflow without one, where the process-wide URI points.
                source, linked = model.artifact_location, None
            version = self._client.create_model_version(self.name, source, origin, tags, model_id=linked)
            pages = [{"name": self.name, "version": str(version.version)}]
            self._client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": json.dumps(pages)})
        return Version(str(version.version), described.key, tuple(members))

    def crown(self, version: Version) -> None:
        """Move the alias."""
        with told(self.uri):
            self._client.set_registered_model_alias(self.name, ALIAS, version.number)

    def note(self, challenge: Mapping[str, Any]) -> None:
        """Say on the registered model's page what came of the last challenge."""
        with told(self.uri):
            self._client.set_registered_model_tag(self.name, LAST, json.dumps(dict(challenge)))

    def _model(self, export: Path, described: Description, tags: Mapping[str, str], run: str | None) -> LoggedModel:
        """The LoggedModel whose files a version points to; one that an interrupted call left is completed."""
        key = fingerprint({"kind": ALIAS, "key": described.key})
        model = self._catalogue.models().get(key)
        if model is None:
            model = self._client.create_logged_model(
                self._catalogue.experiment,
                name=ALIAS,
                source_run_id=run,
                tags={**tags, KEY: key},
                params={"models": str(len(described.members)), "size": str(described.size)},
                model_type="ensemble",
            )
        if model.status != "READY":
            with tempfile.TemporaryDirectory(prefix="overlap-champion-") as scratch:
                folder = Path(scratch) / "model"
                _save(export, described, folder)
                self._client.log_model_artifacts(model.model_id, str(folder))
            model = self._client.finalize_logged_model(model.model_id, "READY")
        return model


def _version(version: ModelVersion) -> Version | None:
    tags = version.tags
    if KEY not in tags or MEMBERS not in tags:
        return None
    return Version(str(version.version), tags[KEY], tuple(json.loads(tags[MEMBERS])))


def _save(export: Path, described: Description, folder: Path) -> None:
    """An MLflow model in a folder: the export as artifact, the code that asks it, signature and an example."""
    import pandas
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    answer: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.long, "prediction"),
        ColSpec(DataType.string, "class"),
        ColSpec(DataType.double, "confidence"),
    ]
    parameters = [
        ParamSpec("probabilities", DataType.boolean, False),
        ParamSpec("batch_size", DataType.long, 16),
    ]
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it would tell of every step
    save_model(
        folder,
        python_model=str(CODE),
        artifacts={ARTIFACT: str(export)},
        signature=ModelSignature(Schema([ColSpec(DataType.binary)]), Schema(answer), ParamSchema(parameters)),
        input_example=pandas.DataFrame({"image": [_example()]}),
        pip_requirements=[*(f"{name}=={version}" for name, version in described.versions.items()), "mlflow", "pandas"],
    )


def _example() -> bytes:
    """A small grey PNG: what an input looks like, and nobody's photograph."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(buffer, "png")
    return buffer.getvalue()
