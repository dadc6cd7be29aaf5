"""Arrays that were made from certified units and are kept, so that the units need not be read again.

Two kinds of objects, both safetensors under a name that holds their own digest: `layout.answers`, what one checkpoint's
logits come to, and `layout.pairs`, what pairs of checkpoints come to together. Guarantees: what is read is what was
written, whole; anything else counts as not there. Nothing depends on them: any may be removed at any time, and what is
missing or damaged is made again from the units. Two writers of one thing write the same bytes to the same key.

Beside its tables a reduction says which of them it asks for (`Asked`); what no reduction asks for that stays is
`unreachable`, and for `overlap gc` to remove.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from overlap.errors import ObjectMissing
from overlap.identity import SHORT, canonical_json, digest
from overlap.store import layout
from overlap.store.objects import READERS, Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODELS = "models"
"""In the header of an object of pairs: the fingerprints that its pairs are of, separated by blanks."""

SOURCES = "sources"
"""Beside them: the digests of the units that their answers are made from, in the same order."""

PAIRS = "pairs"
"""The array of an object of pairs that says which they are: int32 (P, 2), places among the names in its header."""

ASKED = "kept.json"
"""What a reduction asks for, beside its tables."""

Name = tuple[str, str]
"""Of a checkpoint's answers: its fingerprint, and the short digest of the units that they are made from."""

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
        return _about(_head(objects, key)[0])
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError):
        return {}


def pairs_in(objects: Objects, key: str) -> frozenset[tuple[Name, Name]]:
    """The pairs that an object of pairs is about; none where that cannot be told. Reads its beginning and the list."""
    import numpy as np

    try:
        head, start = _head(objects, key)
        about = _about(head)
        names = [*zip(about[MODELS].split(), (one[:SHORT] for one in about[SOURCES].split()), strict=True)]
        first, last = head[PAIRS]["data_offsets"]
        held = np.frombuffer(objects.get_range(key, start + first, last - first), "<i4").reshape(-1, 2)
        return frozenset((names[one], names[two]) for one, two in held.tolist())
    except (ObjectMissing, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return frozenset()


def _head(objects: Objects, key: str) -> tuple[dict[str, Any], int]:
    """The header of a safetensors object as it is, and where the arrays begin; ValueError where there is none."""
    start = objects.get_range(key, 0, HEADER)
    length = int.from_bytes(start[:8], "little")
    if 8 + length > len(start):
        start = objects.get_range(key, 0, 8 + length) if length < 1 << 26 else b""
    head: dict[str, Any] = json.loads(start[8 : 8 + length])
    return head, 8 + length


def _about(head: dict[str, Any]) -> dict[str, str]:
    told = json.loads(head["__metadata__"][ABOUT])
    return {str(name): str(value) for name, value in told.items()}


@dataclass(frozen=True)
class Asked:
    """What one reduction asks of what is kept: a later one with the same models finds it there."""

    answers: str
    """The context of answers."""
    pairs: str
    """The context of pairs."""
    names: frozenset[Name]
    """The checkpoints that take part."""

    @classmethod
    def of(cls, answers: str, pairs: str, names: Iterable[tuple[str, str]]) -> Asked:
        """From whole digests: of the contexts, and of the units that each fingerprint's answers are made from."""
        return cls(answers[:SHORT], pairs[:SHORT], frozenset((model, source[:SHORT]) for model, source in names))

    def less(self, fingerprints: Collection[str]) -> Asked:
        """Without some checkpoints."""
        return replace(self, names=frozenset(name for name in self.names if name[0] not in fingerprints))

    def write(self, objects: Objects, results: str, inputs: str) -> None:
        """Say it beside the tables of a reduction.

        Args:
            objects: the store.
            results: name of the results.
            inputs: digest of what goes into the reduction.
        """
        told = {"answers": self.answers, "pairs": self.pairs, "names": sorted(self.names)}
        objects.put(layout.results(results, ASKED, inputs=inputs), canonical_json(told))

    @classmethod
    def from_json(cls, body: bytes) -> Asked | None:
        """What was written; None where that is damaged."""
        try:
            told = json.loads(body)
            return cls.of(
                str(told["answers"]), str(told["pairs"]), [(str(one), str(two)) for one, two in told["names"]]
            )
        except (ValueError, KeyError, TypeError):
            return None


def unreachable(objects: Objects, keys: Iterable[str], asked: Collection[Asked]) -> Iterator[str]:
    """Which answers and pairs of a data set no reduction asks for: no run that equals one of them would read these.

    An object of pairs is asked for where both checkpoints of one of its pairs are; what cannot be read is not.

    Args:
        objects: the store, where it is looked up which pairs an object holds.
        keys: of what is kept over the data set.
        asked: by each reduction whose results stay.

    Raises:
        StoreError: the store cannot be reached.
    """
    answers = {(one.answers, *name) for one in asked for name in one.names}
    pairs: list[tuple[str, str]] = []
    for key in keys:
        context = layout.parse_pairs(key)
        if context is None:
            if layout.parse_answers(key) not in answers:
                yield key
        elif any(one.pairs == context for one in asked):
            pairs.append((key, context))
        else:
            yield key
    with ThreadPoolExecutor(READERS, thread_name_prefix="store") as pool:
        held = pool.map(lambda one: pairs_in(objects, one[0]), pairs)
        for (key, context), pairs_held in zip(pairs, held, strict=True):
            wanted = [one.names for one in asked if one.pairs == context]
            if not any(one in names and two in names for names in wanted for one, two in pairs_held):
                yield key
