"""ImageNet as its makers give it: the validation archive, the development kit, tables of synsets.

Guarantees: a class number is the position of the image's synset in the given list of classes, never an
ILSVRC2012_ID (the kit numbers the same synsets in another order); every image has a label and every label an image.
A key is the stem of the image's file name.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from overlap.errors import DataError, StudyError, gist
from overlap.images.labelled import Labelled, from_folders, key_of
from overlap.images.packing import EXTENSIONS, Sample
from overlap.images.slices import Slice

STEM: Final = "ILSVRC2012_val_{:08d}"
"""Of the n-th validation image, from 1."""

SYNSET: Final = re.compile(r"n\d{8}")
META, TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
"""Ends of the paths of what is read from the kit."""


def devkit_synsets(devkit: Path) -> dict[str, str]:
    """Synset by file stem of every validation image, from the kit (`ILSVRC2012_devkit_t12.tar.gz`, or unpacked).

    Raises:
        StudyError: the kit cannot be read, or lacks one of the two files.
        DataError: a line of the ground truth is no ILSVRC2012_ID of a class.
    """
    from scipy.io import loadmat

    meta, truth = _kit_files(devkit)
    try:
        rows = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        # inner nodes of the hierarchy stand in the same table: the classes are the nodes without children
        synsets = {
            int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows.reshape(-1) if int(row["num_children"]) == 0
        }
    except Exception as error:  # the reader of MATLAB files raises anything for damaged ones
        raise StudyError(f"{devkit}: its meta.mat cannot be read ({gist(error)}); get the kit again") from None
    found = {}
    for line, text in enumerate(truth.decode("ascii", "replace").split(), 1):
        if not text.isdecimal() or int(text) not in synsets:
            raise DataError(f"{devkit}: ground truth of image {line} is '{text}', no class of meta.mat")
        found[STEM.format(line)] = synsets[int(text)]
    return found


def table_synsets(path: Path) -> dict[str, str]:
    """Synset by file stem from a text or csv: a file name and a synset a line, or one synset a line in image order.

    The first field of a line names the image (with or without suffix), the first that is a WordNet id its class, as in
    `LOC_val_solution.csv`; a first line without an id is a header.

    Raises:
        StudyError: the file cannot be read, or holds nothing.
        DataError: a line without a synset or image, or an image with two lines.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); give lines of a file name and a synset") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        fields = [field.strip("\"'") for field in re.split(r"[,;\s]+", line.strip())]
        synset = next((field for field in fields if SYNSET.fullmatch(field)), None)
        if synset is None:
            if number == 1 or not line.strip():
                continue
            raise DataError(f"{path} line {number}: holds no synset such as n01440764; mend it")
        stem = STEM.format(len(found) + 1) if fields == [synset] else _stem(fields[0])
        if stem in found or stem == synset:
            said = "names no image" if stem == synset else f"'{stem}' stands there before"
            raise DataError(f"{path} line {number}: {said}; give each image one line")
        found[stem] = synset
    if not found:
        raise StudyError(f"{path}: holds no synsets; give lines of a file name and a synset")
    return found


def from_archive(file: IO[bytes], synsets: Mapping[str, str], classes: Sequence[str]) -> Labelled:
    """The images of an archive such as ILSVRC2012_img_val.tar, wherever they lie in it.

    Args:
        file: the archive, open; read once from end to end for its members, and again by each sample.
        synsets: by file stem; names exactly the images.
        classes: synsets by class number.

    Raises:
        DataError: the archive is damaged, or images and labels do not correspond; names the image.
    """
    images: dict[str, tuple[Slice, str]] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                extension = path.suffix[1:].lower()
                if not member.isreg() or extension not in EXTENSIONS or path.name.startswith("."):
                    continue
                if path.stem in images:
                    raise DataError(f"{file.name}: holds two images called '{path.stem}'; rename one")
                images[path.stem] = Slice(file, member.offset_data, member.size, f"{file.name}: {path}"), extension
    except tarfile.TarError as error:
        raise DataError(
            f"{file.name}: no archive, or a damaged or compressed one, after {len(images)} images ({gist(error)}); "
            "give the .tar itself"
        ) from None
    return _joined(file.name, images, synsets, classes)


