"""Labelled images into WebDataset shards, with an index of counts and digests.

Guarantees: equal samples give equal bytes, on any machine; samples are ordered by a hash of their key, so that any one
shard is a random sample of the whole; image bytes are stored as they are; every image was decoded once before anything
is visible under its final name, and the index is written last. Not decided here: what a key or a label means.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlap.errors import DataError, StoreError, StudyError
from overlap.identity import canonical_json, digest, digest_file, digest_keys
from overlap.images.slices import Slice

EXTENSIONS: Final = ("jpg", "jpeg", "png")
"""What a shard may hold; the same that the readers take."""

INDEX: Final = "shards-index.json"
"""File name of the index, beside the shards."""

INDEX_SCHEMA: Final = 1

DECODERS: Final = 4
"""Threads that decode images to see whether they can be; twice as many images are in memory."""


@dataclass(frozen=True)
class Sample:
    """One labelled image. `image` is its bytes, or a file or a part of one that is read only when it is written."""

    key: str
    image: bytes | Path | Slice
    extension: str
    label: int
    """Class number; -1 where `several` holds them."""
    several: tuple[int, ...] | None = None
    """All class numbers, for a multi-label shard; there may be none."""

    @property
    def classes(self) -> tuple[int, ...]:
        """All its class numbers."""
        return (self.label,) if self.several is None else self.several

    def read(self) -> bytes:
        """The image's bytes.

        Raises:
            DataError: the file cannot be read.
        """
        if isinstance(self.image, bytes):
            return self.image
        if isinstance(self.image, Slice):
            return self.image.read()
        try:
            return self.image.read_bytes()
        except OSError as error:
            raise DataError(f"{self.image}: cannot be read ({error.strerror}); mend or omit it") from None

    @property
    def origin(self) -> str:
        """What an error calls this sample."""
        return f"image {self.key!r}" if isinstance(self.image, bytes) else str(self.image)


def pack(
    samples: Iterable[Sample],
    folder: Path,
    *,
    prefix: str,
    images_per_shard: int | None = None,
    shards: int | None = None,
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write samples as `PREFIX-000000.tar`, `PREFIX-000001.tar`, … and their index.

    Args:
        samples: in any order; their images are read when they are written, a few at a time.
        folder: made if absent. Shards of the same prefix that this call would not replace are refused.
        prefix: start of the shards' names.
        images_per_shard: how many images a shard holds at most. Give this or `shards`.
        shards: how many shards; their sizes differ by one image at most.
        classes: names of the classes by number, for the index.

    Returns:
        The shards written, in order.

    Raises:
        DataError: no samples, a doubled or unusable key, a negative label, an image that cannot be read or decoded.
        StudyError: both or neither of the sizes, more shards than images, or a folder that holds other shards.
        StoreError: the folder cannot be written, for instance because the disk is full.
    """
    ordered = _ordered(samples, classes)
    count = _shard_count(len(ordered), images_per_shard, shards)
    paths = [folder / f"{prefix}-{number:06d}.tar" for number in range(count)]
    temporary = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted({*folder.glob(f"{prefix}-*.tar")} - {*paths})
        if foreign:
            raise StudyError(f"{foreign[0]}: left by an earlier packing into other shards; name an empty folder")
        rows = []
        for number, path in enumerate(temporary):
            chunk = ordered[len(ordered) * number // count : len(ordered) * (number + 1) // count]
            _write(path, chunk)
            rows.append(_row(path, paths[number].name, chunk))
        (folder / INDEX).unlink(missing_ok=True)  # never an index beside shards that it does not describe
        for path, final in zip(temporary, paths, strict=True):
            path.replace(final)
        _write_index(folder, rows, classes)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); free space or name another folder") from None
    finally:
        for path in temporary:
            if path.exists():
                path.unlink()
    return paths


def is_packed(folder: Path) -> bool:
    """Whether the folder holds an index and exactly the bytes it describes."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        return index["schema"] == INDEX_SCHEMA and all(
            digest_file(folder / row["file"]) == row["digest"] for row in index["shards"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _ordered(samples: Iterable[Sample], classes: Sequence[str] | None) -> list[Sample]:
    seen: dict[str, Sample] = {}
    for sample in samples:
        if sample.key in seen:
            raise DataError(f"{sample.origin}: key '{sample.key}' is also {seen[sample.key].origin}'s; rename one")
        if not sample.key or not sample.key.isprintable() or "." in sample.key or sample.key.startswith("/"):
            raise DataError(f"{sample.origin}: {sample.key!r} cannot be a key; use a printable name without dots")
        if sample.extension not in EXTENSIONS:
            raise DataError(f"{sample.origin}: '{sample.extension}' cannot be packed; convert it to png or jpeg")
        for label in sample.classes:
            if label < 0 or (classes is not None and label >= len(classes)):
                raise DataError(f"{sample.origin}: label {label} is no class number; they count from 0")
        seen[sample.key] = sample
    if not seen:
        raise DataError("no images to pack; name a folder of class folders or a csv of path,label")
    return sorted(seen.values(), key=lambda sample: digest(sample.key.encode()))


def _shard_count(images: int, images_per_shard: int | None, shards: int | None) -> int:
    if (images_per_shard is None) == (shards is None):
        raise StudyError("give either the number of images per shard or the number of shards")
    wanted = images_per_shard if shards is None else shards
    if wanted is None or wanted < 1:
        raise StudyError(f"{wanted} is no size; give at least 1")
    count = -(-images // wanted) if shards is None else wanted
    if count > images:
        raise StudyError(f"{images} images cannot fill {count} shards; ask for fewer shards")
    return count


def _write(path: Path, samples: Sequence[Sample]) -> None:
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for sample, image in _read(samples):
            _add(tar, f"{sample.key}.{sample.extension}", image)
            _add(tar, f"{sample.key}.cls", " ".join(map(str, sample.classes)).encode())
        tar.close()  # its end marker belongs before the sync; closing twice is allowed
        file.flush()
        os.fsync(file.fileno())


def _read(samples: Sequence[Sample]) -> Iterator[tuple[Sample, bytes]]:
    """Samples with their images in order, each decoded once; a few ahead, in threads, since decoding is what lasts."""
    pool, ahead = ThreadPoolExecutor(DECODERS), deque[Future[bytes]]()
    try:
        for number, sample in enumerate(samples):
            while len(ahead) < 2 * DECODERS and number + len(ahead) < len(samples):
                ahead.append(pool.submit(_decodable, samples[number + len(ahead)]))
            yield sample, ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decodable(sample: Sample) -> bytes:
    image = sample.read()
    _decode(image, sample)
    return image


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # time, owner and group stay 0, so that bytes depend on the samples alone
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))


def _decode(image: bytes, sample: Sample) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as opened:
            opened.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for damaged bytes
        raise DataError(f"{sample.origin}: no readable image ({error}); replace it or leave it out") from None


def _row(path: Path, name: str, samples: Sequence[Sample]) -> dict[str, str | int]:
    return {
        "file": name,
        "samples": len(samples),
        "bytes": path.stat().st_size,
        "digest": digest_file(path),
        "keys_digest": digest_keys(sample.key for sample in samples),
    }


def _write_index(folder: Path, rows: list[dict[str, str | int]], classes: Sequence[str] | None) -> None:
    index = {
        "schema": INDEX_SCHEMA,
        "samples": sum(int(row["samples"]) for row in rows),
        "classes": None if classes is None else list(classes),
        "shards": rows,
    }
    temporary = folder / f".{INDEX}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(canonical_json(index) + b"\n")
        temporary.replace(folder / INDEX)
    finally:
        temporary.unlink(missing_ok=True)
