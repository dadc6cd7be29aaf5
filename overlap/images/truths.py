"""Further truths about images that are labelled already: per image several accepted classes, one, or none.

Two forms are read. A JSON list holds a list of class numbers for each image, in the order of the images' sorted keys,
which is how reassessed ImageNet labels are given (an entry for each validation file). A table (csv or Parquet) goes by
key: columns `key` and `label`, where a label is a number, several with spaces between, or nothing; a key may have
several rows. Guarantees: every image is spoken of, and none that the data set lacks; else a line says which.
"""

from __future__ import annotations

import io
import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from overlap import files
from overlap.analysis.truths import NONE
from overlap.errors import DataError, StudyError
from overlap.identity import canonical_json, digest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Truth:
    """What is held to be true of a data set's images, aligned with its keys."""

    name: str | None
    """None for the labels in the shards."""
    labels: NDArray[np.int32]
    """(N,) classes; or (N, L) accepted ones, padded with -1, which fill the rows of images without any."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,): the images that have an accepted class; the others are no part of what is measured."""
        return np.asarray((self.labels if self.labels.ndim == 1 else self.labels[:, 0]) != NONE)

    @property
    def digest(self) -> str:
        """What stands for the truth among the inputs of a reduction."""
        return digest(canonical_json(self.labels.tolist()))

    def table(self, keys: Sequence[str]) -> pl.DataFrame:
        """Columns key and labels, a list of accepted classes a row."""
        rows = self.labels[:, None] if self.labels.ndim == 1 else self.labels
        return pl.DataFrame(
            {"key": list(keys), "labels": [row[row != NONE].tolist() for row in rows]},
            schema={"key": pl.String, "labels": pl.List(pl.Int32)},
        )


def read_truth(
    name: str, uri: str, keys: Sequence[str], classes: int, names: Sequence[str] = (), endpoint_url: str | None = None
) -> Truth:
    """Read a truth about the images of these keys.

    Args:
        name: the study's name of it.
        uri: path, `s3://` or `http(s)://`; .json, .csv or .parquet.
        keys: of the whole data set, in its order.
        classes: number of classes of the data set.
        names: class names by number, which labels may use instead.
        endpoint_url: server of `s3://` addresses.

    Raises:
        StudyError: the file cannot be read, or does not fit the data set; names it and what does not.
    """
    try:
        body = files.read(uri, endpoint_url)
    except DataError as error:
        raise StudyError(f"truth '{name}': {error}") from None
    where = f"truth '{name}' ({uri})"
    numbers = {**{str(number): number for number in range(classes)}, **{text: n for n, text in enumerate(names)}}
    if uri.endswith(".json"):
        accepted = _by_place(where, body, keys)
    elif uri.endswith((".csv", ".parquet")):
        accepted = _by_key(where, uri, body, keys, numbers)
    else:
        raise StudyError(f"{where} is neither .json, .csv nor .parquet; give it one of these forms")
    rows: list[list[int]] = []
    for key, labels in zip(keys, accepted, strict=True):
        strange = [label for label in labels if str(label) not in numbers]
        if strange:
            raise StudyError(
                f"{where}: label {strange[0]!r} of '{key}' is no class number from 0 to {classes - 1}"
                + (" nor one of the data's names" if names else "")
            )
        rows.append(list(dict.fromkeys(numbers[str(label)] for label in labels)))
    if not any(rows):
        raise StudyError(f"{where} accepts no class of any image; is it the right file?")
    padded = np.full((len(rows), max(map(len, rows))), NONE, np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return Truth(name, padded)


def _by_place(where: str, body: bytes, keys: Sequence[str]) -> list[list[Any]]:
    """A JSON list, an entry for each image in the order of sorted keys."""
    try:
        entries = json.loads(body)
    except ValueError as error:
        raise StudyError(f"{where} is no JSON ({error})") from None
    if not isinstance(entries, list) or not all(isinstance(entry, list | int) for entry in entries):
        raise StudyError(f"{where} is no list with a class number, or a list of them, for each image")
    if len(entries) != len(keys):
        raise StudyError(
            f"{where} has {len(entries)} entries for {len(keys)} images; it needs one for each, in the order of their "
            "sorted keys"
        )
    sorted_place = {key: place for place, key in enumerate(sorted(keys))}
    ordered = [entries[sorted_place[key]] for key in keys]
    return [entry if isinstance(entry, list) else [entry] for entry in ordered]


def _by_key(where: str, uri: str, body: bytes, keys: Sequence[str], known: Container[str]) -> list[list[Any]]:
    """A table with columns key and label; labels as text, several of them with spaces between."""
    try:
        if uri.endswith(".csv"):
            table = pl.read_csv(io.BytesIO(body), infer_schema=False)
        else:
            table = pl.read_parquet(io.BytesIO(body))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StudyError(f"{where} cannot be read: {str(error).splitlines()[0]}") from None
    if missing := {"key", "label"} - set(table.columns):
        raise StudyError(f"{where} lacks the column {', '.join(sorted(missing))}; it has {', '.join(table.columns)}")
    found: dict[str, list[str]] = {key: [] for key in keys}
    spoken: set[str] = set()
    for key, label in zip(table["key"].cast(pl.String), table["label"].to_list(), strict=True):
        if key not in found:
            raise StudyError(f"{where}: key '{key}' is no image of the data set; are its keys those of the shards?")
        spoken.add(key)
        found[key] += _labels(label, known)
    silent = next((key for key in keys if key not in spoken), None)
    if silent is not None:
        raise StudyError(
            f"{where} says nothing of {len(keys) - len(spoken)} of {len(keys)} images (first: '{silent}'); give an "
            "image without an accepted class a row with an empty label"
        )
    return [found[key] for key in keys]


def _labels(label: Any, known: Container[str]) -> list[str]:
    """Nothing, a number, a list of them, a name (which may hold spaces), or several numbers with spaces between."""
    if label is None:
        return []
    if isinstance(label, list):
        return [str(each) for each in label]
    return [str(label)] if str(label) in known else str(label).split()
