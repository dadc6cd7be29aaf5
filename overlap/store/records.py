"""What the ledger writes down, as frozen objects and their JSON: records, manifests, failures.

Guarantees that JSON which was cut, or altered beyond its form, is told from what was written; digests say the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from overlap.errors import StoreError
from overlap.identity import canonical_json
from overlap.store import layout

SCHEMA = 1
"""Version of records, manifests and failures."""


@dataclass(frozen=True)
class FeaturesObject:
    """Where a unit's penultimate features are: a key, the SHA-256 of its bytes, and values an image."""

    object: str
    bytes_digest: str
    dimension: int


@dataclass(frozen=True)
class Record:
    """That one unit, a checkpoint on a shard, is done: which object holds it, and what must be in there.

    `shard` is the digest of the shard or its first 16 hex digits, as it was certified; `object` a key; `rows` counts
    samples; `keys_digest` is `identity.digest_keys` of the ordered keys, `bytes_digest` the SHA-256 of the object;
    `seconds` is what the unit took; `provenance` holds what else is worth knowing, as plain JSON; `features` is the
    unit's second object, None (and absent from the JSON) where it has none.
    """

    data: str
    fingerprint: str
    shard: str
    object: str
    generation: int
    rows: int
    keys_digest: str
    bytes_digest: str
    seconds: float
    provenance: dict[str, Any]
    schema: int = SCHEMA
    features: FeaturesObject | None = None

    @property
    def name(self) -> str:
        """The shard's 16 hex digits."""
        return layout.shard_name(self.shard)

    @property
    def key(self) -> str:
        """Where the record is."""
        return layout.record(self.data, self.fingerprint, self.shard, self.generation)

    @property
    def readable(self) -> bool:
        """False for the stand-in of a record whose own JSON is damaged; such a unit is to be computed again."""
        return self.schema == SCHEMA

    @classmethod
    def unreadable(cls, data: str, fingerprint: str, shard: str, generation: int) -> Record:
        """The stand-in of a damaged record: it certifies nothing, and the next generation may replace it."""
        key = layout.record(data, fingerprint, shard, generation)
        return cls(data, fingerprint, layout.shard_name(shard), key, generation, 0, "", "", 0.0, {}, schema=0)

    def to_json(self) -> bytes:
        """As it is stored."""
        return canonical_json(self.plain())

    def plain(self) -> dict[str, Any]:
        """As plain JSON, without `features` where there are none: such records are as they always were."""
        fields = asdict(self)
        if self.features is None:
            del fields["features"]
        return fields

    @classmethod
    def from_json(cls, data: bytes) -> Record | None:
        """As it was stored; None of anything else. Newer schemas raise StoreError."""
        return cls._of(_parsed(data))

    @classmethod
    def _of(cls, fields: Any) -> Record | None:
        record = _load(cls, fields, _RECORD, {"features": dict})
        if record is None or record.features is None:
            return record
        held: Any = record.features
        if held.keys() != _FEATURES.keys() or not all(isinstance(held[name], kind) for name, kind in _FEATURES.items()):
            return None
        return replace(record, features=FeaturesObject(**held))


@dataclass(frozen=True)
class Manifest:
    """That a checkpoint is complete over a data set: its records in the order of the shards, and its hard.parquet.

    `dataset` is the data set's digest; `rows`, `keys_digest` and `seconds` are of all shards together; `hard_digest` is
    the SHA-256 of hard.parquet. It is a function of its records alone, so that whoever writes it writes the same bytes.
    """

    data: str
    fingerprint: str
    dataset: str
    records: tuple[Record, ...]
    rows: int
    keys_digest: str
    hard_digest: str
    seconds: float
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """As it is stored."""
        return canonical_json({**vars(self), "records": [record.plain() for record in self.records]})

    @classmethod
    def from_json(cls, data: bytes) -> Manifest | None:
        """As it was stored; None of anything else. Newer schemas raise StoreError."""
        manifest = _load(cls, _parsed(data), _MANIFEST)
        if manifest is None:
            return None
        records = [Record._of(held) for held in manifest.records]
        whole = tuple(record for record in records if record is not None)
        if len(whole) != len(records) or sum(record.rows for record in whole) != manifest.rows:
            return None
        return cls(**{**manifest.__dict__, "records": whole})


@dataclass(frozen=True)
class Failure:
    """Why a unit, or (shard None) a checkpoint as such, could not be done; `at` is UTC in ISO form."""

    data: str
    model: str
    shard: str | None
    fingerprint: str | None
    kind: str
    reason: str
    at: str
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        """As it is stored."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Failure | None:
        """As it was stored; None of anything else. Newer schemas raise StoreError."""
        return _load(cls, _parsed(data), _FAILURE)


_Kinds = Mapping[str, Any]
_RECORD: _Kinds = {
    **dict.fromkeys(("data", "fingerprint", "shard", "object", "keys_digest", "bytes_digest"), str),
    **{"generation": int, "rows": int, "seconds": (int, float), "provenance": dict},
}
_FEATURES: _Kinds = {"object": str, "bytes_digest": str, "dimension": int}
_MANIFEST: _Kinds = {
    **dict.fromkeys(("data", "fingerprint", "dataset", "keys_digest", "hard_digest"), str),
    **{"records": list, "rows": int, "seconds": (int, float)},
}
_FAILURE: _Kinds = {
    **dict.fromkeys(("data", "model", "kind", "reason", "at"), str),
    **dict.fromkeys(("shard", "fingerprint"), (str, type(None))),
}
_Kind = TypeVar("_Kind")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _load(kind: type[_Kind], held: Any, needed: _Kinds, further: _Kinds | None = None) -> _Kind | None:
    if not isinstance(held, dict) or not isinstance(held.get("schema"), int):
        return None
    if held["schema"] > SCHEMA:
        raise StoreError(
            f"a {kind.__name__.lower()} of {held.get('data')} has schema {held['schema']}, which this version does not "
            "know; upgrade overlap"
        )
    kinds = {**needed, **{name: each for name, each in (further or {}).items() if name in held}}
    if held["schema"] != SCHEMA or held.keys() != {*kinds, "schema"}:
        return None
    if not all(isinstance(held[name], kinds[name]) for name in kinds):
        return None
    return kind(**held)
