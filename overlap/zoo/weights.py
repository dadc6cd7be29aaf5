"""Weights: from wherever people keep them into the store, once, by digest; from the store to a node, once, verified.

Guarantees: after `stage` the store holds exactly the bytes that the digest names; `fetch` returns a file whose bytes
have that digest, however many processes ask at once. A memo saves hashing again what has the size and tag it had.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overlap import files
from overlap.errors import CheckpointError, DamagedObject, DataError, ObjectMissing, StoreError, gist
from overlap.identity import digest_file
from overlap.store import layout, memo
from overlap.store.folder import Folder
from overlap.store.objects import READERS, Objects
from overlap.zoo.sources import SOURCES, source

CACHE_VARIABLE = "OVERLAP_CACHE"
INDEX = "weights-index"
"""Kind of the memo of all weights together."""
SCHEMA = 1
"""Version of what that memo holds."""


@dataclass(frozen=True)
class Staged:
    """Weights that the store holds."""

    digest: str
    bytes: int


def recall(
    references: Sequence[str], objects: Objects, endpoint_url: str | None = None
) -> list[Staged | CheckpointError | None]:
    """What the store holds of weights that were staged before and have not changed since; None of others.

    Takes a number of requests to the store that does not grow with the references: one memo of all, and one listing.
    What that memo lacks is looked for in the memos of each, and is in that of all from then on. Of weights that lie in
    one folder of a bucket the folder is listed.

    Args:
        references: paths, `s3://` or `http(s)://` addresses, or `timm:NAME` / `torchvision:NAME` for the source's own.
        objects: the store.
        endpoint_url: server of `s3://` addresses.

    Returns:
        One answer a reference; the error itself where there is no such file, or it cannot be reached.

    Raises:
        StoreError: the store cannot be reached.
    """
    together = files.listed(references, endpoint_url)

    def look(reference: str) -> files.Version | CheckpointError:
        try:
            return together.get(reference) or _version(reference, endpoint_url)
        except CheckpointError as error:
            return error

    with ThreadPoolExecutor(READERS) as readers:
        looked = list(readers.map(look, references))
    wanted = {_memo(version) for version in looked if isinstance(version, files.Version)}
    index = memo.key(INDEX, SCHEMA)
    known: dict[str, dict[str, Any]] = memo.recall(index, objects) or {} if wanted else {}
    single = memo.recall_many(wanted - known.keys(), objects)
    held = {info.key: info.size for info in objects.list(layout.weights(""))} if known or single else {}
    known |= {key: {"digest": told["digest"], "bytes": told["bytes"]} for key, told in single.items()}
    known = {key: told for key, told in known.items() if held.get(layout.weights(told["digest"])) == told["bytes"]}
    if single.keys() & known.keys():
        memo.remember(index, known, objects)
    return [
        version
        if isinstance(version, CheckpointError)
        else None
        if (told := known.get(_memo(version))) is None
        else Staged(told["digest"], told["bytes"])
        for version in looked
    ]


def stage(reference: str, objects: Objects, endpoint_url: str | None = None) -> Staged:
    """Bring weights into the store and remember it; arguments as for `recall`, of one reference.

    Raises:
        CheckpointError: the weights cannot be had; the text names them and the mend.
        StoreError: the store refuses them.
    """
    version = _version(reference, endpoint_url)
    library, _, name = reference.partition(":")
    with tempfile.TemporaryDirectory(prefix="overlap-weights-") as folder:
        path = Path(folder) / "weights"
        if library in SOURCES:
            _download_pretrained(library, name, path)
        else:
            with _confined():
                files.copy_to(reference, path, endpoint_url)
        staged = Staged(digest_file(path), path.stat().st_size)
        # Written even where an object of this name and size is held: that one may be damaged.
        objects.put_file(layout.weights(staged.digest), path)
    memo.remember(_memo(version), asdict(version) | asdict(staged), objects)
    return staged


def fetch(weights_digest: str, objects: Objects) -> Path:
    """A local file with the weights of this digest, from the node's cache or else from the store.

    Raises:
        DamagedObject: the store lost them, or holds other bytes under their name.
    """
    key = layout.weights(weights_digest)
    if isinstance(objects, Folder):
        path = objects.path(key)
        _verify(path, weights_digest, key)
        return path
    from filelock import FileLock

    cache = _cache()
    path = cache / weights_digest
    with FileLock(cache / f"{weights_digest}.lock"):
        if path.exists():
            try:
                _verify(path, weights_digest, key)
            except DamagedObject:
                path.unlink()  # the cache is a convenience: what is wrong in it is fetched again
        if not path.exists():
            partial = path.with_suffix(".partial")
            try:
                objects.get_file(key, partial)
                _verify(partial, weights_digest, key)
                partial.replace(path)
            except ObjectMissing:
                raise DamagedObject(
                    f"weights {key} are gone from the store; run with --verify to stage them again"
                ) from None
            finally:
                partial.unlink(missing_ok=True)
    return path


def _cache() -> Path:
    """The node's folder for weights, one for each user: a shared one would belong to whoever came first."""
    default = Path(tempfile.gettempdir()) / f"overlap-cache-{os.getuid()}"
    cache = Path(os.environ.get(CACHE_VARIABLE) or default)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cache {cache}: {error.strerror}; set {CACHE_VARIABLE} to a folder with room") from None
    return cache


@contextmanager
def _confined() -> Iterator[None]:
    """What goes wrong where the weights come from, be it a bucket, is the checkpoint's fault and not the store's."""
    try:
        yield
    except (DataError, StoreError) as error:
        raise CheckpointError(f"weights {error}") from None


def _version(reference: str, endpoint_url: str | None) -> files.Version:
    library = reference.partition(":")[0]
    if library in SOURCES:
        return files.Version(reference, 0, source(library).version())
    with _confined():
        return files.version(reference, endpoint_url)


def _memo(version: files.Version) -> str:
    return memo.key("weights", asdict(version))


def _verify(path: Path, weights_digest: str, key: str) -> None:
    found = digest_file(path) if path.exists() else "nothing"
    if found != weights_digest:
        raise DamagedObject(f"weights {key} are damaged (found {found[:16]}); run with --verify to stage them again")


def _download_pretrained(library: str, name: str, path: Path) -> None:
    from safetensors.torch import save_file

    try:
        module = source(library).pretrained(name)
    except Exception as error:  # hub clients raise whatever their transport raises
        raise CheckpointError(
            f"weights {library}:{name}: the hub gave nothing ({gist(error)}); "
            "give `weights` a file, or run where the hub can be reached"
        ) from None
    tensors = {key: value.detach().clone().contiguous() for key, value in module.state_dict().items()}
    save_file(tensors, path)
