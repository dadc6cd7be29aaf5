"""`overlap gc`: a survey of a study's store, the removal where it is wished, and what is said of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from overlap.keeping.removal import UNFINISHED, Removal, Survey, remove, survey
from overlap.store.location import Location, open_objects
from overlap.study import Study

Progress = Callable[[str, int, int], None]
EXAMPLES = 3
"""Keys that the text names of each kind."""


@dataclass(frozen=True)
class Cleared:
    """What may go, and what went."""

    store: str
    found: Survey
    removed: tuple[Removal, ...] = ()
    swept: int = 0
    """Unfinished writes that were removed."""
    delete: bool = False


def clear(study: Study, *, delete: bool = False, progress: Progress = lambda *_: None) -> Cleared:
    """Look at a study's store, and remove what may go if that is wished.

    Raises:
        StoreError: the store cannot be reached, or holds records of a newer version than this.
    """
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    found = survey(objects, study.retention)
    if not delete:
        return Cleared(objects.uri, found)
    removed, swept = remove(objects, study.retention, found, lambda *done: progress("remove", *done))
    return Cleared(objects.uri, found, tuple(removed), swept, delete=True)


def as_json(cleared: Cleared) -> dict[str, Any]:
    """As plain JSON, every key named."""
    found = cleared.found
    return {
        "store": cleared.store,
        "deleted": cleared.delete,
        "groups": _groups(cleared.removed if cleared.delete else found.removals),
        "keys": [one.key for one in (cleared.removed if cleared.delete else found.removals)],
        "unfinished": [asdict(left) for left in found.unfinished],
        "swept": cleared.swept,
        "unknown": [info.key for info in found.unknown],
        "young": found.young,
        "kept": {"objects": found.kept, "bytes": found.kept_bytes},
        "doubts": found.doubts,
    }


def as_text(cleared: Cleared) -> str:
    """For a person: by kind and reason, with a few keys of each."""
    found = cleared.found
    shown = cleared.removed if cleared.delete else found.removals
    lines = []
    for group in _groups(shown):
        lines.append(f"{group['objects']:,} {group['kind']}, {_size(group['bytes'])}: {group['why']}")
        keys = [one.key for one in shown if (one.kind, one.why) == (group["kind"], group["why"])]
        lines += [f"  {key}" for key in keys[:EXAMPLES]]
        lines += [f"  and {len(keys) - EXAMPLES:,} more"] if len(keys) > EXAMPLES else []
    if found.unfinished:
        left = sum(one.size for one in found.unfinished)
        lines.append(f"{len(found.unfinished):,} {UNFINISHED}s, {_size(left)}: killed writers left them")
    total = sum(one.bytes for one in shown)
    if cleared.delete:
        lines.append(f"removed {len(shown) + cleared.swept:,} objects, {_size(total)}, from {cleared.store}")
    elif shown or found.unfinished:
        lines.append(f"{len(shown) + len(found.unfinished):,} objects would go, {_size(total)}; --delete removes them")
    else:
        lines.append(f"{cleared.store}: nothing to remove")
    lines.append(f"kept: {found.kept:,} objects, {_size(found.kept_bytes)}")
    if found.young:
        lines.append(f"{found.young:,} of them may go once they are older (retention.grace)")
    if found.unknown:
        named = ", ".join(info.key for info in found.unknown[:EXAMPLES])
        lines.append(f"{len(found.unknown):,} objects are none of overlap's and stay: {named}")
    lines += [f"{key} cannot be read; what it may refer to stays" for key in sorted(set(found.doubts.values()))]
    return "\n".join(lines)


def _groups(removals: Iterable[Removal]) -> list[dict[str, Any]]:
    sizes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in removals:
        sizes[(one.kind, one.why)].append(one.bytes)
    return [{"kind": kind, "why": why, "objects": len(held), "bytes": sum(held)} for (kind, why), held in sizes.items()]


def _size(number: float) -> str:
    units = ["bytes", "kB", "MB", "GB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{number:,.0f} {units[0]}" if units[0] == "bytes" else f"{number:,.1f} {units[0]}"
