"""The study file: TOML in, frozen objects out.

Guarantees: an unknown key, a wrong type, a doubled id, or a secret is refused before anything runs, in one line that
names the file, the key and the mend; every relative path is resolved against the file. Whether the files, models and
servers that a study names exist is not decided here.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from overlap.checkpoint_sections import CheckpointEntry, ZooQuery
from overlap.errors import StudyError
from overlap.fields import (
    NAME,
    DataName,
    Name,
    Section,
    is_uri,
)
from overlap.mistakes import explain, secret_key
from overlap.sections import (
    SECTIONS,
    TOP_CLASSES,
    Analysis,
    Data,
    Ensembles,
    Features,
    Gate,
    Predict,
)
from overlap.service_sections import Champion, Notify, Retention, Store, Tracking

__all__ = ["NAME", "Study", "is_uri", "load_study"]


class Study(Section):
    """A study: what is asked, of which images and checkpoints, and where it is kept."""

    name: Name
    """Of the study, and of its experiment in MLflow."""
    data: dict[DataName, Data] = Field(default_factory=dict)
    store: Store
    tracking: Tracking
    predict: Predict = Predict()
    analysis: Analysis = Analysis()
    features: Features = Features()
    ensembles: Ensembles = Ensembles()
    gate: Gate = Gate()
    notify: Notify | None = None
    champion: Champion = Champion()
    retention: Retention = Retention()
    checkpoint: tuple[CheckpointEntry, ...] = ()
    zoo: tuple[ZooQuery, ...] = ()
    path: Path
    """The file it came from."""

    @property
    def names_local_files(self) -> bool:
        """Whether shards or weights are on this machine, where no other finds them."""
        named = [uri for data in self.data.values() for uri in data.shards]
        named += [entry.weights for entry in self.checkpoint if entry.weights is not None]
        return not all(is_uri(location) for location in named)

    @property
    def evaluated(self) -> tuple[str, ...]:
        """Names of the data sets on which models are compared; the others are there for features alone."""
        return tuple(name for name, data in self.data.items() if data.role == "evaluate")

    @field_validator("data", mode="before")
    @classmethod
    def _role_by_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("train"), dict):
            return {**data, "train": {"role": "train", **data["train"]}}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        ids = Counter(entry.id for entry in self.checkpoint)
        doubled = sorted(name for name, times in ids.items() if times > 1)
        if doubled:
            raise ValueError(f"two checkpoints are called '{doubled[0]}'; give each its own id")
        if (ids or self.zoo) and not self.data:
            raise ValueError("checkpoints need images; add a [data.NAME] section with shards and classes")
        for name, data in self.data.items():
            if data.role != "evaluate" and not self.predict.features:
                raise ValueError(
                    f"data.{name} has the role {data.role}, which is about features; set features = true under "
                    '[predict], or role = "evaluate"'
                )
            if self.predict.output == "top" and data.role != "downstream":
                self._refuse_classes_of_top(name, data.classes)
        if self.data and all(data.role == "downstream" for data in self.data.values()):
            raise ValueError("no data set has the classes of the heads; add one whose role is not downstream")
        unknown = [name for name in self.gate.data if name not in self.evaluated]
        if unknown:
            raise ValueError(f"gate.data names '{unknown[0]}', which is no [data.NAME] section to evaluate on; mend it")
        if self.champion.wanted and self.predict.output == "top":
            raise ValueError(
                'the champion is judged by all logits, which predict.output = "top" does not store; set output = '
                '"logits", or champion.register = false'
            )
        if self.champion.data is not None and self.champion.data not in self.evaluated:
            raise ValueError(
                f"champion.data = '{self.champion.data}' is no [data.NAME] section to evaluate on; mend it"
            )
        return self

    def _refuse_classes_of_top(self, name: str, classes: int) -> None:
        least, most = TOP_CLASSES
        if classes < least:
            raise ValueError(
                f'data.{name} has {classes} classes, and predict.output = "top" keeps the {least - 1} largest logits '
                'with their classes: all logits are smaller; set output = "logits"'
            )
        if classes > most:
            raise ValueError(
                f'data.{name} has {classes} classes; predict.output = "top" holds at most {most}; set output = "logits"'
            )


def load_study(path: Path) -> Study:
    """Read, check and resolve a study file.

    Raises:
        StudyError: the file is missing or is no TOML, or holds a mistake; the text names file, key and mend.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; `overlap demo` writes one to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from None
    if secret := secret_key(document):
        raise StudyError(
            f"{path}: key '{secret}' looks like a secret; remove it: credentials come from the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the AWS files"
        )
    if "path" in document:
        raise StudyError(f"{path}: unknown key 'path'; remove it: a study is where its file is")
    folder = path.resolve().parent
    store, tracking = document.setdefault("store", {}), document.setdefault("tracking", {})
    if isinstance(store, dict):
        store.setdefault("uri", "store")
        if isinstance(tracking, dict):
            beside = "" if is_uri(str(store["uri"])) else f"{store['uri']}/"
            tracking.setdefault("uri", f"sqlite:///{beside}mlflow.db")
    try:
        return Study.model_validate({**document, "path": path.resolve()}, context={"folder": folder})
    except ValidationError as error:
        raise StudyError(f"{path}: {explain(error, document, SECTIONS, Study)}") from None
