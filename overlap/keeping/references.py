"""What the objects of a store refer to: read from every record, manifest, snapshot, identity, pointer and result.

Guarantees: whatever cannot be read is taken to refer to everything it might: a doubt keeps things, and is said.
Several studies may share a store; nothing here asks whose an object is.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from overlap.errors import DamagedObject
from overlap.identity import SHORT
from overlap.keeping.kinds import Parsed
from overlap.published import REDUCTION, read_snapshot
from overlap.store import kept, layout, memo
from overlap.store.kept import Asked
from overlap.store.objects import ObjectInfo, Objects, get_many
from overlap.store.records import Manifest, Record

Reduction = tuple[str, str]
"""Name of results, and the short digest of what went into them."""
Unit = tuple[str, str, str]
"""Data set, fingerprint, and the shard's name."""
STAGED = "staged-shard"
"""Kind of the memo of which shard an object under shards/ is."""
WEIGHTS = ("weights", "weights-index", "weights-named", "linear-probe")
"""Kinds of memos that name weights."""


@dataclass
class References:
    """What is referred to."""

    objects: set[str] = field(default_factory=set)
    """Data objects that a unit's newest record names, or a manifest."""
    doubtful: set[Unit] = field(default_factory=set)
    """Units whose newest record cannot be read."""
    named: set[str] = field(default_factory=set)
    """Fingerprints in a snapshot, or in the newest results of a data set."""
    shards: set[str] = field(default_factory=set)
    """Names of the shards in snapshots."""
    staged: dict[str, str] = field(default_factory=dict)
    """Name of the shard by the digest under which its file was staged."""
    identities: dict[str, str] = field(default_factory=dict)
    """Digest of the weights by the key of an identity that can be read."""
    remembered: set[str] = field(default_factory=set)
    """Digests of weights that a memo names."""
    tables: set[str] = field(default_factory=set)
    """Imported tables that a pointer names."""
    newest: dict[str, str] = field(default_factory=dict)
    """By the name of results the short digest of what went into the newest."""
    asked: dict[Reduction, Asked] = field(default_factory=dict)
    """By reduction what it asks for of the answers and pairs that are kept."""
    doubts: dict[str, str] = field(default_factory=dict)
    """What cannot be read, by what it might refer to: `named`, `identities`, `tables DATA`, `results NAME`, `kept DATA`
    of any reduction about a data set."""


Listing = Mapping[str, tuple[ObjectInfo, Parsed]]


def read_references(objects: Objects, listing: Listing) -> References:
    """Everything that the objects of a listing refer to.

    Raises:
        StoreError: the store cannot be reached, or a record is of a newer version than this.
    """
    found = References()
    _units(found, objects, listing)
    _snapshots(found, objects, listing)
    _results(found, objects, listing)
    _asked(found, objects, listing)
    _weights(found, objects, listing)
    for key, body in get_many(objects, _of(listing, "import")).items():
        pointer = _json(body)
        if isinstance(pointer.get("object"), str):
            found.tables.add(pointer["object"])
        else:
            found.doubts[f"tables {listing[key][1].parts['data']}"] = key
    return found


def _units(found: References, objects: Objects, listing: Listing) -> None:
    """Manifests hold the records of their units: only what none covers is read one by one."""
    newest: dict[Unit, int] = {}
    for key in _of(listing, "record"):
        parts = listing[key][1].parts
        parsed = layout.parse_record(key)
        unit = (parts["data"], parts["fingerprint"], parts["shard"])
        newest[unit] = max(newest.get(unit, 0), 0 if parsed is None else parsed[2])
    covered: set[Unit] = set()
    for body in get_many(objects, _of(listing, "manifest")).values():
        manifest = Manifest.from_json(body)
        for record in () if manifest is None else manifest.records:
            found.objects |= _named(record)
            unit = (record.data, record.fingerprint, record.name)
            if newest.get(unit) == record.generation:
                covered.add(unit)
    single = {layout.record(*unit, newest[unit]): unit for unit in newest if unit not in covered}
    read = get_many(objects, single)
    for key, (data, fingerprint, shard) in single.items():
        record_read = Record.from_json(read.get(key, b""))
        told = None if record_read is None else (record_read.data, record_read.fingerprint, record_read.name)
        if record_read is None or told != (data, fingerprint, shard):
            found.doubtful.add((data, fingerprint, shard))
        else:
            found.objects |= _named(record_read)


