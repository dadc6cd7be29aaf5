"""Class spaces: what the numbers of a head, or of a data set, stand for, and the mapping from one to the other.

A space is an ordered list of WordNet ids. Known ones are read out of timm's package data; others are lists in files.
Guarantees: a mapping is by synset alone (a class stands for exactly its synset, never for its hyponyms), it can be
told by its digest, and classes that the head lacks are counted and never predicted.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from overlap.errors import CheckpointError, StudyError
from overlap.identity import canonical_json, digest

if TYPE_CHECKING:
    import torch

SPACES: dict[str, str] = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-12k": "imagenet12k_synsets.txt",
    "imagenet-21k": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-miil": "imagenet21k_miil_synsets.txt",
    "imagenet-21k-miil-w21": "imagenet21k_miil_w21_synsets.txt",
    "imagenet-22k": "imagenet22k_synsets.txt",
    "imagenet-22k-ms": "imagenet22k_ms_synsets.txt",
    "imagenet-a": "imagenet_a_synsets.txt",
    "imagenet-r": "imagenet_r_synsets.txt",
}
"""Name of a space to its list in timm's package data; all but 22k-ms are in ascending order of the ids."""

SYNSET = re.compile(r"n\d{8}")

LACKING = 0.01
"""Share of the data's classes that a head may lack: 7 of the 1,000 for 12k heads, 1 for 21k, 9 for MIIL's 21k."""


@dataclass(frozen=True)
class ClassSpace:
    """Ordered classes under a name."""

    name: str
    classes: tuple[str, ...]
    """WordNet ids by class number."""

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class ClassMap:
    """Where a data set's classes stand in a head's logits."""

    space: str
    """Name of the head's class space; says how the columns were found, and is not in the identity."""
    head: int
    """Number of classes of the head."""
    columns: tuple[int, ...]
    """By class of the data: its number in the head, -1 for a class that the head lacks."""

    @property
    def lacking(self) -> int:
        """Number of the data's classes that the head lacks."""
        return self.columns.count(-1)

    @cached_property
    def digest(self) -> str:
        """What stands for the mapping in a fingerprint."""
        return digest(canonical_json({"head": self.head, "columns": self.columns}))

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits of the head, (n, head), to those of the data's classes, (n, len(columns)).

        A class that the head lacks gets one less than the row's least logit: finite, and never the greatest.

        Raises:
            ValueError: another number of logits than the head's.
        """
        import torch

        if logits.ndim != 2 or logits.shape[1] != self.head:
            raise ValueError(f"logits of shape {tuple(logits.shape)} are not those of a head of {self.head} classes")
        columns = torch.tensor(self.columns, device=logits.device)
        absent = columns < 0
        mapped = logits.index_select(1, columns.clamp_min(0))
        if self.lacking:
            mapped[:, absent] = mapped[:, ~absent].amin(dim=1, keepdim=True) - 1
        return mapped


@cache
def known_space(name: str) -> ClassSpace:
    """The class space of this name.

    Raises:
        StudyError: there is none; the text gives the nearest names.
    """
    if name not in SPACES:
        near = difflib.get_close_matches(name, SPACES, n=2, cutoff=0.3) or [*SPACES]
        raise StudyError(f"unknown class space '{name}'; nearest: {', '.join(near)} (or list the classes: synsets)")
    from importlib.util import find_spec

    found = find_spec("timm")  # found and not imported: that would take seconds, and torch
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise StudyError(
            f"class space '{name}' is a list of timm's, which is not installed; install it, or use synsets"
        )
    listed = Path(folders[0], "data", "_info", SPACES[name])
    return ClassSpace(name, tuple(listed.read_text(encoding="utf-8").split()))


def listed_space(path: Path) -> ClassSpace:
    """The class space that a file lists: a WordNet id a line by class number, and after it whatever one likes.

    Raises:
        StudyError: the file cannot be read, holds no classes, a line has no id, or an id stands there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"synsets {path}: cannot be read ({error}); name a text file of one WordNet id a line"
        ) from None
    first = [(number, line.split()[0].rstrip(",")) for number, line in enumerate(lines, 1) if line.strip()]
    for number, synset in first:
        if not SYNSET.fullmatch(synset):
            raise StudyError(f"synsets {path} line {number}: '{synset}' is no WordNet id such as n01440764; mend it")
    classes = tuple(synset for _, synset in first)
    doubled = [synset for synset, times in Counter(classes).items() if times > 1]
    if doubled or not classes:
        what = f"{doubled[0]} stands there twice" if doubled else "holds no classes"
        raise StudyError(f"synsets {path}: {what}; give each class its own line")
    return ClassSpace(path.name, classes)


def class_space(name: str | None, synsets: str | None) -> ClassSpace | None:
    """What the keys `class_space` and `synsets` of a section mean together: at most one of them is given."""
    if synsets is not None:
        return listed_space(Path(synsets))
    return None if name is None else known_space(name)


def class_map(head: ClassSpace, data: ClassSpace) -> ClassMap | None:
    """The mapping from a head to a data set's classes, None where they are the same in the same order.

    Raises:
        CheckpointError: the head lacks more than `LACKING` of the classes.
    """
    if head.classes == data.classes:
        return None
    numbers = {synset: number for number, synset in enumerate(head.classes)}
    columns = tuple(numbers.get(synset, -1) for synset in data.classes)
    lacking = _lacking(data.classes, columns)
    if len(lacking) > LACKING * len(data):
        raise CheckpointError(
            f"a head of {head.name} lacks {len(lacking)} of the {len(data)} classes of {data.name} "
            f"({', '.join(lacking[:3])} …); name its own class space, or leave it out"
        )
    return ClassMap(head.name, len(head), columns)


def spaces_of_size(classes: int) -> list[str]:
    """Names of the known spaces with so many classes, for hints."""
    return [name for name in SPACES if len(known_space(name)) == classes]


def _lacking(classes: Sequence[str], columns: Sequence[int]) -> list[str]:
    return [synset for synset, column in zip(classes, columns, strict=True) if column < 0]
