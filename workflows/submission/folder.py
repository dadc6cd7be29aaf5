"""The working directory of a job: the study file, the small files it names beside it, its code, and overlap itself.

Guarantees that what a job would miss is said before anything is sent, with the key and the mend: a path is either on a
disk that every node mounts (`shared`), or a small file in the study's folder, which travels. Images, weights, stores
and caches never travel, and what does is at most `LIMIT` bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import overlap
import workflows
from overlap.errors import StudyError
from overlap.identity import canonical_json, digest, digest_file
from overlap.study import Study
from workflows.submission.paths import named_paths

LIMIT = 32 << 20
"""Bytes that travel with a job at most: they pass through the head's memory, and each node unpacks them."""

EXCLUDED = (
    *(".*", "__pycache__", "*.pyc", "*.egg-info", "venv", "node_modules", "mlruns", "mlartifacts"),
    *("*.tar", "*.tar.gz", "*.zip", "*.safetensors", "*.pth", "*.pt", "*.bin", "*.ckpt", "*.npz", "*.npy", "*.db"),
)
"""Names of files and folders that are never taken along with code."""


@dataclass(frozen=True)
class Shipment:
    """What a job takes along, as source by path in its working directory; nothing is copied yet."""

    study: str
    """The study file as the job names it: in its working directory, or absolute on a shared disk."""
    files: dict[str, Path]
    digest: str
    """Over the bytes of the study, of every small file that it names, of its code and of overlap's."""

    def copy_to(self, folder: Path) -> None:
        """Lay the working directory out in an empty folder."""
        for name, source in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)


def pack(study: Study, *, baked_in: bool = False, shared: Sequence[Path] = (), exclude: Sequence[str] = ()) -> Shipment:
    """Choose what travels.

    Args:
        study: as it was read from its file here.
        baked_in: overlap is in the cluster's image already.
        shared: folders that are at the same path here and on every node.
        exclude: names with wildcards, of files and folders or of paths in the study's folder, that stay here.

    Raises:
        StudyError: the study names what the cluster would not find, or what travels is too large.
    """
    folder = study.path.parent
    mounted = [path.resolve() for path in shared]
    for path in mounted:
        if not path.is_dir():
            raise StudyError(f"--shared {path}: no such folder here; name one that this machine and every node mount")
    in_place = _within(study.path, mounted)
    tables = _tables(study, mounted)
    files: dict[str, Path] = {}
    for key, path in tables.items():
        if _within(path, mounted):
            continue
        if in_place or not path.is_relative_to(folder):
            raise StudyError(
                f"{study.path}: key '{key}': {path} would not be found on the cluster; "
                "put it into the study's folder, or name its own by --shared"
            )
        files[path.relative_to(folder).as_posix()] = path
    parts = {key: digest_file(path) for key, path in {"": study.path, **tables}.items()}
    if not in_place:
        files |= {study.path.name: study.path, **_code(study, exclude)}
    for name in files:
        if _excluded(name, exclude):
            raise StudyError(f"{study.path}: --exclude keeps '{name}' here, which the study needs; narrow the pattern")
        parts[name] = digest_file(files[name])
    if not baked_in:
        own = _own()
        if clash := sorted({name.partition("/")[0] for name in own} & {name.partition("/")[0] for name in files}):
            raise StudyError(f"{folder / clash[0]} is called like a package of overlap's; rename it")
        parts["overlap"] = digest(canonical_json({name: digest_file(path) for name, path in own.items()}))
        files |= own
    _check_size(study, files)
    identity = {"overlap": overlap.__version__, "parts": parts, "in_place": in_place}
    return Shipment(str(study.path) if in_place else study.path.name, files, digest(canonical_json(identity)))


def _tables(study: Study, mounted: Sequence[Path]) -> dict[str, Path]:
    """The small files that a study names, by key; everything else that it names here must be mounted."""
    tables: dict[str, Path] = {}
    for named in named_paths(study):
        if named.travels:
            if not named.path.is_file():
                raise StudyError(f"{study.path}: key '{named.key}': {named.path} is no file; check the path")
            tables[named.key] = named.path
        elif not _within(named.path, mounted):
            raise StudyError(f"{study.path}: key '{named.key}': {named.path} is on this machine alone; {named.mend}")
    return tables


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _code(study: Study, exclude: Sequence[str]) -> dict[str, Path]:
    """Modules and packages beside the study, where it has factories; others must be installed on the cluster."""
    folder = study.path.parent
    described = [*study.checkpoint, *(query.defaults for query in study.zoo if query.defaults is not None)]
    named = {one.factory.partition(":")[0].partition(".")[0] for one in described if one.factory is not None}
    if not named:
        return {}
    packages = [
        path for path in folder.iterdir() if path.is_dir() and (path.name in named or (path / "__init__.py").is_file())
    ]
    patterns = (*EXCLUDED, *exclude)
    found = [*folder.glob("*.py"), *(path for package in packages for path in _beneath(package, patterns, folder))]
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return {name: names[name] for name in sorted(names) if not _excluded(name, patterns)}


def _beneath(folder: Path, patterns: Sequence[str], root: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _excluded(path.relative_to(root).as_posix(), patterns):
            continue
        if path.is_dir():
            yield from _beneath(path, patterns, root)
        elif path.is_file():
            yield path


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    """By the whole path, or by any of its parts."""
    return any(fnmatch(part, pattern) for pattern in patterns for part in (name, *name.split("/")))


def _own() -> dict[str, Path]:
    """Overlap's own two packages, as they are installed here."""
    roots = [Path(package.__path__[0]) for package in (overlap, workflows)]
    return {
        path.relative_to(root.parent).as_posix(): path for root in roots for path in _beneath(root, EXCLUDED[:3], root)
    }


def _check_size(study: Study, files: dict[str, Path]) -> None:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if (whole := sum(sizes.values())) > LIMIT:
        largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
        told = ", ".join(f"{name} ({_mib(sizes[name])})" for name in largest)
        raise StudyError(
            f"{study.path}: {_mib(whole)} would travel with the job, more than {_mib(LIMIT)}; largest: {told}; "
            "leave them out with --exclude, put them into a bucket, or bake them into the cluster's image"
        )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
