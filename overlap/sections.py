"""The tables of a study file, each frozen, with every key it may hold and what the key means."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from overlap.fields import (
    GROUPINGS,
    Address,
    DataName,
    Deviation,
    Flag,
    Grouping,
    ImageSize,
    Integer,
    Name,
    Number,
    Resolved,
    Several,
    Share,
    Size,
    Template,
    TrackingUri,
    is_uri,
)
from overlap.identity import canonical_json
from overlap.methodology import Training


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
    role: Literal["evaluate", "train", "downstream"] = "evaluate"
    """Models are compared on it; or probes of features are trained on it (`train` where the section is called so); or
    it is a task of its own for these, whose classes are not the heads'."""
    multi_label: Flag = False
    """Whether a .cls file may hold several class numbers, with spaces between, or none; of a downstream set."""
    names: tuple[str, ...] = ()
    """Class names by number; maps imported predictions that are given by name."""
    class_space: str | None = None
    """What the class numbers stand for, by the name of a known list (imagenet-1k, imagenet-r …): heads are mapped."""
    synsets: Resolved | None = None
    """The same as a file: a WordNet id a line, by class number."""
    truths: dict[DataName, Resolved] = Field(default_factory=dict)
    """Further labels of the same images, by the name of the truth: .json, .csv or .parquet (see `images.truths`)."""
    groups: Grouping | None = None
    """Which classes belong together: a table of class and group, or `wordnet` or `wordnet-nature` by WordNet ids."""
    allow_missing_shards: tuple[str, ...] = ()
    """File names of shards that are left out of the study; every `n` and the report say so."""

    @model_validator(mode="after")
    def _one_name_per_class(self) -> Data:
        if self.class_space is not None and self.synsets is not None:
            raise ValueError("class_space and synsets both say what the class numbers stand for; give one of them")
        if self.multi_label and self.role != "downstream":
            raise ValueError('multi_label needs role = "downstream"; several accepted classes are a truth (truths)')
        if self.truths and self.role != "evaluate":
            raise ValueError('truths are for sets with role = "evaluate"; leave them out')
        if self.groups in GROUPINGS and self.class_space is None and self.synsets is None:
            raise ValueError(f"groups '{self.groups}' needs WordNet ids; give class_space or synsets, or name a table")
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
    """How predictions are made; `dtype` and `features` are part of every fingerprint, the rest is not."""

    dtype: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """float32 has TF32 off; the others are opt-in and their noise floor is measured and stored."""
    gpus_per_worker: Number = Field(default=1, ge=0)
    features: Flag = False
    """Whether penultimate features are stored beside the logits; part of every fingerprint too."""
    batch_size: Size | None = None
    """Images per forward pass; None leaves it to the kind of device. Recorded, not fingerprinted."""


class Analysis(Section):
    """What the reductions look at beside everything."""

    accuracy_band: tuple[Share, Share] | None = None
    """Categories are also compared among the models of these accuracies alone: the paper's are 0.74 to 0.78."""
    sample: Size = 2048
    """Images on which probabilities of pairs are compared whole, and pairs' temperatures are fitted."""

    @model_validator(mode="after")
    def _in_order(self) -> Analysis:
        if self.accuracy_band is not None and self.accuracy_band[0] >= self.accuracy_band[1]:
            raise ValueError(f"accuracy_band {list(self.accuracy_band)} is empty; give the lower bound first")
        return self


class Budgets(Section):
    """Greatest total cost of an ensemble, one search for each; a checkpoint counts once, however often it is taken."""

    parameters: Number | None = Field(default=None, gt=0)
    gflops: Number | None = Field(default=None, gt=0)
    """10^9 floating-point operations of one image."""
    milliseconds: Number | None = Field(default=None, gt=0)
    """Measured, of one image."""


class Features(Section):
    """Which pairs the experiments on features are made for; every pair's similarity is told without them."""

    base: Name | None = None
    """The checkpoint that others are mixed with; without it the one with partners in most categories."""
    pairs_per_category: Annotated[Integer, Field(ge=0)] = 3
    """Pairs of each category, closest in accuracy first; 0 for none."""
    draws: Size = 3
    """Random draws of features at each share."""
    train_images: Size = 100_000
    """Images of the training set that probes see at most, by a fixed hash of their keys."""


