"""What is new since results were last published, in one line: who was added, replaced or withdrawn, and what changed.

Tells without staging or computing anything but digests of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from overlap.identity import digest_file
from overlap.imports import imported_data_sets
from overlap.published import read_table
from overlap.settled import Look
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.study import Study
from overlap.zoo.checkpoint import Candidate, Checkpoint
from overlap.zoo.resolve import resolve_for
from overlap.zoo.weights import Staged, recall

HASHED = 4 << 30
"""Bytes of files on this machine that are hashed for this; weights beyond, or elsewhere, that were never seen under
their address count as others than before."""
NAMED = 3
"""Checkpoints that a line names of each kind."""
PARTS = {"data": "data", "settings": "settings", "program": "overlap or its libraries", "imports": "imports"}
"""Parts of a look that a reader is told of, and what they are called."""


@dataclass(frozen=True)
class Novelty:
    """Checkpoints by what became of them since results were last published."""

    first: bool = False
    """Whether nothing was published yet."""
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    changed: tuple[str, ...] = field(default=())
    """Other parts that changed, in words."""
    again: bool = False
    """Whether something that failed is tried again."""

    @property
    def line(self) -> str:
        """The one line."""
        kinds = (("added", self.added), ("replaced", self.replaced), ("withdrawn", self.withdrawn))
        parts = [f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds if names]
        parts += [f"{what} changed" for what in self.changed]
        parts += ["what failed is tried again"] * self.again
        if self.first:
            return "new: nothing was published yet" + (f"; {len(self.added)} checkpoints" if self.added else "")
        return "new: " + (
            "; ".join(parts) or "the store lacks something that a run left there, or the last was broken off"
        )


def novelty(study: Study, look: Look) -> Novelty:
    """Compare what a study resolves to now with what was last published of it."""
    objects = open_objects(Location(study.store.uri, study.store.endpoint_url))
    found: dict[str, dict[str, None]] = {"added": {}, "replaced": {}, "withdrawn": {}}
    first = True
    for name in study.evaluated or imported_data_sets(objects):
        before = _published(name, objects)
        now = _resolved(study, name, objects)
        first = first and before is None
        before = before or {}
        found["added"] |= dict.fromkeys(now.keys() - before.keys())
        found["withdrawn"] |= dict.fromkeys(before.keys() - now.keys())
        known = now.keys() & before.keys()
        found["replaced"] |= dict.fromkeys(one for one in known if before[one] and now[one] not in (None, before[one]))
    changed = [words for part, words in PARTS.items() if look.last is not None and part in look.changed]
    names = {kind: tuple(sorted(held)) for kind, held in found.items()}
    return Novelty(first, **names, changed=tuple(changed), again=look.last is not None and look.last.expired)


UNSEEN = "?"
"""In place of a fingerprint, of weights that were never seen."""


def _published(name: str, objects: Objects) -> dict[str, str | None] | None:
    """Fingerprints of the study's checkpoints by name; None of those that could not be identified."""
    table = read_table(name, "models", objects)
    if table is None:
        return None
    rows = table.select("model", "fingerprint", "status").iter_rows()
    return {model: fingerprint for model, fingerprint, status in rows if status != "imported"}


def _resolved(study: Study, name: str, objects: Objects) -> dict[str, str | None]:
    """The same of what the study resolves to; None of what cannot be run or waits for a head."""
    if name not in study.data:
        return {}
    candidates, rejected = resolve_for(study, name)
    references = [one.weights for one in candidates]
    known = recall(references, objects, study.store.endpoint_url, [one.made for one in candidates])
    told, left = dict[str, str | None](), HASHED
    for one, staged in zip(candidates, known, strict=True):
        found: object = staged
        if staged is None and one.made is None and (size := _size(one.weights)) is not None and size <= left:
            found, left = Staged(digest_file(Path(one.weights)), size), left - size
        told[one.id] = _fingerprint(one, found)
    return told | {one.id: None for one in rejected}


def _size(weights: str) -> int | None:
    """Bytes of weights that are a file here; None of any other."""
    path = Path(weights)
    return path.stat().st_size if weights.startswith("/") and path.is_file() else None


def _fingerprint(candidate: Candidate, staged: object) -> str | None:
    if candidate.probe is not None:
        return None
    if staged is None:
        return UNSEEN
    return Checkpoint(candidate, staged.digest, staged.bytes).fingerprint if isinstance(staged, Staged) else None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
