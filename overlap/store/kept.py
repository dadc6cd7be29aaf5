"""Arrays that were made from certified units and are kept, so that the units need not be read again.

Two kinds of objects, both safetensors under a name that holds their own digest: `layout.answers`, what one checkpoint's
logits come to, and `layout.pairs`, what pairs of checkpoints come to together. Guarantees: what is read is what was
written, whole; anything else counts as not there. Nothing depends on them: any may be removed at any time, and what is
missing or damaged is made again from the units. Two writers of one thing write the same bytes to the same key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from overlap.errors import ObjectMissing
from overlap.identity import SHORT, canonical_json, digest
from overlap.store import layout
from overlap.store.objects import Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODELS = "models"
"""In the header of an object of pairs: the fingerprints that its pairs are of, separated by blanks."""

ABOUT = "about"
"""The one field of a safetensors header that is ours: JSON, since several fields come in no certain order."""

HEADER = 1 << 16
"""Bytes in which a header is looked for first; one of a thousand fingerprints fits."""


def write(
    objects: Objects,
    key: Callable[[str], str],
    arrays: Mapping[str, NDArray[Any]],
    about: Mapping[str, str] | None = None,
) -> str:
    """Keep arrays under the key made of their digest, which is returned; what may be damaged there is replaced.

    Args:
        objects: the store.
        key: from a digest to a key.
        arrays: by name.
        about: further text for the header.
    """
    import numpy as np
    from safetensors.numpy import save

    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    body = save(held, {ABOUT: canonical_json(about or {}).decode()})
    place = key(digest(body))
    objects.put(place, body)
    return place


def read(objects: Objects, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays under a key, by name; None where they are not there or not what was written.

    Raises:
        StoreError: the store cannot be reached.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        body = objects.get(key)
    except ObjectMissing:
        return None
    if digest(body)[:SHORT] != key.removesuffix(".safetensors")[-SHORT:]:
        return None
    try:
        return dict(load(body))
    except (SafetensorError, ValueError):
        return None


def header(objects: Objects, key: str) -> dict[str, str]:
    """What was written beside the arrays; nothing where that cannot be told. Reads the beginning of the object."""
    try:
        start = objects.get_range(key, 0, HEADER)
        length = int.from_bytes(start[:8], "little")
        if 8 + length > len(start):
            start = objects.get_range(key, 0, 8 + length) if length < 1 << 26 else b""
        told = json.loads(json.loads(start[8 : 8 + length])["__metadata__"][ABOUT])
        return {str(name): str(value) for name, value in told.items()}
    except (ObjectMissing, ValueError, KeyError, AttributeError):
        return {}


def models_of(objects: Objects, key: str) -> tuple[str, ...]:
    """The fingerprints that an object of pairs is about."""
    return tuple(header(objects, key).get(MODELS, "").split())


def stale(objects: Objects, data: str, fingerprints: Collection[str]) -> Iterator[str]:
    """Keys of what is kept over a data set and serves none of some checkpoints.

    That is every answer of another checkpoint, and every object of pairs of which fewer than two models are among
    them. A context (images, labels, settings, version) that is no longer asked for is not told from one that is; all of
    `layout.answers_prefix(data)` and `layout.pairs_prefix(data)` may be removed, at the price of reading logits again.
    """
    for info in objects.list(layout.answers_prefix(data)):
        told = layout.parse_answers(info.key)
        if told is None or told[1] not in fingerprints:
            yield info.key
    for info in objects.list(layout.pairs_prefix(data)):
        if len(set(models_of(objects, info.key)) & set(fingerprints)) < 2:
            yield info.key