class Ensembles(Section):
    """Which ensembles are searched for beside the greedy one that starts from the best single model."""

    max_size: Size = 12
    """Steps of a search at most."""
    anchors: Annotated[tuple[str, ...], Several] = ()
    """Checkpoints from which a further search starts, one each, and to which weak ones are added."""
    without_replacement: Flag = True
    """Whether there is also a search that takes every checkpoint at most once."""
    bags: Annotated[Integer, Field(ge=0, le=1000)] = 20
    """Searches in random halves of the checkpoints, whose ensembles are averaged; 0 for none."""
    pool_below: Share | None = None
    """Accuracy, 0-1, below which a checkpoint is weak; the median of all without it."""
    budgets: Budgets = Budgets()
    objectives: Annotated[tuple[Literal["accuracy", "nll"], ...], Several] = ("accuracy", "nll")
    """What is searched by. By accuracy there is always a search."""
    weights: Flag = True
    """Whether weights are searched by CMA-ES, as the stronger search that the greedy one is compared with."""


class Gate(Section):
    """Which published accuracies checkpoints are held to, and what becomes of those that differ."""

    quarantine: Flag = True
    """Whether a checkpoint that is not as published is left out of pairs and ensembles."""
    data: Annotated[tuple[DataName, ...], Several] = ()
    """Data sets that the published figures are about; the study's first where none is named."""
    published: Resolved | None = None
    """Table of published figures: csv with model, published_top1 (percent), source."""
    allowance: Number = Field(default=0.3, ge=0, le=100)
    """Deviation that is always let pass, in percentage points: rounding, and what is left of preprocessing."""
    level: Number = Field(default=0.99, gt=0, lt=1)
    """Confidence with which all checkpoints that are as published pass."""
    population: Size | None = None
    """Images that the figures were published for, where the data are these or some of them: 50000 of ImageNet."""
    orders: dict[str, Resolved] = Field(default_factory=dict)
    """Further orders that heads may be in, by name: text files, a class a line (synsets, or as in the data's names)."""


class Description(Section):
    """What a study says of checkpoints beside their names and files; also the defaults of a folder of them."""

    source: str | None = None
    factory: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    allow_pickle: Flag = False
    class_space: str | None = None
    """What the head's classes stand for, where they are not the data's: imagenet-12k, imagenet-21k, imagenet-22k …"""
    synsets: Resolved | None = None
    """The same as a file: a WordNet id a line, by class number of the head."""
    features: Flag | Annotated[str, Field(min_length=1)] = True
    """Where the study stores any: false for none of this checkpoint, or the layer that makes its logits by name."""
    templates: Annotated[tuple[Template, ...], Several] = ()
    """Texts with {} for the name of a class, of which a zero-shot head is made; the source's where none is given."""
    preprocess: Preprocess = Preprocess()
    training: Training = Training()


class CheckpointEntry(Description):
    """One checkpoint as the study names it."""

    id: Name
    weights: Resolved | None = None
    published_top1: Number | None = Field(default=None, ge=0, le=100)
    """Accuracy that its makers published, in percent."""

    @model_validator(mode="after")
    def _one_origin(self) -> CheckpointEntry:
        if (self.source is None) == (self.factory is None):
            raise ValueError(f"'{self.id}' needs exactly one of source and factory")
        if self.class_space is not None and self.synsets is not None:
            raise ValueError(f"'{self.id}': class_space and synsets both say what its head tells apart; give one")
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

    source: Literal["timm"] | None = None
    select: tuple[str, ...] = Field(default=(), min_length=1)
    """Names with wildcards."""
    folder: Resolved | None = None
    """Folder or s3://BUCKET/PREFIX of checkpoints, one a weights file or a sub-folder; instead of source and select."""
    defaults: Description | None = None
    """What holds for the folder's checkpoints where the TOML beside one does not say otherwise."""
    class_space: str | None = None
    """Take the models whose heads have the classes of this known list, and map them to the data's."""
    exclude: Annotated[tuple[str, ...], Several] = ()
    """Names with wildcards that are left out of what `select` matches."""
    min_parameters: Number | None = Field(default=None, gt=0)
    """Parameters with a head for 1,000 classes; 30e6 for 30 million."""
    max_parameters: Number | None = Field(default=None, gt=0)
    min_input_size: Size | None = None
    """Longer side of what the network is evaluated on, in pixels."""
    max_input_size: Size | None = None
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
            return self
        strange = sorted(self.model_fields_set - {"folder", "defaults"})
        if strange:
            raise ValueError(f"{strange[0]} is of a query over timm's models; with folder leave it out")
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


SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "store": Store,
    "tracking": Tracking,
    "predict": Predict,
    "analysis": Analysis,
    "features": Features,
    "ensembles": Ensembles,
    "gate": Gate,
    "checkpoint": CheckpointEntry,
    "zoo": ZooQuery,
    "defaults": Description,
    "preprocess": Preprocess,
    "training": Training,
}
"""Tables of the file by the last name of their key."""
