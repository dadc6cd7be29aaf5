"""What an exported ensemble is: `ensemble.json`, all that is needed to ask it and to know where it comes from.

Guarantees: what is read was written by `write`, in a schema that this version knows, and names files inside its folder
alone. Fields and their meaning are those of the classes here; in JSON they have the same names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from overlap.errors import StudyError
from overlap.identity import canonical_json, digest
from overlap.zoo.checkpoint import Architecture, Candidate
from overlap.zoo.class_spaces import ClassMap
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing

FILE = "ensemble.json"
KIND = "overlap ensemble"
SCHEMA = 1
FACTORIES = "factories"
"""Folder of an export from which factories are imported."""


@dataclass(frozen=True)
class Held:
    """A file of the export: its path in there, SHA-256 and size in bytes."""

    file: str
    digest: str
    bytes: int


@dataclass(frozen=True)
class Member:
    """One network of an ensemble."""

    model: str
    """The study's name for it."""
    fingerprint: str
    weight: float
    """Share in the mean of probabilities; those of all members sum to one."""
    temperature: float
    """Fitted on all images of the data set, as an image from elsewhere asks for. The study's own figures are out of
    fold: there each image has the temperature that was fitted without its fold, so that theirs differ a little."""
    architecture: Architecture
    """Source, name and arguments; of a factory also the digest of its source file."""
    classes: int
    """Of the head."""
    class_map: ClassMap | None
    """From the head's classes to the ensemble's; None where they are the same."""
    preprocessing: Preprocessing
    numeric: Numeric
    features: str | None
    """Part of the fingerprint: which features the study stores of it."""
    stored: str
    """Digest of the weights as the study has them."""
    weights: Held
    """The same tensors as safetensors; the study's own file where that is one."""
    factory: tuple[Held, ...] = ()
    """Source file of a factory, and those of the packages it is in."""
    program: Held | None = None
    """A `torch.export` program: pixels (n, 3, height, width) of 0-255 in, calibrated probabilities (n, classes) out."""
    no_program: str | None = None
    """Why there is none."""
    top: bool = False
    """Whether the study stores its largest logits alone; it is asked for all of them either way."""

    def candidate(self, folder: Path) -> Candidate:
        """What overlap loads, from an export's folder."""
        return Candidate(
            id=self.model,
            architecture=replace(self.architecture, search_path=str(folder / FACTORIES) if self.factory else None),
            preprocessing=self.preprocessing,
            numeric=self.numeric,
            classes=self.classes,
            weights=self.weights.file,
            class_map=self.class_map,
            features=self.features,
            top=self.top,
        )

    def files(self) -> Iterator[Held]:
        """Everything of it that the folder holds."""
        yield self.weights
        yield from self.factory
        if self.program is not None:
            yield self.program


@dataclass(frozen=True)
class Standing:
    """What the study says of the ensemble on its test split; None where that has no images."""

    accuracy: float | None
    gain: float | None
    """In accuracy, over `over`."""
    gain_low: float | None
    gain_high: float | None
    """Paired 95% interval."""
    over: str | None
    """The best single model of the selection split."""


@dataclass(frozen=True)
class Description:
    """A whole ensemble."""

    study: str
    data: str
    search: str
    """That found it; `models` where they were named."""
    size: int
    """Members, each as often as it was taken."""
    inputs_digest: str
    """Of the reduction that it is taken from."""
    dataset_digest: str
    classes: int
    class_names: tuple[str, ...]
    members: tuple[Member, ...]
    tested: Standing
    versions: dict[str, str] = field(default_factory=dict)
    """Of the packages that wrote it."""
    kind: str = KIND
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """Equal for equal members with equal weights, calibrated on equal images."""
        return key_of(self.dataset_digest, {member.fingerprint: member.weight for member in self.members})

    @property
    def has_programs(self) -> bool:
        """Whether it can be asked without the libraries that its members come from."""
        return all(member.program is not None for member in self.members)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return dict(json.loads(json.dumps(asdict(self))))


def key_of(dataset_digest: str, weights: Mapping[str, float]) -> str:
    """What names an ensemble: its members' fingerprints with their shares, and the images it is calibrated on."""
    held = sorted([fingerprint, round(weight, 12)] for fingerprint, weight in weights.items())
    return digest(canonical_json({"schema": SCHEMA, "dataset": dataset_digest, "members": held}))


def write(description: Description, folder: Path) -> None:
    """Write `ensemble.json`."""
    text = json.dumps(description.as_json(), indent=1, sort_keys=True, allow_nan=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def is_export(folder: Path) -> bool:
    """Whether a folder holds an ensemble, of whatever schema."""
    try:
        held = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(held, dict) and held.get("kind") == KIND


def read(folder: Path) -> Description:
    """Read `ensemble.json`.

    Raises:
        StudyError: there is none, it is of another schema, or altered.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
        schema = json.loads(text)["schema"]
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}; name a folder that `overlap export` wrote") from None
    except (ValueError, KeyError, TypeError):
        raise StudyError(f"{path}: is no description of an ensemble; export it again") from None
    if schema != SCHEMA:
        raise StudyError(f"{path}: has schema {schema}, this version knows {SCHEMA}; export it again with this version")
    try:
        described = TypeAdapter(Description).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StudyError(f"{path}: {place}: {first['msg']}; export it again") from None
    for held in (held for member in described.members for held in member.files()):
        parts = PurePosixPath(held.file)
        if parts.is_absolute() or ".." in parts.parts:
            raise StudyError(f"{path}: names '{held.file}', which is not in its folder; export it again")
    return described
