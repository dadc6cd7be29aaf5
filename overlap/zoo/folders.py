"""Folders and bucket prefixes of checkpoints, listed at every run: one checkpoint a weights file or a sub-folder.

A small TOML beside the weights (NAME.toml; in a sub-folder checkpoint.toml) holds the keys of a [[checkpoint]] section;
what it leaves out is as the [[zoo]] section's defaults say. Guarantees: one listing a folder, whatever it holds; what
cannot be told, named or believed becomes a rejected checkpoint with its reason, and the others run. Nothing in a folder
can allow pickles: whoever may write weights there must not thereby run code.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from overlap import files
from overlap.checkpoint_sections import CheckpointEntry, Description, ZooQuery
from overlap.errors import CheckpointError, DataError, StoreError, StudyError
from overlap.fields import is_uri
from overlap.mistakes import explain
from overlap.sections import SECTIONS
from overlap.store.objects import READERS
from overlap.zoo.checkpoint import Rejected

WEIGHTS = (".safetensors", ".pth", ".pt")
DESCRIPTION = "checkpoint.toml"
"""What a sub-folder's description is called."""
TABLES = ("arguments", "preprocess", "training")
"""Keys that are filled up from the defaults one by one."""


def checkpoints_in(query: ZooQuery, base: Path, endpoint_url: str | None = None) -> list[CheckpointEntry | Rejected]:
    """The checkpoints that lie in a query's folder now, sorted by the name of file or sub-folder.

    Args:
        query: with `folder`.
        base: the study's folder, against which descriptions in a bucket resolve their paths.
        endpoint_url: server of `s3://` addresses.

    Raises:
        StudyError: no such folder, or no weights in it.
    """
    folder = str(query.folder).rstrip("/")
    try:
        names = files.beneath(folder, endpoint_url)
    except DataError as error:
        raise StudyError(f"zoo: folder {error}") from None
    except StoreError as error:  # one line; the rest of the zoo runs
        return [Rejected(tame(folder.rpartition("/")[2]), f"zoo: folder {folder} cannot be listed ({error})")]
    places = _places(names)
    if not places:
        raise StudyError(
            f"zoo: folder {folder} holds no weights ({', '.join(WEIGHTS)}), nor do its sub-folders; check the path"
        )
    told = [place.description for place in places if place.description is not None]
    with ThreadPoolExecutor(READERS) as readers:
        texts = dict(zip(told, readers.map(lambda name: _read(f"{folder}/{name}", endpoint_url), told), strict=True))
    found: list[CheckpointEntry | Rejected] = []
    taken: set[str] = set()
    for place in places:
        try:
            entry = _entry(place, folder, texts, query.defaults, base)
            if entry.id in taken:
                raise CheckpointError(
                    f"another one in the folder is called '{entry.id}' too; rename one, or give it id"
                )
            taken.add(entry.id)
            found.append(entry)
        except CheckpointError as error:
            found.append(
                Rejected(tame(place.name if place.stem in taken else place.stem), f"{folder}/{place.name}: {error}")
            )
    return found


@dataclass(frozen=True)
class Place:
    """Where one checkpoint lies: names relative to the folder."""

    name: str
    """Of the file or the sub-folder."""
    weights: tuple[str, ...]
    """Several in a sub-folder whose description has to choose."""
    description: str | None
    """Its TOML, where it has one."""

    @property
    def is_file(self) -> bool:
        """Whether this is a file rather than a sub-folder."""
        return self.weights == (self.name,)

    @property
    def beside(self) -> str:
        """Where its description is, or would be."""
        return f"{self.stem}.toml" if self.is_file else f"{self.name}/{DESCRIPTION}"

    @property
    def stem(self) -> str:
        """What the checkpoint is called where its description does not say."""
        return self.name.removesuffix(_suffix(self.name)) if self.is_file else self.name


