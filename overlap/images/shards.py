"""WebDataset shards: their names, their samples, and the digest that identifies one.

A sample is `KEY.jpg` (or `.jpeg`, `.png`) with `KEY.cls`, the class number from 0, side by side in the archive; a key
ends at the first dot of a file's name, as WebDataset has it. In multi-label shards `KEY.cls` holds all class numbers of
an image with spaces between ("3 7 12"), or nothing. A shard is read whole: an archive that is truncated or
damaged anywhere, a sample without label or image, or a doubled key is an error, never a shorter shard.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from overlap import files
from overlap.errors import DataError, StudyError, gist
from overlap.identity import SHORT

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png")
END_OF_ARCHIVE = 1024
"""Zero bytes at least that end an archive."""
META = re.compile(r"__[^/]*__(?:/|$)")
"""Files about the shard itself."""


@dataclass(frozen=True)
class Sample:
    """One labelled image as it stands in a shard."""

    key: str
    image: bytes
    classes: tuple[int, ...]
    """Class numbers as the .cls file has them, each once."""

    @property
    def label(self) -> int:
        """The class of a sample that has one."""
        return self.classes[0]


@dataclass(frozen=True)
class Shard:
    """A shard that was read through once: what it holds, and the digest that names it."""

    uri: str
    digest: str
    """Over keys and image bytes in order; labels are not in it."""
    keys: tuple[str, ...]
    labels: tuple[int, ...] | tuple[tuple[int, ...], ...]
    """Class numbers; of multi-label shards all those of each image."""
    limit: int | None = None
    """Number of leading samples that count, in a smoke run; None for all."""

    @property
    def name(self) -> str:
        """The digest's first 16 hex digits, as they stand in keys of the store."""
        return self.digest[:SHORT]

    @property
    def file(self) -> str:
        """The shard's file name, as `allow_missing_shards` names it."""
        return PurePosixPath(self.uri).name

    def __len__(self) -> int:
        return len(self.keys)


def expand(patterns: Sequence[str], endpoint_url: str | None = None) -> list[str]:
    """Addresses of all shards: braces expanded, folders and prefixes listed.

    Raises:
        StudyError: a folder holds no `.tar` file, or a brace is not closed.
    """
    from braceexpand import braceexpand

    uris: list[str] = []
    for pattern in patterns:
        try:
            expanded = list(braceexpand(pattern))
        except ValueError:
            raise StudyError(f"shards '{pattern}': a brace is not closed; write NAME-{{000..009}}.tar") from None
        for uri in expanded:
            if uri.endswith(".tar"):
                uris.append(uri)
                continue
            found = files.tars_in(uri, endpoint_url)
            if not found:
                raise StudyError(
                    f"shards '{uri}': no .tar files there; name a folder of them (on a web server, each of them), "
                    "or write some with `overlap shards`"
                )
            uris += found
    return uris


def read_samples(uri: str, endpoint_url: str | None = None, limit: int | None = None) -> Iterator[Sample]:
    """The samples of a shard in order.

    Args:
        uri: path, `s3://` or `http(s)://` address of a tar file.
        endpoint_url: server of `s3://` addresses.
        limit: stop after so many samples.

    Raises:
        DataError: the shard cannot be read whole; the text names it and the sample.
    """
    for count, (key, fields) in enumerate(_samples(uri, files.read(uri, endpoint_url))):
        if count == limit:
            return
        yield _sample(uri, key, fields)


def index(
    uri: str, classes: int, endpoint_url: str | None = None, limit: int | None = None, *, multi_label: bool = False
) -> Shard:
    """Read a shard through once and say what it holds.

    Raises:
        DataError: it cannot be read whole, a key is doubled, a label is missing or not in 0..classes-1, or it is empty;
            or, unless it is multi-label, an image has not exactly one class.
    """
    running = hashlib.sha256()
    labels: dict[str, tuple[int, ...]] = {}
    for sample in read_samples(uri, endpoint_url, limit):
        if sample.key in labels:
            raise DataError(f"shard {uri}: key '{sample.key}' stands there twice; keys must be unique")
        if len(sample.classes) != 1 and not multi_label:
            raise DataError(
                f"shard {uri}: sample '{sample.key}' has label {' '.join(map(str, sample.classes)).encode()!r}, not a "
                'class number; several or none need multi_label = true (and role = "downstream") in the data section'
            )
        strange = next((label for label in sample.classes if not 0 <= label < classes), None)
        if strange is not None:
            raise DataError(
                f"shard {uri}: sample '{sample.key}' has label {strange}, outside 0..{classes - 1}; "
                "mend the .cls file or `classes` in the study"
            )
        labels[sample.key] = sample.classes
        add_to_digest(running, sample)
    if not labels:
        raise DataError(f"shard {uri}: holds no samples; remove it or pack it again")
    of_each = tuple(labels.values())
    return Shard(
        uri,
        running.hexdigest(),
        tuple(labels),
        of_each if multi_label else tuple(label for (label,) in of_each),
        limit,
    )


def add_to_digest(running: hashlib._Hash, sample: Sample) -> None:
    """Extend a shard's digest by one sample (its key and the digest of its image bytes)."""
    running.update(sample.key.encode() + b"\0" + hashlib.sha256(sample.image).digest())


def _samples(uri: str, data: bytes) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys with their files by extension in lower case, in order, grouped as WebDataset does."""
    from webdataset.tariterators import group_by_keys

    found = (
        {"fname": name, "data": body, "__url__": uri} for name, body in _members(uri, data) if not META.match(name)
    )
    try:
        for fields in group_by_keys(found):
            key = fields.pop("__key__")
            if not key.isprintable():
                raise DataError(f"shard {uri}: key {key!r} is no printable text; rename the sample")
            yield key, {extension: body for extension, body in fields.items() if extension != "__url__"}
    except ValueError as error:  # one extension twice in a sample; the file's name comes first
        file = str(error.args[0]).partition(":")[0]
        raise DataError(f"shard {uri}: '{file}' stands there twice; keys must be unique") from None


def _members(uri: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of the files of an archive; `tarfile` itself takes a damaged header for the archive's end."""
    count = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            while (member := archive.next()) is not None:
                count += 1
                if member.isreg() and (file := archive.extractfile(member)) is not None:
                    yield member.name, file.read()
            end = archive.offset
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        reason = f"{gist(error)}; {len(data)} bytes"
        raise DataError(f"shard {uri}: unreadable after {count} files ({reason}); copy or pack it again") from None
    if len(data) - end < END_OF_ARCHIVE:
        raise DataError(f"shard {uri}: truncated after {count} files, {len(data)} bytes; copy or pack it again")
    if data.count(0, end) != len(data) - end:
        raise DataError(f"shard {uri}: damaged at byte {end}, after {count} files; copy or pack it again")


def _sample(uri: str, key: str, fields: dict[str, bytes]) -> Sample:
    image = next((fields[extension] for extension in IMAGE_EXTENSIONS if extension in fields), None)
    if image is None:
        raise DataError(f"shard {uri}: sample '{key}' has no image (jpg, jpeg or png); pack it again")
    if "cls" not in fields:
        raise DataError(f"shard {uri}: sample '{key}' has no label (a .cls file); pack it again")
    try:
        return Sample(key, image, tuple(dict.fromkeys(int(number) for number in fields["cls"].split())))
    except ValueError:
        raise DataError(f"shard {uri}: sample '{key}' has label {fields['cls'][:20]!r}, not a class number") from None
