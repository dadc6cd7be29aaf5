"""Things found out once and remembered in the store: cheap to lose, never trusted when damaged.

A memo that is gone, truncated or altered reads as nothing, so that what it said is found out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from overlap.identity import canonical_json, digest
from overlap.store import layout
from overlap.store.objects import Objects, get_many


def key(kind: str, about: Any) -> str:
    """Where the store keeps what was found out; `about` is plain JSON that names version and question."""
    return layout.memo(kind, digest(canonical_json(about)))


def remember(where: str, value: Any, objects: Objects) -> None:
    """Keep plain JSON under a key, over what was there."""
    body = canonical_json(value)
    objects.put(where, canonical_json({"digest": digest(body)}) + b"\n" + body)


def recall(where: str, objects: Objects) -> Any:
    """What is remembered under a key, None where there is nothing whole."""
    return recall_many([where], objects).get(where)


def recall_many(keys: Iterable[str], objects: Objects) -> dict[str, Any]:
    """What is remembered, by key; keys with nothing whole are left out."""
    found: dict[str, Any] = {}
    for where, data in get_many(objects, keys).items():
        head, _, body = data.partition(b"\n")
        if head == canonical_json({"digest": digest(body)}):
            found[where] = json.loads(body)
    return found