def from_flat_folder(root: Path, synsets: Mapping[str, str], classes: Sequence[str]) -> Labelled:
    """The images that lie directly in a folder, as the archive unpacks; as `from_archive` otherwise."""
    files = sorted(path for path in root.iterdir() if path.suffix[1:].lower() in EXTENSIONS and path.name[0] != ".")
    images = {path.stem: (path, path.suffix[1:].lower()) for path in files}
    return _joined(str(root), images, synsets, classes)


def from_class_folders(root: Path, classes: Sequence[str]) -> Labelled:
    """A folder of images for each class, called by its synset, or by its number (as ImageNet-V2 has it).

    Keys are stems; where these are not unique (as in ImageNet-R), the folder's name goes before each.
    """
    found = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    numbers = [str(number) for number in range(len(classes))]
    named = from_folders(root, numbers if found and found <= {*numbers} else classes)
    stems = [key_of(PurePosixPath(Path(str(sample.image)).name)) for sample in named.samples]
    if max(Counter(stems).values()) == 1:
        samples = zip(named.samples, stems, strict=True)
        named = replace(named, samples=tuple(replace(sample, key=stem) for sample, stem in samples))
    return replace(named, classes=tuple(classes))


def counted(labelled: Labelled, images: int, source: Path) -> Labelled:
    """The samples themselves, where they are as many as they should be.

    Raises:
        DataError: they are more or fewer.
    """
    if len(labelled.samples) != images:
        raise DataError(
            f"{source}: holds {len(labelled.samples):,} images, not {images:,}; complete it, "
            f"or give --images {len(labelled.samples)} where that is right"
        )
    return labelled


def _joined(
    where: str, images: Mapping[str, tuple[Slice | Path, str]], synsets: Mapping[str, str], classes: Sequence[str]
) -> Labelled:
    """Images with the numbers of their synsets."""
    if without := sorted(images.keys() - synsets.keys()):
        raise DataError(f"{where}: {len(without)} images have no label, '{without[0]}' for instance; mend the labels")
    if absent := sorted(synsets.keys() - images.keys()):
        raise DataError(f"{where}: lacks {len(absent)} images that have labels, '{absent[0]}' for instance; copy it")
    number = {synset: index for index, synset in enumerate(classes)}
    samples = []
    for stem, (image, extension) in images.items():
        if synsets[stem] not in number:
            raise DataError(f"{where}: '{stem}' is of {synsets[stem]}, which is none of the {len(classes)} classes")
        samples.append(Sample(key_of(PurePosixPath(f"{stem}.x")), image, extension, number[synsets[stem]]))
    return Labelled(tuple(samples), tuple(classes))


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return path.stem if path.suffix[1:].lower() in EXTENSIONS else path.name


def _kit_files(devkit: Path) -> tuple[bytes, bytes]:
    """The bytes of meta.mat and of the ground truth."""
    found: dict[str, Any] = {}
    try:
        if devkit.is_dir():
            found = {end: path.read_bytes() for end in (META, TRUTH) for path in devkit.rglob("*") if _is(path, end)}
        else:
            with tarfile.open(devkit) as archive:
                for member in archive:
                    end = next((end for end in (META, TRUTH) if _is(PurePosixPath(member.name), end)), None)
                    if end is not None and (file := archive.extractfile(member)) is not None:
                        found[end] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise StudyError(f"{devkit}: cannot be read ({gist(error)}); give ILSVRC2012_devkit_t12.tar.gz") from None
    for end in (META, TRUTH):
        if end not in found:
            raise StudyError(f"{devkit}: holds no {end}; give ILSVRC2012_devkit_t12.tar.gz")
    return found[META], found[TRUTH]


def _is(path: Path | PurePosixPath, end: str) -> bool:
    return path.parts[-2:] == PurePosixPath(end).parts