def _snapshots(found: References, objects: Objects, listing: Listing) -> None:
    for key in _of(listing, "snapshot"):
        try:
            snapshot = read_snapshot(key.removeprefix("studies/").removesuffix(".json"), objects)
        except DamagedObject:
            snapshot = None
        if snapshot is None:
            found.doubts["named"] = key
        else:
            found.named |= set(snapshot.models.values())
            found.shards |= set(snapshot.shards)
    keys = {
        memo.key(STAGED, digest): digest
        for digest in (listing[key][1].parts["digest"] for key in _of(listing, "shard"))
    }
    for key, told in memo.recall_many(keys, objects).items():
        found.staged[keys[key]] = str(told)


def _results(found: References, objects: Objects, listing: Listing) -> None:
    import polars as pl

    for key in (key for key in _of(listing, "result") if key.endswith(f"/{REDUCTION}")):
        name = listing[key][1].parts["results"]
        inputs = _json(get_many(objects, [key]).get(key, b"")).get("inputs_digest")
        if not isinstance(inputs, str):
            found.doubts[f"results {name}"] = found.doubts["named"] = key
            continue
        found.newest[name] = inputs[:SHORT]
        models = layout.results(name, "models.parquet", inputs=inputs)
        try:
            table = pl.read_parquet(io.BytesIO(get_many(objects, [models])[models]), columns=["fingerprint"])
            found.named |= set(table["fingerprint"].drop_nulls().to_list())
        except (KeyError, pl.exceptions.PolarsError, OSError):
            found.doubts["named"] = models


def _asked(found: References, objects: Objects, listing: Listing) -> None:
    keys = [key for key in _of(listing, "earlier result") if key.endswith(f"/{kept.ASKED}")]
    for key, body in get_many(objects, keys).items():
        parts, asked = listing[key][1].parts, Asked.from_json(body)
        if asked is None:
            found.doubts[f"kept {parts['results'].partition('@')[0]}"] = key
        else:
            found.asked[parts["results"], parts["inputs"]] = asked


def _weights(found: References, objects: Objects, listing: Listing) -> None:
    if not _of(listing, "weights"):
        return
    for key, body in get_many(objects, _of(listing, "identity")).items():
        digest = _json(body).get("weights")
        if isinstance(digest, str):
            found.identities[key] = digest
        else:
            found.doubts["identities"] = key
    memos = [key for key in _of(listing, "memo") if listing[key][1].parts["memo"] in WEIGHTS]
    for told in memo.recall_many(memos, objects).values():
        several: Iterable[Any] = told.values() if isinstance(told, dict) and "digest" not in told else [told]
        found.remembered |= {str(one["digest"]) for one in several if isinstance(one, dict) and "digest" in one}


def _named(record: Record) -> set[str]:
    return {record.object} | ({record.features.object} if record.features is not None else set())


def _of(listing: Listing, kind: str) -> list[str]:
    return [key for key, (_, parsed) in listing.items() if parsed.kind.name == kind]


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def grouped(listing: Listing, *names: str) -> dict[tuple[str, ...], list[ObjectInfo]]:
    """The objects whose keys have all of these parts, by the parts."""
    groups: dict[tuple[str, ...], list[ObjectInfo]] = defaultdict(list)
    for info, parsed in listing.values():
        if all(name in parsed.parts for name in names):
            groups[tuple(parsed.parts[name] for name in names)].append(info)
    return dict(groups)
