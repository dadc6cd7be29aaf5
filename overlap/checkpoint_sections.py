"""The tables of a study file that name checkpoints, one by one, by query or by folder, and say how each is prepared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from overlap.fields import (
    Decoder,
    Deviation,
    Flag,
    ImageSize,
    Integer,
    Name,
    Number,
    Resolved,
    Section,
    Several,
    Share,
    Size,
    Template,
    is_uri,
)
from overlap.identity import canonical_json
from overlap.methodology import Training


class Preprocess(Section):
    """What the study says of a checkpoint's preprocessing; None leaves it to the checkpoint's source."""

    input_size: ImageSize | None = None
    """Height and width in pixels; one number means a square."""
    crop_pct: Number | None = Field(default=None, gt=0, le=2)
    """Above 1 the crop is larger than the image and padded, as a few of timm's configurations ask."""
    crop_mode: Literal["center", "squash", "border"] | None = None
    """A central crop; or the whole image, squashed to the size or with a border around it."""
    fill: Integer | None = Field(default=None, ge=0, le=255)
    """Grey value of the padding in `border` mode."""
    resize: Size | None = None
    """Length of the shorter side before the central crop, in pixels; replaces `crop_pct`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    """Of the resize."""
    decoder: Decoder | None = None
    """Else `predict.decoder`."""
    mean: tuple[Share, Share, Share] | None = None
    """Of pixels in 0-1, as everywhere."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Likewise."""

    @model_validator(mode="after")
    def _one_geometry(self) -> Preprocess:
        if self.resize is not None and (self.crop_pct is not None or self.crop_mode in ("squash", "border")):
            raise ValueError("resize is the shorter side before a central crop; leave out crop_pct and crop_mode")
        return self


class Description(Section):
    """What a study says of checkpoints beside their names and files; also the defaults of a folder of them."""

    source: str | None = None
    """timm:ARCHITECTURE[.TAG], torchvision:NAME, or open_clip:MODEL[/TAG]; this or factory."""
    factory: str | None = None
    """MODULE:CALLABLE of your own code, which returns a torch module from images to logits."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What it is called with, by name; part of the fingerprint."""
    allow_pickle: Flag = False
    """Whether a weights file that is more than tensors may run its code when it is loaded."""
    class_space: str | None = None
    """What the head's classes stand for, where they are not the data's: imagenet-12k, imagenet-21k, imagenet-22k …"""
    synsets: Resolved | None = None
    """The same as a file: a WordNet id a line, by class number of the head."""
    features: Flag | Annotated[str, Field(min_length=1)] = True
    """Where the study stores any: false for none of this checkpoint, or the layer that makes its logits by name."""
    compile: Flag = True
    """Where the study compiles networks: false for this one as it is."""
    head: Literal["linear_probe"] | None = None
    """How a backbone without a classifier gets one: fitted on the study's set with the role train."""
    templates: Annotated[tuple[Template, ...], Several] = ()
    """Texts with {} for the name of a class, of which a zero-shot head is made; the source's where none is given."""
    preprocess: Preprocess = Preprocess()
    """How images are prepared for it, where its source says otherwise or nothing."""
    training: Training = Training()
    """How it was trained."""


class CheckpointEntry(Description):
    """One checkpoint as the study names it."""

    id: Name
    """What it is called everywhere; no two have the same."""
    weights: Resolved | None = None
    """Its file, or where it is, s3:// or http(s)://; the source's own without it."""
    published_top1: Number | None = Field(default=None, ge=0, le=100)
    """Accuracy that its makers published, in percent."""

    @model_validator(mode="after")
    def _one_origin(self) -> CheckpointEntry:
        if (self.source is None) == (self.factory is None):
            raise ValueError(f"'{self.id}' needs exactly one of source and factory")
        if self.class_space is not None and self.synsets is not None:
            raise ValueError(f"'{self.id}': class_space and synsets both say what its head tells apart; give one")
        if self.head is not None and (self.factory is not None or self.class_space is not None or self.synsets):
            raise ValueError(
                f"'{self.id}': head = \"{self.head}\" is for a source's architectures, and has the classes of the "
                "training set; leave out factory, class_space and synsets"
            )
        if self.head is not None and self.features is False:
            raise ValueError(f"'{self.id}': a linear probe is fitted to its features; leave out features = false")
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
    """A query, or a folder, that expands to many checkpoints at every run."""

    source: Literal["timm", "open_clip"] | None = None
    """Whose pretrained weights are selected from."""
    select: tuple[str, ...] = Field(default=(), min_length=1)
    """Names with wildcards: ARCHITECTURE.TAG of timm, MODEL/TAG of open_clip."""
    folder: Resolved | None = None
    """Folder or s3://BUCKET/PREFIX of checkpoints, one a weights file or a sub-folder; instead of source and select."""
    defaults: Description | None = None
    """What holds for the folder's checkpoints where the TOML beside one does not say otherwise."""
    class_space: str | None = None
    """Take the models whose heads have the classes of this known list, and map them to the data's."""
    exclude: Annotated[tuple[str, ...], Several] = ()
    """Names with wildcards that are left out of what `select` matches."""
    min_parameters: Number | None = Field(default=None, gt=0)
    """Parameters with a head for 1,000 classes, of open_clip's models their image tower's; 30e6 for 30 million."""
    max_parameters: Number | None = Field(default=None, gt=0)
    """Likewise."""
    min_input_size: Size | None = None
    """Longer side of what the network is evaluated on, in pixels."""
    max_input_size: Size | None = None
    """Likewise."""
    license: Annotated[tuple[str, ...], Several] = ()
    """Licences of the weights, with wildcards; weights whose licence is not stated are then left out."""

    @model_validator(mode="after")
    def _query_or_folder(self) -> ZooQuery:
        if (self.source is None) == (self.folder is None):
            raise ValueError("needs exactly one of source (with select) and folder")
        if self.folder is None:
            if not self.select:
                raise ValueError("select is missing or empty; name models, with wildcards")
            if self.defaults is not None:
                raise ValueError("defaults are of a folder's checkpoints; leave them out")
            strange = sorted(self.model_fields_set & {"class_space", "license"})
            if self.source == "open_clip" and strange:
                raise ValueError(
                    f"{strange[0]} is of a query over timm's models (open_clip states no licence, and its heads are "
                    "made for the data's classes); leave it out"
                )
            return self
        strange = sorted(self.model_fields_set - {"folder", "defaults"})
        if strange:
            raise ValueError(f"{strange[0]} is of a query over a library's models; with folder leave it out")
        if is_uri(self.folder) and not self.folder.startswith("s3://"):
            raise ValueError(f"folder '{self.folder}' is neither a folder nor s3://bucket/prefix")
        return self

    @model_validator(mode="after")
    def _limits_in_order(self) -> ZooQuery:
        for what in ("parameters", "input_size"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{what} {low} is above max_{what} {high}; nothing could be selected")
        return self
