"""Small pictures of a few images of a shard, for the report.

An image is shown as the models are given it: its first frame in RGB, alpha dropped, not turned by what a camera noted.
Guarantees: the same bytes for the same image and size (under one version of the decoder); nothing but pixels is kept
of a file, neither comments nor places; only what is named is decoded, and a shard that changed is noticed as in
`decoding`.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable

from overlap.errors import DataError, gist
from overlap.images.shards import Shard, add_to_digest, read_samples

SIDE = 72
"""Pixels of the longer side."""

QUALITY = 80


def thumbnails(
    shard: Shard, keys: Iterable[str], side: int = SIDE, endpoint_url: str | None = None
) -> dict[str, bytes]:
    """JPEGs by key, of the longer side `side` (smaller images keep their size), in the order of the shard.

    Args:
        shard: as it was indexed.
        keys: of images of this shard.
        side: pixels, at least 1.
        endpoint_url: server of `s3://` addresses.

    Raises:
        ValueError: a key that the shard does not hold, or no side.
        DataError: a named image is corrupt, or the shard is no longer the one that was indexed.
    """
    wanted = set(keys)
    if side < 1 or not wanted <= set(shard.keys):
        raise ValueError(f"shard {shard.uri}: no side of {side} pixels, or no image {sorted(wanted - set(shard.keys))}")
    if not wanted:
        return {}
    running = hashlib.sha256()
    found = {}
    for sample in read_samples(shard.uri, endpoint_url, shard.limit):
        add_to_digest(running, sample)
        if sample.key not in wanted:
            continue
        try:
            found[sample.key] = thumbnail(sample.image, side)
        except MemoryError:
            raise
        except Exception as error:  # as in decoding: decoders raise anything for damaged bytes
            raise DataError(
                f"shard {shard.uri}: image '{sample.key}' is corrupt ({gist(error)}); mend the shard, "
                f"or name {shard.file} under allow_missing_shards"
            ) from None
    if running.hexdigest() != shard.digest:
        raise DataError(f"shard {shard.uri}: changed while the study ran (its digest differs); run again to plan anew")
    return found


def thumbnail(image: bytes, side: int = SIDE) -> bytes:
    """A JPEG of the encoded image, the longer side at most `side` pixels; errors are the decoder's own."""
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        if opened.mode == "RGB":
            opened.draft("RGB", (2 * side, 2 * side))  # a JPEG of colours is decoded no larger than is needed
        small = opened.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BICUBIC)
    written = io.BytesIO()
    Image.frombytes("RGB", small.size, small.tobytes()).save(written, "JPEG", quality=QUALITY, optimize=True)
    return written.getvalue()
