"""A checkpoint as everything after the study knows it: frozen, picklable, and identified by what changes its logits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from overlap.identity import fingerprint
from overlap.methodology import Training
from overlap.zoo.class_spaces import ClassMap
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing
from overlap.zoo.probe_head import ProbeHead
from overlap.zoo.texts import ZeroShot

SCHEMA = 1
"""Version of what a stored prediction means; raising it computes everything again."""


CLASSIFIER = "classifier"
"""What stands for the layer that makes a module's logits, where the study does not name it."""


@dataclass(frozen=True)
class Architecture:
    """How the module is built before weights are loaded into it."""

    source: str
    """`timm`, `torchvision`, `open_clip` or `factory`."""
    name: str
    """Model name, or `module:attribute` of a factory."""
    arguments: dict[str, Any] = field(default_factory=dict)
    source_digest: str | None = None
    """Digest of the file that defines a factory."""
    search_path: str | None = None
    """Folder from which a factory may be imported; says where, not what, so it is not in the identity."""

    def identity(self) -> dict[str, Any]:
        """The part that changes logits."""
        fields = asdict(self)
        del fields["search_path"]
        return fields


@dataclass(frozen=True)
class Candidate:
    """A checkpoint whose weights are named but not yet known by digest."""

    id: str
    architecture: Architecture
    preprocessing: Preprocessing
    numeric: Numeric
    classes: int
    """Of the head."""
    weights: str
    """Path or URI of the weights, or `timm:NAME` / `torchvision:NAME` for the source's own."""
    allow_pickle: bool = False
    training: Training = field(default_factory=Training)
    published_top1: float | None = None
    class_map: ClassMap | None = None
    """From the head's classes to the data's; None where they are the same."""
    zero_shot: ZeroShot | None = None
    """Texts that the head is made of where the weights are staged; the digest of what is stored stands for them."""
    probe: ProbeHead | None = None
    """The place of a head that is fitted on the training set; the digest of what is stored stands for it."""
    features: str | None = None
    """The layer whose input is stored beside the logits, `classifier` for the one that is found; None stores none."""
    top: bool = False
    """Whether the largest logits of each image are stored, rather than all."""

    @property
    def made(self) -> ZeroShot | ProbeHead | None:
        """What is made of the weights where they are staged; None where they are stored as they are."""
        return self.zero_shot or self.probe

    @property
    def output(self) -> str:
        """What is stored for an image, as an identity says it."""
        logits = "top" if self.top else "logits"
        if self.features in (None, CLASSIFIER):
            return logits if self.features is None else f"{logits}+features"
        return f"{logits}+features({self.features})"

    @property
    def outputs(self) -> int:
        """Number of logits that are stored for an image: of the data's classes."""
        return self.classes if self.class_map is None else len(self.class_map.columns)


@dataclass(frozen=True)
class Checkpoint:
    """A candidate with its weights identified: all that a worker needs to run it."""

    candidate: Candidate
    weights_digest: str
    weights_bytes: int

    @property
    def id(self) -> str:
        """The study's name for it."""
        return self.candidate.id

    @property
    def preprocessing(self) -> Preprocessing:
        """The candidate's resolved preprocessing."""
        return self.candidate.preprocessing

    def identity(self) -> dict[str, Any]:
        """Everything that can change a stored prediction, as plain JSON."""
        mapped = self.candidate.class_map
        return {
            "schema": SCHEMA,
            "weights": self.weights_digest,
            "architecture": self.candidate.architecture.identity(),
            "classes": self.candidate.classes,
            "preprocessing": asdict(self.candidate.preprocessing),
            "numeric": self.candidate.numeric.identity(),
            "output": self.candidate.output,
            **({} if mapped is None else {"class_map": mapped.digest}),
        }

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that name this identity in the store."""
        return fingerprint(self.identity())


@dataclass(frozen=True)
class Rejected:
    """A checkpoint that the study names and that cannot be run, with the reason a person is shown."""

    id: str
    reason: str
