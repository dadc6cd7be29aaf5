"""Taking turns: what one driver does at a time, although several may want to.

Whoever puts the next numbered object has the turn, and writes to it again and again while it lasts; the others watch.
Guarantees: as long as the one whose turn it is lives and reaches the store, nobody else has it; after its death, or
after so long a pause, the next one goes on. No clocks are compared: a turn is given up as dead by whoever saw it
unchanged for `STALE_SECONDS` of its own time. So work done in a turn must still be right if it is done twice.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from overlap.errors import StoreError
from overlap.identity import canonical_json
from overlap.store import layout
from overlap.store.objects import ObjectInfo, Objects

STALE_SECONDS = 60.0
RENEW_SECONDS = 10.0
LOOK_SECONDS = 0.5
"""Between two looks at somebody else's turn."""


@contextmanager
def turn(objects: Objects, name: str, *, stale: float = STALE_SECONDS) -> Iterator[None]:
    """Wait for one's turn at something, and have it while the block lasts.

    Args:
        objects: the store.
        name: of what one does at a time; no `/`.
        stale: seconds without a sign of life after which another's turn is over.

    Raises:
        StoreError: the store cannot be used.
    """
    holder = secrets.token_hex(8)
    number = _wait(objects, name, holder, stale)
    key, ended = layout.turn_of(name, number), threading.Event()

    def renew() -> None:
        beat = 0
        while not ended.wait(RENEW_SECONDS):
            beat += 1
            with suppress(StoreError):
                objects.put(key, _sign(holder, beat))

    alive = threading.Thread(target=renew, name=f"turn-{name}", daemon=True)
    alive.start()
    try:
        yield
    finally:
        ended.set()
        alive.join()
        with suppress(StoreError):  # else it ends for the others when it is stale
            objects.put(key, _sign(holder, None))
            objects.delete([info.key for info in objects.list(layout.turns(name)) if info.key < key])


def _wait(objects: Objects, name: str, holder: str, stale: float) -> int:
    """The number of the turn that is this one's."""
    watched: ObjectInfo | None = None
    since = time.monotonic()
    while True:
        newest = max(objects.list(layout.turns(name)), key=lambda info: info.key, default=None)
        if newest is None:
            number = 0
        else:
            number = int(newest.key.rpartition("/")[2].removesuffix(".json")) + 1
            if watched is None or (newest.key, newest.etag) != (watched.key, watched.etag):
                watched, since = newest, time.monotonic()
            over = time.monotonic() - since >= stale or _ended(objects, newest.key)
            if not over:
                time.sleep(LOOK_SECONDS)
                continue
        if objects.put_if_absent(layout.turn_of(name, number), _sign(holder, 0)):
            return number


def _ended(objects: Objects, key: str) -> bool:
    try:
        return b'"beat":null' in objects.get(key)
    except StoreError:
        return False


def _sign(holder: str, beat: int | None) -> bytes:
    return canonical_json({"beat": beat, "holder": holder})
