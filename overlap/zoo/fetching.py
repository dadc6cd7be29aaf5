"""Weights from the store to a node, once, verified: a file whose bytes have the digest that names them.

Guarantees that however many processes ask at once, one file is fetched, and that a file in use is not taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overlap.errors import DamagedObject, ObjectMissing
from overlap.identity import digest_file
from overlap.store import layout
from overlap.store.folder import Folder
from overlap.store.objects import Objects
from overlap.zoo.node_cache import NodeCache


@contextmanager
def fetched(weights_digest: str, objects: Objects) -> Iterator[Path]:
    """A local file with the weights of this digest, from the node's cache or else from the store.

    It stays while the block runs.

    Raises:
        DamagedObject: the store lost them, or holds other bytes under their name.
        StoreError: the store cannot be reached, or the cache's disk is full.
    """
    key = layout.weights(weights_digest)
    if isinstance(objects, Folder):
        path = objects.path(key)
        _verify(path, weights_digest, key)
        yield path
        return
    info = objects.head(key)
    lost = DamagedObject(f"weights {key} are gone from the store; run with --verify to stage them again")
    if info is None:
        raise lost

    def bring(path: Path) -> None:
        try:
            objects.get_file(key, path)
        except ObjectMissing:
            raise lost from None

    cache = NodeCache.here()
    with cache.using(weights_digest, info.size, bring, lambda path: _verify(path, weights_digest, key)) as path:
        yield path


def fetch(weights_digest: str, objects: Objects) -> Path:
    """As `fetched`; in a node's cache it stays only until the room is needed."""
    with fetched(weights_digest, objects) as path:
        return path


def _verify(path: Path, weights_digest: str, key: str) -> None:
    found = digest_file(path) if path.exists() else "nothing"
    if found != weights_digest:
        raise DamagedObject(f"weights {key} are damaged (found {found[:16]}); run with --verify to stage them again")
