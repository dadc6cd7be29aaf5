"""The tables of a study file, each frozen, with every key it may hold and what the key means."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from overlap.checkpoint_sections import CheckpointEntry, Description, Preprocess, ZooQuery
from overlap.fields import (
    GROUPINGS,
    DataName,
    Decoder,
    Flag,
    Grouping,
    Integer,
    Name,
    Number,
    Resolved,
    Section,
    Several,
    Share,
    Size,
)
from overlap.methodology import Training
from overlap.service_sections import Champion, Notify, Retention, Store, Tracking


class Data(Section):
    """A labelled set of images in WebDataset shards."""

    shards: Annotated[tuple[Resolved, ...], Several]
    """WebDataset tars: a folder, or addresses of files, s3:// or http(s)://, with {000000..000063} for a range."""
    classes: Integer = Field(gt=1)
    """How many there are; class numbers start at 0."""
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


TOP_CLASSES = (65, 65534)
"""Fewest and most classes of data whose largest logits are stored instead of all (`analysis.tops.moments.KEPT`)."""


class Predict(Section):
    """How predictions are made; `dtype`, `compile`, `decoder`, `output` and `features` are in fingerprints."""

    device: Literal["auto", "gpu", "cpu"] = "auto"
    """Whether predictors must have GPUs, must not, or have them where there are any. Recorded, not fingerprinted."""

    dtype: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """float32 has TF32 off; the others are opt-in and their noise floor is measured and stored."""
    compile: Flag = False
    """Whether networks go through torch.compile, on a GPU with CUDA graphs; measured against plain float32 too. Part of
    fingerprints where it is on."""
    decoder: Decoder = "pillow"
    """Of every checkpoint whose `preprocess` names none; part of every fingerprint. `pillow` is what networks are
    evaluated with everywhere; `torchvision` is more than twice as fast, `nvjpeg` has GPUs decode; close predictions may
    differ."""
    gpus_per_worker: Number = Field(default=1, ge=0)
    """Of each predictor where there are GPUs; 0.5 lets two share one."""
    output: Literal["logits", "top"] = "logits"
    """What is stored of an image: all logits, or the 64 largest with moments of the others, and all of a sample of the
    images; for a thousand classes and more. Part of every fingerprint."""
    features: Flag = False
    """Whether penultimate features are stored beside the logits; part of every fingerprint too."""
    batch_size: Size | None = None
    """Images per forward pass; None leaves it to the kind of device. Recorded, not fingerprinted."""

    @property
    def gpus(self) -> float:
        """GPUs of a predictor, where there are any."""
        return 0 if self.device == "cpu" else self.gpus_per_worker

    @model_validator(mode="after")
    def _gpus_if_wanted(self) -> Predict:
        if self.device == "gpu" and self.gpus_per_worker == 0:
            raise ValueError('device = "gpu" needs gpus_per_worker above 0; give a share of a GPU, or leave it out')
        if self.device == "cpu" and self.decoder == "nvjpeg":
            raise ValueError(
                'decoder = "nvjpeg" needs GPUs, which device = "cpu" declines; take decoder = "torchvision"'
            )
        return self


class Analysis(Section):
    """What the reductions look at beside everything."""

    accuracy_band: tuple[Share, Share] | None = None
    """Categories are also compared among the models of these accuracies alone: the paper's are 0.74 to 0.78."""
    sample: Size = 2048
    """Images on which probabilities of pairs are compared whole, and pairs' temperatures are fitted."""
    detailed_pairs: Size = 500_000
    """Pairs that have detailed measures (divergence, specialisation, ensembles) at most: of more, so many are chosen by
    hash, from every category; the table of pairs has all. It is in no digest while all pairs are within it."""

    @model_validator(mode="after")
    def _in_order(self) -> Analysis:
        if self.accuracy_band is not None and self.accuracy_band[0] >= self.accuracy_band[1]:
            raise ValueError(f"accuracy_band {list(self.accuracy_band)} is empty; give the lower bound first")
        return self


class Budgets(Section):
    """Greatest total cost of an ensemble, one search for each; a checkpoint counts once, however often it is taken."""

    parameters: Number | None = Field(default=None, gt=0)
    """Of all members together; 60e6 for 60 million."""
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
    """What an ensemble may cost."""
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


SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "store": Store,
    "tracking": Tracking,
    "predict": Predict,
    "analysis": Analysis,
    "features": Features,
    "ensembles": Ensembles,
    "gate": Gate,
    "notify": Notify,
    "champion": Champion,
    "retention": Retention,
    "checkpoint": CheckpointEntry,
    "zoo": ZooQuery,
    "defaults": Description,
    "preprocess": Preprocess,
    "training": Training,
}
"""Tables of the file by the last name of their key."""
