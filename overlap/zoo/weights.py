"""Weights: from wherever people keep them into the store, once, by digest.

Guarantees: after `stage` the store holds exactly the bytes that the digest names. A memo saves hashing again what has
the size and tag it had; another says what a name stood for last, for when its hub or server cannot be asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from overlap import files
from overlap.errors import CheckpointError, DataError, StoreError, gist
from overlap.identity import digest, digest_file
from overlap.store import layout, memo
from overlap.store.objects import READERS, Objects
from overlap.study import is_uri
from overlap.zoo import hub
from overlap.zoo.node_cache import NodeCache
from overlap.zoo.probe_head import ProbeHead
from overlap.zoo.sources import SOURCES, source
from overlap.zoo.texts import ZeroShot

INDEX = "weights-index"
"""Kind of the memo of all weights together."""
SCHEMA = 1
"""Version of what that memo holds."""
Made = ZeroShot | ProbeHead
"""What is made of weights before they are stored: a head of texts, or the place of one."""


@dataclass(frozen=True)
class Staged:
    """Weights that the store holds."""

    digest: str
    bytes: int


def recall(
    references: Sequence[str],
    objects: Objects,
    endpoint_url: str | None = None,
    texts: Sequence[Made | None] | None = None,
    *,
    local: bool = False,
) -> list[Staged | CheckpointError | None]:
    """What the store holds of weights that were staged before and have not changed since; None of others.

    Takes a number of requests to the store that does not grow with the references: one memo of all, and one listing.
    What that memo lacks is looked for in the memos of each, and is in that of all from then on. Of weights that lie in
    one folder of a bucket the folder is listed.

    Args:
        references: paths, `s3://` or `http(s)://` addresses, or `timm:NAME` / `torchvision:NAME` for the source's own.
        objects: the store.
        endpoint_url: server of `s3://` addresses.
        texts: by reference what a head is made of, None for what is stored as it is.
        local: ask no web server; what lies on one is then None.

    Returns:
        One answer a reference; the error itself where there is no such file, or it cannot be reached.

    Raises:
        StoreError: the store cannot be reached.
    """
    together = files.listed(references, endpoint_url)

    def look(reference: str) -> files.Version | CheckpointError | None:
        if local and _on_web(reference):
            return None
        try:
            return together.get(reference) or _version(reference, endpoint_url)
        except CheckpointError as error:
            return error

    with ThreadPoolExecutor(READERS) as readers:
        looked = list(readers.map(look, references))
    places = [
        _memo(version, head) if isinstance(version, files.Version) else ""
        for version, head in zip(looked, texts or [None] * len(references), strict=True)
    ]
    wanted = {place for place in places if place}
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
        if not isinstance(version, files.Version)
        else None
        if (told := known.get(place)) is None
        else Staged(told["digest"], told["bytes"])
        for version, place in zip(looked, places, strict=True)
    ]


def recall_named(
    references: Sequence[str], objects: Objects, texts: Sequence[Made | None] | None = None
) -> list[Staged | None]:
    """What the store holds of weights by their names alone, whatever has become of those names since.

    For when nobody can say whether they changed: their hub does not answer, or the tag vanished.
    """
    places = [_named(*each) for each in zip(references, texts or [None] * len(references), strict=True)]
    told = memo.recall_many(places, objects)
    staged = [told.get(place) for place in places]
    found = [None if each is None else Staged(each["digest"], each["bytes"]) for each in staged]

    def held(each: Staged | None) -> bool:
        info = None if each is None else objects.head(layout.weights(each.digest))
        return each is not None and info is not None and info.size == each.bytes

    with ThreadPoolExecutor(READERS) as readers:
        return [each if there else None for each, there in zip(found, readers.map(held, found), strict=True)]


def is_remote(reference: str) -> bool:
    """Whether weights come from a hub or a web server."""
    return reference.partition(":")[0] in SOURCES or _on_web(reference)


def out_of_reach(references: Sequence[str], *, local: bool = False) -> list[str | bool | None]:
    """What cannot be had now of remote weights, after one look at each host; answers as of `hub.absent`.

    Args:
        references: those of which `is_remote` is true.
        local: ask no network.
    """
    said: dict[str, str | bool | None] = {}
    from_hubs: dict[str, hub.Published] = {}
    for reference in references:
        library, _, name = reference.partition(":")
        if library not in SOURCES:
            said[reference] = f"offline: {reference} is not in the store" if local else True
            continue
        try:
            from_hubs[reference] = source(library).published(name)
        except CheckpointError as error:
            said[reference] = str(error)
    said |= dict(zip(from_hubs, hub.absent([*from_hubs.values()], local=local), strict=True))
    return [said[reference] for reference in references]


def stage(
    reference: str,
    objects: Objects,
    endpoint_url: str | None = None,
    texts: Made | None = None,
    *,
    local: bool = False,
) -> Staged:
    """Bring weights into the store and remember it; arguments as for `recall`, of one reference.

    Of a zero-shot classifier the image tower is stored, and the head that is made of the texts here; of a backbone for
    a linear probe the backbone with a head of zeros.

    Raises:
        CheckpointError: the weights cannot be had; the text names them and the mend.
        StoreError: the store refuses them.
    """
    version = _version(reference, endpoint_url)
    library, _, name = reference.partition(":")
    if texts is not None:
        with tempfile.TemporaryDirectory(prefix="overlap-weights-") as folder:
            path = Path(folder) / "weights"
            _make_head(reference, texts, path, endpoint_url, local)
            staged = _put(path, objects)
    elif _on_web(reference):
        # In the node's cache, so that another run goes on where this one broke.
        with NodeCache.here().making(digest(reference.encode()), max(version.size, 0)) as path:
            with _confined():
                files.copy_to(reference, path, endpoint_url)
            staged = _put(path, objects)
            path.unlink()
    else:
        with tempfile.TemporaryDirectory(prefix="overlap-weights-") as folder:
            path = Path(folder) / "weights"
            if library in SOURCES:
                _download_pretrained(library, name, path, local)
            else:
                with _confined():
                    files.copy_to(reference, path, endpoint_url)
            staged = _put(path, objects)
    memo.remember(_memo(version, texts), asdict(version) | asdict(staged), objects)
    if is_remote(reference):
        memo.remember(_named(reference, texts), asdict(version) | asdict(staged), objects)
    return staged


def _put(path: Path, objects: Objects) -> Staged:
    staged = Staged(digest_file(path), path.stat().st_size)
    # Written even where an object of this name and size is held: that one may be damaged.
    objects.put_file(layout.weights(staged.digest), path)
    return staged


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


def _on_web(reference: str) -> bool:
    return is_uri(reference) and not reference.startswith("s3://")


def _named(reference: str, texts: Made | None = None) -> str:
    return memo.key("weights-named", {"reference": reference, **_of(texts)})


def _memo(version: files.Version, texts: Made | None = None) -> str:
    return memo.key("weights", asdict(version) | _of(texts))


def _of(texts: Made | None) -> dict[str, str]:
    return {} if texts is None else {"texts": texts.digest}


def _make_head(reference: str, texts: Made, path: Path, endpoint_url: str | None, local: bool) -> None:
    from overlap.zoo import probe_head, zero_shot
    from overlap.zoo.state_dicts import read_state_dict

    library, _, name = reference.partition(":")
    if isinstance(texts, ProbeHead):
        backbone = path.with_name("backbone")
        if library in SOURCES:
            _download_pretrained(library, name, backbone, local)
        else:
            with _confined():
                files.copy_to(reference, backbone, endpoint_url)
        state = read_state_dict(backbone, reference, allow_pickle=texts.allow_pickle)
        probe_head.write(texts, state, reference, path)
        return
    if library in SOURCES:
        try:
            towers = hub.obtain(source(library).published(name), local=local)
        except CheckpointError as error:
            raise CheckpointError(f"weights {reference}: {error}; give `weights` a file") from None
    else:
        towers = path.with_name("towers")
        with _confined():
            files.copy_to(reference, towers, endpoint_url)
    zero_shot.write(texts, towers, reference, path)


def _download_pretrained(library: str, name: str, path: Path, local: bool) -> None:
    from safetensors.torch import save_file

    found = source(library)
    try:
        module = found.pretrained(name, hub.obtain(found.published(name), local=local))
    except CheckpointError as error:
        raise CheckpointError(
            f"weights {library}:{name}: {error}; give `weights` a file, or run where the hub can be reached"
        ) from None
    except Exception as error:  # libraries raise anything for a file that they cannot take
        raise CheckpointError(
            f"weights {library}:{name}: {library} cannot load the file of its hub ({gist(error)}); "
            "give `weights` a file"
        ) from None
    tensors = {key: value.detach().clone().contiguous() for key, value in module.state_dict().items()}
    save_file(tensors, path)
