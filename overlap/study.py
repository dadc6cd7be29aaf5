"""The study file: TOML in, frozen objects out.

Guarantees: an unknown key, a wrong type, a doubled id, or a secret is refused before anything runs, in one line that
names the file, the key and the mend; every relative path is resolved against the file. Whether the files, models and
servers that a study names exist is not decided here.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from overlap.errors import StudyError
from overlap.fields import (
    NAME,
    Address,
    DataName,
    Deviation,
    Flag,
    ImageSize,
    Integer,
    Name,
    Number,
    Resolved,
    Several,
    Share,
    Size,
    TrackingUri,
    is_uri,
)
from overlap.identity import canonical_json
from overlap.methodology import Training
from overlap.mistakes import explain, secret_key

__all__ = ["NAME", "CheckpointEntry", "Data", "Preprocess", "Study", "ZooQuery", "is_uri", "load_study"]


class Section(BaseModel):
    """Base of every table in the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Preprocess(Section):
    """What the study says of a checkpoint's preprocessing; None leaves it to the checkpoint's source."""

    input_size: ImageSize | None = None
    """Height and width in pixels; one number means a square."""
    crop_pct: Number | None = Field(default=None, gt=0, le=2)
    """Above 1 the crop is larger than the image and padded, as a few of timm's configurations ask."""
    crop_mode: Literal["center", "squash", "border"] | None = None
    fill: Integer | None = Field(default=None, ge=0, le=255)
    """Grey value of the padding in `border` mode."""
    resize: Size | None = None
    """Length of the shorter side before the central crop, in pixels; replaces `crop_pct`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[Share, Share, Share] | None = None
    """Of pixels in 0-1, as everywhere."""
    std: tuple[Deviation, Deviation, Deviation] | None = None

    @model_validator(mode="after")
    def _one_geometry(self) -> Preprocess:
        if self.resize is not None and (self.crop_pct is not None or self.crop_mode in ("squash", "border")):
            raise ValueError("resize is the shorter side before a central crop; leave out crop_pct and crop_mode")
        return self


class Data(Section):
    """A labelled set of images in WebDataset shards."""

    shards: Annotated[tuple[Resolved, ...], Several]
    classes: Integer = Field(gt=1)
    names: tuple[str, ...] = ()
    """Class names by number; maps imported predictions that are given by name."""
    allow_missing_shards: tuple[str, ...] = ()
    """File names of shards that are left out of the study; every `n` and the report say so."""

    @model_validator(mode="after")
    def _one_name_per_class(self) -> Data:
        if self.names and len(self.names) != self.classes:
            raise ValueError(f"names holds {len(self.names)} names for {self.classes} classes; give one per class")
        doubled = [name for name, times in Counter(self.names).items() if times > 1]
        if doubled:
            raise ValueError(f"names holds '{doubled[0]}' more than once; class names must differ")
        return self


class Store(Section):
    """Where predictions, records and results are kept."""

    uri: Resolved
    endpoint_url: Address | None = None

    @model_validator(mode="after")
    def _folder_or_bucket(self) -> Store:
        if is_uri(self.uri) and not self.uri.startswith("s3://"):
            raise ValueError(f"uri '{self.uri}' is neither a folder nor s3://bucket/prefix")
        return self


class Tracking(Section):
    """Where MLflow is; `none` for no tracking."""

    uri: TrackingUri


class Predict(Section):
    """How predictions are made; `dtype` is part of every fingerprint, the rest is not."""

    dtype: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """float32 has TF32 off; the others are opt-in and their noise floor is measured and stored."""
    gpus_per_worker: Number = Field(default=1, ge=0)
    features: Literal[False] = False
    batch_size: Size | None = None
    """Images per forward pass; None leaves it to the kind of device. Recorded, not fingerprinted."""


class Ensembles(Section):
    """What the greedy search does beyond its default start from the best single model."""

    max_size: Size = 12
    anchors: tuple[str, ...] = ()
    """Checkpoints from which a further search starts, one each."""


class CheckpointEntry(Section):
    """One checkpoint as the study names it."""

    id: Name
    source: str | None = None
    factory: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: Resolved | None = None
    allow_pickle: Flag = False
    preprocess: Preprocess = Preprocess()
    published_top1: Number | None = Field(default=None, ge=0, le=100)
    """Accuracy that its makers published, in percent."""
    training: Training = Training()

    @model_validator(mode="after")
    def _one_origin(self) -> CheckpointEntry:
        if (self.source is None) == (self.factory is None):
            raise ValueError(f"'{self.id}' needs exactly one of source and factory")
        if self.factory is not None and self.weights is None:
            raise ValueError(f"'{self.id}' is built by a factory and needs weights")
        if self.factory is not None and not re.fullmatch(r"[\w.]+:[\w.]+", self.factory):
            raise ValueError(f"'{self.id}': factory '{self.factory}' is not module:attribute")
        try:
            canonical_json(self.arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"'{self.id}': arguments must be numbers, text, lists and tables ({error})") from None
        return self


class ZooQuery(Section):
    """A query that expands to many checkpoints at every run."""

    source: Literal["timm"]
    select: tuple[str, ...] = Field(min_length=1)


class Study(Section):
    """A whole study; `path` is the file it came from."""

    name: Name
    data: dict[DataName, Data] = Field(default_factory=dict)
    store: Store
    tracking: Tracking
    predict: Predict = Predict()
    ensembles: Ensembles = Ensembles()
    checkpoint: tuple[CheckpointEntry, ...] = ()
    zoo: tuple[ZooQuery, ...] = ()
    path: Path

    @property
    def names_local_files(self) -> bool:
        """Whether shards or weights are on this machine, where no other finds them."""
        named = [uri for data in self.data.values() for uri in data.shards]
        named += [entry.weights for entry in self.checkpoint if entry.weights is not None]
        return not all(is_uri(location) for location in named)

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        ids = Counter(entry.id for entry in self.checkpoint)
        doubled = sorted(name for name, times in ids.items() if times > 1)
        if doubled:
            raise ValueError(f"two checkpoints are called '{doubled[0]}'; give each its own id")
        if (ids or self.zoo) and not self.data:
            raise ValueError("checkpoints need images; add a [data.NAME] section with shards and classes")
        return self


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


SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "store": Store,
    "tracking": Tracking,
    "predict": Predict,
    "ensembles": Ensembles,
    "checkpoint": CheckpointEntry,
    "zoo": ZooQuery,
    "preprocess": Preprocess,
    "training": Training,
}
"""Tables of the file by the last name of their key."""
