"""What `overlap shards` can be given, opened for as long as it is packed.

Guarantees: the kind of a source follows from what it is on disk, not from an option; memory holds names and labels,
never the images; a spool (of Parquet) is an unnamed file on the disk that gets the shards, gone with the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from overlap.errors import StoreError, StudyError
from overlap.images import imagenet
from overlap.images.labelled import Labelled, from_csv, from_folders
from overlap.images.parquet import from_parquet, parquet_files


@contextmanager
def opened(
    source: Path, folder: Path, classes: Sequence[str] | None = None, split: str | None = None
) -> Iterator[Labelled]:
    """Labelled images of a csv, of Parquet, or of class folders.

    Args:
        source: the csv, a Parquet file or a folder of them, or a folder with a folder for each class.
        folder: where the shards will be.
        classes: names of the classes by number.
        split: of Parquet files, the one to read.

    Raises:
        StudyError, DataError: as the readers of each kind do.
        StoreError: the spool cannot be written.
    """
    files = parquet_files(source, split)
    if files:
        with _parquet(files, folder, classes) as labelled:
            yield labelled
    else:
        yield from_csv(source, classes) if source.suffix == ".csv" else from_folders(source, classes)


@contextmanager
def opened_imagenet(
    source: Path,
    folder: Path,
    classes: Sequence[str],
    *,
    devkit: Path | None = None,
    labels: Path | None = None,
    split: str | None = None,
) -> Iterator[Labelled]:
    """Labelled images of ImageNet or of a set in its classes: the archive, class folders, or Parquet.

    Args:
        source: ILSVRC2012_img_val.tar or what it unpacks to (both need a devkit or labels), a folder of folders called
            by synset or number, or Parquet.
        folder: where the shards will be.
        classes: synsets by class number.
        devkit: the development kit, packed or not.
        labels: a table of file names and synsets.
        split: of Parquet files, the one to read.

    Raises:
        StudyError, DataError: as the readers of each kind do; or labels are missing, or given twice.
        StoreError: the spool cannot be written.
    """
    if devkit is not None and labels is not None:
        raise StudyError("--devkit and --labels both name labels; give one of them")
    files = parquet_files(source, split)
    if files:
        with _parquet(files, folder, classes) as labelled:
            yield labelled
        return
    if source.is_dir() and any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir()):
        yield imagenet.from_class_folders(source, classes)
        return
    if devkit is None and labels is None:
        raise StudyError(
            f"{source}: its images carry no labels; add --devkit ILSVRC2012_devkit_t12.tar.gz, or --labels"
        )
    synsets = imagenet.table_synsets(labels) if labels is not None else imagenet.devkit_synsets(Path(str(devkit)))
    if source.is_dir():
        yield imagenet.from_flat_folder(source, synsets, classes)
        return
    try:
        archive = source.open("rb")
    except OSError as error:
        raise StudyError(
            f"{source}: cannot be read ({error.strerror}); name an archive, a folder, or Parquet"
        ) from None
    with archive:
        yield imagenet.from_archive(archive, synsets, classes)


@contextmanager
def _parquet(files: Sequence[Path], folder: Path, classes: Sequence[str] | None) -> Iterator[Labelled]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed below, whatever closing says)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); name another folder") from None
    try:
        try:
            labelled = from_parquet(files, spool, classes)
        except OSError as error:
            raise StoreError(
                f"{folder}: the images' spool cannot be written ({error.strerror}); free space for the images twice"
            ) from None
        yield labelled
    finally:
        with suppress(OSError):  # of a full disk it would say so again
            spool.close()
