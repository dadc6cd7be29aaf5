"""Labelled images as hubs publish them: Parquet with `image` (a struct of `bytes` and `path`) and `label` (int).

Guarantees: every row is a sample or an error that names file and row; images go to a spool file as they are read, so
that memory holds one row group, whatever the number of images, and they can be packed in another order. Labels are the
file's own numbers, names of classes those that its metadata give.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from overlap.errors import DataError, StudyError, gist
from overlap.images.labelled import Labelled, key_of
from overlap.images.packing import Sample
from overlap.images.slices import Slice

SPLIT: Final = re.compile(r"(.+?)(?:-\d+-of-\d+.*)?\.parquet")
"""A hub's file name: the split, and which part of how many."""

ROWS: Final = 64
"""Rows that are turned into Python objects together."""

FORMATS: Final = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png"}
"""How the bytes of an image begin, and the extension it gets."""


def parquet_files(source: Path, split: str | None = None) -> list[Path]:
    """The Parquet files that a source means, sorted; empty where it is no Parquet.

    Args:
        source: a file, or a folder of files (directly in it, or in its folder `data`, as hubs lay them out).
        split: which split of a folder, the part of the names before `-00000-of-…`.

    Raises:
        StudyError: a folder holds several splits and none is chosen, or not the one that is.
    """
    if source.is_file():
        return [source] if source.suffix == ".parquet" else []
    files = sorted(source.glob("*.parquet")) or sorted(source.glob("data/*.parquet"))
    splits = {path: match[1] for path in files if (match := SPLIT.fullmatch(path.name))}
    known = sorted(set(splits.values()))
    if split is None and len(known) > 1:
        raise StudyError(f"{source}: holds the splits {', '.join(known)}; choose one with --split")
    if split is not None and split not in known:
        raise StudyError(f"{source}: holds no Parquet of a split '{split}'; known: {', '.join(known) or 'none'}")
    return [path for path in files if split is None or splits[path] == split]


def from_parquet(files: Sequence[Path], spool: IO[bytes], classes: Sequence[str] | None = None) -> Labelled:
    """Read the rows of Parquet files in order; a key is the stem of the image's path.

    Args:
        files: the parts of one split.
        spool: open for reading and writing; gets the images' bytes and must stay open until they are packed.
        classes: names by class number; default: those of the files' metadata.

    Returns:
        Samples; rows without a path are called by file and row, and stems that are not unique by their whole path.

    Raises:
        StudyError: a file cannot be read as Parquet, or lacks the columns.
        DataError: a row without image or label, or an image that is neither JPEG nor PNG; names file and row.
    """
    rows = [row for path in files for row in _spooled(path, spool)]
    spool.flush()
    times = Counter(key_of(PurePosixPath(path.name)) for path, _, _, _ in rows)
    samples = []
    for path, image, extension, label in rows:
        stem = key_of(PurePosixPath(path.name))
        samples.append(Sample(stem if times[stem] == 1 else key_of(path), image, extension, label))
    names = tuple(classes) if classes is not None else _class_names(files[0])
    return Labelled(tuple(samples), names)


def _spooled(path: Path, spool: IO[bytes]) -> Iterator[tuple[PurePosixPath, Slice, str, int]]:
    """Path of the image, its bytes in the spool, extension and label of each row."""
    for number, image, label in _rows(path):
        where = f"{path} row {number}"
        if not isinstance(image, dict) or not image.get("bytes"):
            raise DataError(f"{where}: no image; fill it in or remove the row")
        if label is None:
            raise DataError(f"{where}: no label; fill it in or remove the row")
        data: bytes = image["bytes"]
        extension = next((name for start, name in FORMATS.items() if data.startswith(start)), None)
        if extension is None:
            raise DataError(f"{where}: the image is neither JPEG nor PNG; convert it")
        offset = spool.seek(0, 2)
        spool.write(data)
        name = PurePosixPath(image.get("path") or f"{path.stem}-{number:08d}.{extension}")
        if extension == "jpg" and name.suffix.lower() == ".jpeg":
            extension = "jpeg"  # as from a folder of the same files
        yield name, Slice(spool, offset, len(data), where), extension, int(label)


def _rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    """Row number, image and label, a few rows in memory at a time."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path, pre_buffer=False) as file:
            schema = file.schema_arrow
            fits = (
                {"image", "label"} <= {*schema.names}
                and pa.types.is_struct(schema.field("image").type)
                and pa.types.is_integer(schema.field("label").type)
            )
            if not fits:
                raise StudyError(
                    f"{path}: needs the columns image (a struct of bytes and path) and label (int); "
                    f"it holds {', '.join(f'{field.name}: {field.type}' for field in schema)}"
                )
            for batch in file.iter_batches(ROWS, columns=["image", "label"]):
                for image, label in zip(batch["image"].to_pylist(), batch["label"].to_pylist(), strict=True):
                    yield number, image, label
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise StudyError(f"{path}: cannot be read as Parquet after {number} rows ({gist(error)}); copy it") from None


def _class_names(path: Path) -> tuple[str, ...] | None:
    """Class names by number out of the metadata that the `datasets` library writes; None where there are none."""
    from pyarrow.parquet import read_schema

    try:
        told = json.loads((read_schema(path).metadata or {})[b"huggingface"])
        names = told["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None