def _places(names: Sequence[str]) -> list[Place]:
    """Files of weights, and sub-folders that hold some, sorted by name."""
    listed = set(names)
    inside: dict[str, list[str]] = defaultdict(list)
    places: list[Place] = []
    for name in names:
        folder, slash, _ = name.rpartition("/")
        if slash:
            inside[folder].append(name)
        elif suffix := _suffix(name):
            beside = f"{name.removesuffix(suffix)}.toml"
            places.append(Place(name, (name,), beside if beside in listed else None))
    for folder, held in inside.items():
        weights = tuple(name for name in held if _suffix(name))
        description = f"{folder}/{DESCRIPTION}"
        if weights or description in listed:
            places.append(Place(folder, weights, description if description in listed else None))
    return sorted(places, key=lambda place: place.name)


def _entry(
    place: Place, folder: str, texts: Mapping[str, str | CheckpointError], defaults: Description | None, base: Path
) -> CheckpointEntry:
    document = _document(place, texts)
    given = {} if defaults is None else defaults.model_dump(exclude_unset=True)
    if place.description is None and not {"source", "factory"} & given.keys():
        raise CheckpointError(
            f"nothing says how it is built; write {place.beside} with source or factory, or [zoo.defaults] in the study"
        )
    if "allow_pickle" in document:
        raise CheckpointError(f"{place.beside} may not set allow_pickle; only the study may, under [zoo.defaults]")
    merged = _filled(document, given)
    merged.setdefault("id", place.stem)
    merged["weights"] = f"{folder}/{_weights(place, document)}"
    here = base if is_uri(folder) else Path(folder, place.description or "").parent
    try:
        return CheckpointEntry.model_validate(merged, context={"folder": here})
    except ValidationError as error:
        told = explain(error, merged, SECTIONS, CheckpointEntry)
        raise CheckpointError(f"{place.beside if place.description else '[zoo.defaults]'}: {told}") from None


def _document(place: Place, texts: Mapping[str, str | CheckpointError]) -> dict[str, Any]:
    if place.description is None:
        return {}
    text = texts[place.description]
    if isinstance(text, CheckpointError):
        raise text
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CheckpointError(f"{place.description} is not valid TOML: {error}") from None


def _filled(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A description with its gaps filled; one that names its own architecture takes none of the defaults' arguments."""
    rest: dict[str, Any] = dict(defaults)
    if {"source", "factory"} & document.keys():
        rest = {key: value for key, value in rest.items() if key not in ("source", "factory", "arguments")}
    merged: dict[str, Any] = {**rest, **document}
    for key in TABLES:
        if isinstance(rest.get(key), dict) and isinstance(document.get(key), dict):
            merged[key] = rest[key] | document[key]
    return merged


def _weights(place: Place, document: Mapping[str, Any]) -> str:
    """The file of weights, relative to the folder; a description names it relative to itself."""
    if "weights" in document:
        chosen = str(document["weights"]) if place.is_file else f"{place.name}/{document['weights']}"
        if chosen not in place.weights:
            held = ", ".join(name.rpartition("/")[2] for name in place.weights) or "none"
            raise CheckpointError(f"{place.beside} names weights '{document['weights']}', here are: {held}; mend it")
        return chosen
    if len(place.weights) != 1:
        raise CheckpointError(
            f"it holds {len(place.weights)} files of weights; "
            + (
                f"name one in {place.beside}: weights = …"
                if place.weights
                else f"put one ({', '.join(WEIGHTS)}) beside its {DESCRIPTION}"
            )
        )
    return place.weights[0]


def _read(uri: str, endpoint_url: str | None) -> str | CheckpointError:
    try:
        return files.read(uri, endpoint_url).decode()
    except (DataError, StoreError) as error:
        return CheckpointError(f"its description cannot be read ({error})")
    except UnicodeDecodeError:
        return CheckpointError(f"its description {uri.rpartition('/')[2]} is no UTF-8 text; write it again")


def _suffix(name: str) -> str:
    return next((suffix for suffix in WEIGHTS if name.endswith(suffix)), "")


def tame(name: str) -> str:
    """A text made fit to name a checkpoint, for one that was rejected."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._+@-]", "_", name).lstrip("._+@-")[:200] or "checkpoint"
