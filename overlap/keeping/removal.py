"""Clearing a store: what may go, looked at twice, and removed in an order that leaves nothing named in vain.

Guarantees: nothing younger than the grace period by the store's own clock is removed; nothing that changed since it was
looked at; nothing of a kind that is not known; nothing outside the store's prefix. A run may go on meanwhile: whatever
it writes is young, and what it writes again becomes young. Not guaranteed: that an object is kept which a run finds by
its key and refers to within the moment between the last look and the removal; such a run says that it is gone, and
computes it again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from overlap.errors import StoreError
from overlap.keeping.kinds import KINDS, Parsed, parse
from overlap.keeping.references import read_references
from overlap.keeping.rules import Rules
from overlap.service_sections import Retention
from overlap.store.objects import READERS, ObjectInfo, Objects

BATCH = 256
"""Objects that are looked at once more and removed together."""
UNFINISHED = "unfinished write"
"""Kind of what killed writers left invisible."""


@dataclass(frozen=True)
class Removal:
    """One object that may go."""

    key: str
    kind: str
    why: str
    bytes: int
    version: tuple[str, float]
    """Its etag and time, by which a later look knows that it is still the same."""


@dataclass(frozen=True)
class Survey:
    """What one look at a store found."""

    removals: tuple[Removal, ...]
    """In the order in which they are removed."""
    unfinished: tuple[ObjectInfo, ...]
    """Hidden files and uploads that killed writers left."""
    unknown: tuple[ObjectInfo, ...]
    """Objects of no known kind: they stay."""
    young: int
    """Objects that may go once they are older than the grace period."""
    kept: int
    kept_bytes: int
    doubts: dict[str, str] = field(default_factory=dict)
    """What could not be read, so that what it may refer to stays."""


def survey(objects: Objects, retention: Retention) -> Survey:
    """Look at a whole store. Writes and removes one small object, to read the store's clock.

    Raises:
        StoreError: the store cannot be reached, or holds records of a newer version than this.
    """
    now = clock(objects)
    listing: dict[str, tuple[ObjectInfo, Parsed]] = {}
    unknown = []
    for info in objects.list(""):
        parsed = parse(info.key)
        if parsed is None:
            unknown.append(info)
        else:
            listing[info.key] = (info, parsed)
    references = read_references(objects, listing)
    rules = Rules(objects, listing, references, retention, now)
    limit = now - retention.grace_seconds
    removals, young, kept, kept_bytes = [], 0, 0, 0
    for key, (info, parsed) in listing.items():
        why = rules.reason(key)
        if why is not None and info.modified <= limit:
            removals.append(Removal(key, parsed.kind.name, why, info.size, (info.etag, info.modified)))
            continue
        young += why is not None
        kept, kept_bytes = kept + 1, kept_bytes + info.size
    places = {kind.name: place for place, kind in enumerate(KINDS)}
    return Survey(
        removals=tuple(sorted(removals, key=lambda one: (places[one.kind], one.key))),
        unfinished=tuple(left for left in objects.unfinished() if left.modified <= limit),
        unknown=tuple(unknown),
        young=young,
        kept=kept,
        kept_bytes=kept_bytes,
        doubts=references.doubts,
    )


def remove(
    objects: Objects, retention: Retention, first: Survey, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[list[Removal], int]:
    """Remove what a survey found and a second one finds too, each object only as it was then.

    Args:
        objects: the store.
        retention: as of the survey.
        first: what a person was shown.
        progress: hears how many of how many are done.

    Returns:
        What was removed, and how many unfinished writes.
    """
    shown = {one.key: one.version for one in first.removals}
    again = [one for one in survey(objects, retention).removals if shown.get(one.key) == one.version]
    gone: list[Removal] = []
    with ThreadPoolExecutor(READERS, thread_name_prefix="store") as pool:
        for batch in _batches(again):
            infos = pool.map(objects.head, [one.key for one in batch])
            same = [
                one
                for one, info in zip(batch, infos, strict=True)
                if info is not None and (info.etag, info.modified) == one.version
            ]
            objects.delete([one.key for one in same])
            gone += same
            progress(len(gone), len(again))
    limit = clock(objects) - retention.grace_seconds
    return gone, objects.sweep(time.time() - limit) if first.unfinished else 0


def clock(objects: Objects) -> float:
    """What time it is by the store, in seconds since 1970: when it says that an object was written just now."""
    key = f"check/{secrets.token_hex(8)}"
    objects.put(key, b"now")
    try:
        info = objects.head(key)
        if info is None:
            raise StoreError(f"{objects.uri}: the server does not give back what was just written; use another one")
        return info.modified
    finally:
        with suppress(StoreError):
            objects.delete([key])


def _batches(removals: Sequence[Removal]) -> Iterator[Sequence[Removal]]:
    """Of one kind each, since kinds go in order."""
    start = 0
    for place in range(1, len(removals) + 1):
        ended = place == len(removals) or removals[place].kind != removals[start].kind or place - start == BATCH
        if ended:
            yield removals[start:place]
            start = place
