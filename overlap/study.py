"""The study file: TOML in, frozen objects out.

Guarantees: an unknown key, a wrong type, a doubled id, or a secret is refused before anything runs, in one line that
names the file, the key and the mend; every relative path is resolved against the file. Whether the files, models and
servers that a study names exist is not decided here.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from overlap.errors import StudyError
from overlap.methodology import Training

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")
SECRET = re.compile(r"secret|password|passwd|token|access_key|credential", re.IGNORECASE)


def is_uri(text: str) -> bool:
    """Whether a location carries a scheme (`s3://`, `https://`, `sqlite://`) and so is no path."""
    return "://" in text


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("use letters, digits and . _ + @ - only (it becomes part of keys in the store)")
    return name


def _resolved(location: str, info: ValidationInfo) -> str:
    if not is_uri(location):
        folder: Path = (info.context or {})["folder"]
        return str((folder / Path(location).expanduser()).resolve())
    if urlsplit(location).password:
        raise ValueError("holds a password; leave it out and set it in the environment")
    return location


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _pair(value: Any) -> Any:
    if isinstance(value, int):
        return (value, value)
    return tuple(value[1:]) if isinstance(value, list) and len(value) == 3 else value


def _data_named(name: str) -> str:
    if "@" in name:
        raise ValueError("a data set's name holds no @, which parts it from a truth")
    return _named(name)


Name = Annotated[str, AfterValidator(_named)]
DataName = Annotated[str, AfterValidator(_data_named)]
Resolved = Annotated[str, AfterValidator(_resolved)]


class Section(BaseModel):
    """Base of every table in the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocess(Section):
    """What the study says of a checkpoint's preprocessing; None leaves it to the checkpoint's source."""

    input_size: Annotated[tuple[int, int] | None, BeforeValidator(_pair)] = None
    """Height and width in pixels; one number means a square."""
    crop_pct: float | None = Field(default=None, gt=0, le=1)
    crop_mode: Literal["center", "squash", "border"] | None = None
    fill: int | None = Field(default=None, ge=0, le=255)
    resize: int | None = Field(default=None, gt=0)
    """Length of the shorter side before the crop, in pixels; replaces `crop_pct`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Data(Section):
    """A labelled set of images in WebDataset shards."""

    shards: Annotated[tuple[Resolved, ...], BeforeValidator(_listed)]
    classes: int = Field(gt=1)
    names: tuple[str, ...] = ()
    """Class names by number; maps imported predictions that are given by name."""
    allow_missing_shards: tuple[str, ...] = ()
    """File names of shards that are left out of the study; every `n` and the report say so."""

    @model_validator(mode="after")
    def _one_name_per_class(self) -> Data:
        if self.names and len(self.names) != self.classes:
            raise ValueError(f"names holds {len(self.names)} names for {self.classes} classes; give one per class")
        return self


class Store(Section):
    """Where predictions, records and results are kept."""

    uri: Resolved
    endpoint_url: str | None = None

    @model_validator(mode="after")
    def _folder_or_bucket(self) -> Store:
        if is_uri(self.uri) and not self.uri.startswith("s3://"):
            raise ValueError(f"uri '{self.uri}' is neither a folder nor s3://bucket/prefix")
        return self


class Tracking(Section):
    """Where MLflow is; `none` for no tracking."""

    uri: str


class Predict(Section):
    """How predictions are made; `dtype` is part of every fingerprint, the rest is not."""

    dtype: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """float32 has TF32 off; the others are opt-in and their noise floor is measured and stored."""
    gpus_per_worker: float = Field(default=1, ge=0)
    features: Literal[False] = False
    batch_size: int = Field(default=64, gt=0)
    """Images per forward pass; halved where the device runs out of memory. Recorded, not fingerprinted."""


class Ensembles(Section):
    """What the greedy search does beyond its default start from the best single model."""

    max_size: int = Field(default=12, gt=0)
    anchors: tuple[str, ...] = ()
    """Checkpoints from which a further search starts, one each."""


class CheckpointEntry(Section):
    """One checkpoint as the study names it."""

    id: Name
    source: str | None = None
    factory: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: Resolved | None = None
    allow_pickle: bool = False
    preprocess: Preprocess = Preprocess()
    published_top1: float | None = Field(default=None, ge=0, le=100)
    training: Training = Training()

    @model_validator(mode="after")
    def _one_origin(self) -> CheckpointEntry:
        if (self.source is None) == (self.factory is None):
            raise ValueError(f"'{self.id}' needs exactly one of source and factory")
        if self.factory is not None and self.weights is None:
            raise ValueError(f"'{self.id}' is built by a factory and needs weights")
        if self.factory is not None and not re.fullmatch(r"[\w.]+:[\w.]+", self.factory):
            raise ValueError(f"'{self.id}': factory '{self.factory}' is not module:attribute")
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

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        ids = [entry.id for entry in self.checkpoint]
        doubled = sorted({name for name in ids if ids.count(name) > 1})
        if doubled:
            raise ValueError(f"two checkpoints are called '{doubled[0]}'; give each its own id")
        if ids and not self.data:
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
    _refuse_secrets(path, document, "")
    folder = path.resolve().parent
    document.setdefault("store", {}).setdefault("uri", "store")
    document.setdefault("tracking", {}).setdefault("uri", _default_tracking(folder, document["store"]["uri"]))
    try:
        return Study.model_validate({**document, "path": path.resolve()}, context={"folder": folder})
    except ValidationError as error:
        raise StudyError(f"{path}: {_explain(error)}") from None


def _default_tracking(folder: Path, store: Any) -> str:
    beside = folder if is_uri(str(store)) else folder / Path(str(store)).expanduser()
    return f"sqlite:///{beside.resolve() / 'mlflow.db'}"


def _refuse_secrets(path: Path, value: Any, where: str) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        name = f"{where}.{key}" if where else str(key)
        if isinstance(key, str) and SECRET.search(key) and not where.startswith("checkpoint"):
            raise StudyError(
                f"{path}: key '{name}' looks like a secret; remove it: credentials come from the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or the AWS files"
            )
        _refuse_secrets(path, inner, name)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the study"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _known_keys(first["loc"][:-1]), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(_known_keys(first['loc'][:-1]))}"
        return f"unknown key '{key}'; {hint}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing; add it{more}"
    message = first["msg"].removeprefix("Value error, ")
    return f"key '{key}': {message}{more}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {
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
    names = [part for part in location if part in sections]
    model = sections[str(names[-1])] if names else Study
    return sorted(set(model.model_fields) - {"path"})
