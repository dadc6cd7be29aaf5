"""What a study reads that is not in its store, as versions: its files as they lie there now, its settings, and overlap.

Guarantees: equal digests mean that nothing was added, removed or replaced as far as listings, sizes, ETags and dates
tell (files up to 1 MiB on this machine by their bytes); no shard, no weights and no user's code is read or run, and no
hub is asked. Of a web server that tells neither ETag nor date only sizes are known (`certain` is False then). Paths
below the study's folder count as relative to it, so that a study may be looked at from several machines.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import overlap
from overlap import files, web
from overlap.errors import DataError, OverlapError, StoreError
from overlap.fields import is_uri
from overlap.identity import canonical_json, digest, digest_file
from overlap.images.shards import expand
from overlap.store.objects import READERS
from overlap.study import Study

LIBRARIES = ("timm", "torchvision", "open_clip_torch")
"""Packages whose lists of models and own weights a study may draw upon."""
SMALL = 1 << 20
"""Bytes up to which a local file is told by its digest: dates differ from one copy of a folder to the next."""


@dataclass(frozen=True)
class Versions:
    """Digests of what a study reads, by part."""

    parts: dict[str, str]
    """`program`, `settings`, `zoo` (sections, folders, weights, code) and `data` (shards, truths, groups)."""
    factories: tuple[str, ...] = ()
    """Modules that the checkpoints' own code is in; those that descriptions in folders name among them."""
    certain: bool = True
    """Whether every change of a file shows."""


def versions(study: Study, factories: tuple[str, ...] | None = None) -> Versions:
    """Look at everything that a study names outside its store.

    Args:
        study: the study.
        factories: as an earlier look found them, which saves reading descriptions anew: `zoo` differs where one of
            these changed. None to read them.
    """
    plain = study.model_dump(mode="json", exclude={"path", "notify"})
    base, endpoint = study.path.parent, study.store.endpoint_url
    settings = {name: value for name, value in plain.items() if name not in ("data", "checkpoint", "zoo")}
    zoo = [*_folders(study), *_locations([plain["checkpoint"], plain["zoo"]], {"folder"})]
    data = [*_shards(study), *_locations([plain["data"], plain["gate"]], {"shards"})]
    looked = _looked([*zoo, *data], endpoint)
    modules = _modules(plain, zoo, endpoint) if factories is None else factories
    parts = {
        "program": _program(),
        "settings": settings,
        "zoo": [
            plain["checkpoint"],
            plain["zoo"],
            {one: looked[one] for one in zoo},
            {one: _source(one, base) for one in modules},
        ],
        "data": [plain["data"], {one: looked[one] for one in data}],
    }
    return Versions(
        {name: digest(_portable(canonical_json(value), base)) for name, value in parts.items()},
        modules,
        not any(told[:1] == ["untold"] for told in looked.values()),
    )


def _program() -> Any:
    """overlap's own files and the libraries it lists models of."""
    found: dict[str, str] = {}
    for package in ("overlap", "workflows"):
        folder = Path(overlap.__file__).parents[1] / package
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".csv", ".toml", ".js", ".css", ".j2"):
                found[f"{package}/{path.relative_to(folder)}"] = digest_file(path)
    return [found, [_installed(name) for name in LIBRARIES]]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _folders(study: Study) -> Iterator[str]:
    """Every file in the folders of checkpoints; a folder that cannot be listed stands for itself."""
    for query in study.zoo:
        if query.folder is not None:
            folder = str(query.folder).rstrip("/")
            try:
                yield from (f"{folder}/{name}" for name in files.beneath(folder, study.store.endpoint_url))
            except OverlapError:
                yield folder


def _shards(study: Study) -> Iterator[str]:
    for data in study.data.values():
        try:
            yield from expand(data.shards, study.store.endpoint_url)
        except OverlapError:
            yield from data.shards


def _locations(value: Any, less: set[str]) -> Iterator[str]:
    """Every path and address in sections of a study, but those under some keys."""
    if isinstance(value, str):
        if value.startswith("/") or is_uri(value):
            yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in less:
                yield from _locations(inner, less)
    elif isinstance(value, Iterable):
        for inner in value:
            yield from _locations(inner, less)


def _looked(uris: Iterable[str], endpoint: str | None) -> dict[str, list[Any]]:
    wanted = list(dict.fromkeys(uris))
    together = files.listed(wanted, endpoint)

    def look(uri: str) -> list[Any]:
        if uri in together:
            return [together[uri].size, together[uri].tag]
        try:
            if is_uri(uri) and not uri.startswith("s3://"):
                size, tag = web.look(uri)
                return [size, tag] if tag else ["untold", size]
            if not is_uri(uri) and Path(uri).is_file() and Path(uri).stat().st_size <= SMALL:
                return [digest(Path(uri).read_bytes())]
            seen = files.version(uri, endpoint)
            return [seen.size, seen.tag]
        except (DataError, StoreError, OSError) as error:
            return ["absent", str(error)]

    with ThreadPoolExecutor(READERS) as readers:
        return dict(zip(wanted, readers.map(look, wanted), strict=True))


def _modules(plain: Mapping[str, Any], zoo: Iterable[str], endpoint: str | None) -> tuple[str, ...]:
    """Modules of factories: of the study's own sections, and of descriptions beside weights."""
    named = [entry.get("factory") for entry in plain["checkpoint"]]
    named += [(query.get("defaults") or {}).get("factory") for query in plain["zoo"]]
    with ThreadPoolExecutor(READERS) as readers:
        described = [uri for uri in zoo if uri.endswith(".toml")]
        named += readers.map(lambda uri: _factory(uri, endpoint), described)
    return tuple(sorted({one.partition(":")[0] for one in named if one}))


def _factory(description: str, endpoint: str | None) -> str | None:
    """What a description names as factory; one that cannot be read is the business of whoever runs the study."""
    try:
        factory = tomllib.loads(files.read(description, endpoint).decode()).get("factory")
    except (OverlapError, ValueError):
        return None
    return factory if isinstance(factory, str) else None


def _source(module: str, base: Path) -> str | None:
    """Digest of the file that a module is, found without importing anything."""
    places: Any = [*sys.path, str(base)]
    spec = None
    for depth in range(1, module.count(".") + 2):
        spec = PathFinder.find_spec(".".join(module.split(".")[:depth]), places)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    origin = None if spec is None else spec.origin
    return digest_file(Path(origin)) if origin is not None and Path(origin).is_file() else None


def _portable(text: bytes, base: Path) -> bytes:
    return text.replace(canonical_json(f"{base}/")[1:-1], b"./")
