"""Labelled images as people keep them: a folder for each class, or a csv of paths and labels.

Guarantees: which class has which number depends on names alone (sorted, or as the caller lists them), never on the
file system's order; every image that cannot be packed is an error that names it. Nothing is decoded here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from overlap.errors import DataError, StudyError
from overlap.images.packing import EXTENSIONS, Sample

OTHER_IMAGES: Final = frozenset({"bmp", "gif", "jp2", "ppm", "tif", "tiff", "webp", "avif", "heic", "jxl"})
"""Images that shards do not hold; found among the others they are an error, and never left out silently."""


@dataclass(frozen=True)
class Labelled:
    """Samples, and the names of their classes by number (None where labels were numbers already)."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...] | None


def from_folders(root: Path, classes: Sequence[str] | None = None) -> Labelled:
    """Read a tree `ROOT/CLASS/…/image.jpg`; a key is `CLASS_…_image`.

    Args:
        root: its folders are the classes; hidden files and folders, and files that are no images, are passed over.
        classes: names of the class folders in order of their number; default: all folders, sorted.

    Raises:
        StudyError: no such folder, no class folders, or a class folder that the list lacks or the tree lacks.
        DataError: an image in a format that shards do not hold.
    """
    if not root.is_dir():
        raise StudyError(f"{root}: no such folder; name a folder that holds a folder of images for each class")
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise StudyError(f"{root}: holds no class folders; put images into {root}/CLASS/, or use a csv of path,label")
    if classes is None and all(name.isdecimal() for name in found) and found != sorted(found, key=int):
        raise StudyError(
            f"{root}: class folders are numbers, and sorted as names ({', '.join(found[:3])} …) they are not in their "
            "order; list the folders in class order with --classes"
        )
    names = tuple(found if classes is None else classes)
    if differing := sorted({*names} ^ {*found}):
        raise StudyError(f"{root}: class '{differing[0]}' is only in the list or only a folder; make the two agree")
    samples = tuple(
        Sample(key_of(path.relative_to(root)), path, extension, label)
        for label, name in enumerate(names)
        for path, extension in _images(root / name)
    )
    if not samples:
        raise DataError(f"{root}: its class folders hold no {', '.join(EXTENSIONS)} images")
    return Labelled(samples, names)


def from_csv(path: Path, classes: Sequence[str] | None = None) -> Labelled:
    """Read a csv with the columns `path` and `label`, or for multi-label shards `labels`, and optionally `key`.

    In `labels` stand class numbers with spaces between, or nothing where an image is of none of the classes.

    Args:
        path: the csv; relative image paths are relative to it. A key defaults to the path as written, without its
            suffix (absolute paths: the file's name alone).
        classes: class names in order of their number, where labels are names; default: all names, sorted. Where every
            label is a number, labels are class numbers from 0.

    Raises:
        StudyError: the csv is missing, unreadable, or lacks a column.
        DataError: a row without path or label, a label that is no class, a file in a format that shards do not hold.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: cannot be read as csv ({error}); it needs the columns path,label") from None
    several = "labels" in columns
    if several and "label" in columns:
        raise StudyError(f"{path}: has the columns 'label' and 'labels'; keep the one that is meant")
    needed = ("path",) if several else ("path", "label")
    for column in needed:
        if column not in columns:
            raise StudyError(f"{path}: has no column '{column}'; its first line must be path,label (or path,labels)")
    for line, row in rows:
        for column in needed:
            if not (row[column] or "").strip():
                raise DataError(f"{path} line {line}: no {column}; fill it in or remove the row")
    held: list[tuple[int, tuple[int, ...] | None]]
    if several:
        held = [(-1, _several(path, line, row["labels"] or "")) for line, row in rows]
        names = None if classes is None else tuple(classes)
    else:
        numbers, names = _numbers(path, [(line, row["label"].strip()) for line, row in rows], classes)
        held = [(number, None) for number in numbers]
    samples = []
    for (line, row), labels in zip(rows, held, strict=True):
        image = Path(row["path"].strip())
        extension = image.suffix[1:].lower()
        if extension not in EXTENSIONS:
            raise DataError(f"{path} line {line}: {image} is no {', '.join(EXTENSIONS)} file; convert it")
        key = (row.get("key") or "").strip() or key_of(Path(image.name) if image.is_absolute() else image)
        samples.append(Sample(key, path.parent / image, extension, *labels))
    return Labelled(tuple(samples), names)


def key_of(path: PurePath) -> str:
    """The key of an image at this relative path."""
    # A WebDataset key ends at the first dot of a name, and object stores and csv files take no offence at underscores.
    parts = [part for part in path.with_suffix("").parts if part not in ("..", "/")]
    return "_".join(parts).replace(".", "_")


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        extension = path.suffix[1:].lower()
        if extension in OTHER_IMAGES:
            raise DataError(f"{path}: '{extension}' cannot be packed; convert it to png or jpeg")
        if extension in EXTENSIONS:
            yield path, extension


def _several(path: Path, line: int, labels: str) -> tuple[int, ...]:
    strange = next((label for label in labels.split() if not (label.isascii() and label.isdigit())), None)
    if strange is not None:
        raise DataError(
            f"{path} line {line}: '{strange}' in labels is no class number; write numbers from 0 with spaces between"
        )
    return tuple(dict.fromkeys(map(int, labels.split())))


def _numbers(
    path: Path, labels: Sequence[tuple[int, str]], classes: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...] | None]:
    """Class numbers of labels, and the names by number where the labels are names."""
    if classes is None:
        numeric = [label.isascii() and label.isdigit() for _, label in labels]
        if all(numeric):
            return [int(label) for _, label in labels], None
        if any(numeric):
            line, label = next(labels[row] for row, is_number in enumerate(numeric) if not is_number)
            raise DataError(f"{path} line {line}: label '{label}' is a name, others are numbers; use one or the other")
        classes = sorted({label for _, label in labels})
    number = {name: index for index, name in enumerate(classes)}
    for line, label in labels:
        if label not in number:
            raise DataError(f"{path} line {line}: label '{label}' is not in the list of classes; add or mend it")
    return [number[label] for _, label in labels], tuple(classes)
