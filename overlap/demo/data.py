"""The demo's images on disk: shards like anybody's, for evaluation, for training, and of other images altogether.

Guarantees: what is there and whole is kept; bytes depend on the versions of scikit-learn, matplotlib and Pillow alone.
"""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overlap.demo.recipes import recipes
from overlap.errors import DataError, StoreError
from overlap.identity import digest_file
from overlap.images.packing import INDEX, is_packed, pack

if TYPE_CHECKING:
    from PIL.Image import Image

SHARDS = 8
"""Shards of the evaluation set."""

EVALUATION = "digits"
"""Name of the evaluation set, in the study and in the names of its shards."""

DOWNSTREAM = "letters"
"""Name of the images of other classes on which features are tried."""

PROBES = "digits-disjoint"
"""The training set on which linear probes are fitted: of few checkpoints' own."""

NEIGHBOURS = "digits-neighbours.csv"
"""The second truth about the evaluation set, beside it."""

GROUPS = "digits-groups.csv"
"""Which digits belong together."""

LOOPS = (0, 6, 8, 9)
"""Digits with a loop in every hand."""


def prepare_data(folder: Path) -> list[Path]:
    """Make the demo's data sets, or keep them.

    Args:
        folder: the demo's folder; shards go to `data/digits`, `data/letters` and `data/training/<name>` in it, and the
            tables about the digits to `data`.

    Returns:
        The evaluation shards, in order.

    Raises:
        StoreError: the folder cannot be written.
    """
    evaluation = evaluation_folder(folder)
    if not is_packed(evaluation):
        from overlap.demo import digits

        shutil.rmtree(evaluation, ignore_errors=True)
        pack(digits.evaluation(), evaluation, prefix=EVALUATION, shards=SHARDS, classes=[*"0123456789"])
    _prepare_letters(folder / "data" / DOWNSTREAM)
    _prepare_tables(folder / "data")
    for name in sorted({recipe.dataset for recipe in recipes()}):
        prepare_training_set(folder, name)
    return sorted(evaluation.glob("*.tar"))


def prepare_training_set(folder: Path, name: str) -> None:
    """Make one training set, or keep it; `name` as in `digits.TRAINING_SETS`."""
    target = training_folder(folder, name)
    if not is_packed(target):
        from overlap.demo import digits

        shutil.rmtree(target, ignore_errors=True)
        pack(digits.training(name), target, prefix=name, shards=1, classes=[*"0123456789"])


def _prepare_letters(target: Path) -> None:
    if not is_packed(target):
        from overlap.demo import letters

        shutil.rmtree(target, ignore_errors=True)
        pack(letters.letters(), target, prefix=DOWNSTREAM, shards=2, classes=[*letters.SHAPES])


def _prepare_tables(folder: Path) -> None:
    """What is said of the digits beside their labels: the classes their neighbours bear, and which belong together."""
    if (folder / NEIGHBOURS).exists() and (folder / GROUPS).exists():
        return
    from overlap.demo import digits, neighbours

    keys = {sample.key for sample in digits.evaluation()}
    groups = [f"{digit},{'loops' if digit in LOOPS else 'no loops'}" for digit in range(digits.CLASSES)]
    for name, text in {NEIGHBOURS: neighbours.table(keys), GROUPS: "\n".join(["class,group", *groups, ""])}.items():
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)
        except OSError as error:
            raise StoreError(
                f"{folder}: cannot be written ({error.strerror}); free space or name another folder"
            ) from None
        finally:
            temporary.unlink(missing_ok=True)


def evaluation_folder(folder: Path) -> Path:
    """Where the evaluation shards are."""
    return folder / "data" / EVALUATION


def training_folder(folder: Path, name: str) -> Path:
    """Where a training set is."""
    return folder / "data" / "training" / name


def data_digest(folder: Path) -> str:
    """Digest of a packed data set: that of its index, which holds the digests of its shards.

    Raises:
        DataError: it was not prepared.
    """
    if not (folder / INDEX).exists():
        raise DataError(f"{folder}: holds no data set; prepare the demo's data first")
    return digest_file(folder / INDEX)


@dataclass(frozen=True)
class Decoded:
    """Decoded images (RGB) with their labels, in the order of the shards."""

    images: tuple[Image, ...]
    labels: tuple[int, ...]


def read_shards(folder: Path) -> Decoded:
    """Read every image of a packed data set into memory.

    Raises:
        DataError: it was not prepared, or cannot be read.
    """
    from PIL import Image

    from overlap.images.shards import read_samples

    data_digest(folder)
    samples = [sample for path in sorted(folder.glob("*.tar")) for sample in read_samples(str(path))]
    images = tuple(Image.open(io.BytesIO(sample.image)).convert("RGB") for sample in samples)
    return Decoded(images, tuple(sample.label for sample in samples))
