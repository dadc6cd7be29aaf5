"""What a table and a value in the study file may be: names, locations, and numbers that are numbers.

Guarantees: a relative path becomes absolute against the file's folder (the `folder` of pydantic's context); an address
that carries credentials is refused; neither "64" nor true passes for a number.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo

from overlap import smoke
from overlap.mistakes import refuse_credentials


class Section(BaseModel):
    """Base of every table in the file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")

Decoder = Literal["pillow", "torchvision", "nvjpeg"]
"""How images become pixels; see `zoo.decoders`."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""Seconds by unit of time."""
DURATION = re.compile(r"[0-9]+(\.[0-9]+)?[smhd]")

GROUPINGS = ("wordnet", "wordnet-nature")
"""Groups of classes that follow from WordNet ids; anything else is a table."""


def is_uri(text: str) -> bool:
    """Whether a location carries a scheme (`s3://`, `https://`, `sqlite://`) and so is no path."""
    return "://" in text


def _named(name: str) -> str:
    if not NAME.fullmatch(name) or len(name) > 200:
        raise ValueError("use letters, digits and . _ + @ - only, at most 200 (it becomes part of keys in the store)")
    return name


def _data_named(name: str) -> str:
    if "@" in name or len(name) > 100 or smoke.is_part(name):
        raise ValueError(
            "a data set's name has at most 100 characters, no @ (which parts it from a truth), "
            "and does not end like .first10 (which is what --limit 10 adds)"
        )
    return _named(name)


def _absolute(path: str, info: ValidationInfo) -> str:
    folder: Path = (info.context or {})["folder"]
    try:
        return str((folder / Path(path).expanduser()).resolve())
    except (RuntimeError, OSError) as error:  # ~nobody, a loop of links
        raise ValueError(f"path '{path}' leads nowhere ({error})") from None


def _resolved(location: str, info: ValidationInfo) -> str:
    if not location:
        raise ValueError("is empty; give a path or an address")
    return refuse_credentials(location) if is_uri(location) else _absolute(location, info)


def _grouping(location: str, info: ValidationInfo) -> str:
    return location if location in GROUPINGS else _resolved(location, info)


def _tracking_uri(uri: str, info: ValidationInfo) -> str:
    scheme, slashes, rest = uri.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        return f"sqlite:///{_absolute(rest[1:], info)}"
    if not slashes and uri not in ("none", "databricks"):
        raise ValueError(f"'{uri}' is no MLflow address; use http(s)://HOST, sqlite:///FILE, or none")
    return refuse_credentials(uri)


def _height_and_width(value: Any) -> Any:
    """One number means a square; timm writes channels, height, width."""
    if isinstance(value, int):
        return (value, value)
    return value[1:] if isinstance(value, list) and len(value) == 3 and value[0] == 3 else value


def _template(text: str) -> str:
    if text.count("{}") != 1 or set(text.replace("{}", "", 1)) & set("{}"):
        raise ValueError(f"'{text}' must hold {{}} once, where the name of a class goes")
    return text


def _duration(text: str) -> str:
    if not DURATION.fullmatch(text):
        raise ValueError(f"'{text}' is no time; write a number and its unit: 90m, 24h, 30d")
    return text


def seconds(duration: str) -> float:
    """A `Duration` in seconds."""
    return float(duration[:-1]) * UNITS[duration[-1]]


Name = Annotated[str, AfterValidator(_named)]
DataName = Annotated[str, AfterValidator(_data_named)]
Resolved = Annotated[str, AfterValidator(_resolved)]
Grouping = Annotated[str, AfterValidator(_grouping)]
TrackingUri = Annotated[str, AfterValidator(_tracking_uri)]
Address = Annotated[str, AfterValidator(refuse_credentials)]
Template = Annotated[str, AfterValidator(_template)]
Duration = Annotated[str, AfterValidator(_duration)]
"""A number with its unit, of `UNITS`."""
Several = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
"""Before a list of texts: one text is a list of one."""
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Size = Annotated[Integer, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Deviation = Annotated[Number, Field(gt=0, le=1)]
ImageSize = Annotated[
    tuple[Size, Size], BeforeValidator(_height_and_width, json_schema_input_type=Size | tuple[Size, ...])
]
"""Height and width in pixels."""
