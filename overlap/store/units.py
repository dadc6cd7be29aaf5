"""Certified units read back: every byte is verified against the record before anything is believed of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from overlap.errors import DamagedObject, DataError, ObjectMissing
from overlap.identity import digest, digest_keys
from overlap.store.features import Features, decode_features
from overlap.store.objects import Objects
from overlap.store.records import Record
from overlap.store.tables import Hard, Predictions, decode
from overlap.store.tops import Tops, decode_tops, is_tops

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT_READERS = 4
"""Units read side by side; bounds the memory."""

_Table = TypeVar("_Table", bound=Predictions | Features | Tops)


class DamagedUnits(DamagedObject):
    """Certified units whose objects or records are damaged; `records` are what to give `certify` as `replaces`."""

    def __init__(self, message: str, records: Iterable[Record]) -> None:
        super().__init__(message)
        self.records = tuple(records)

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedUnits, (str(self), self.records)

    @classmethod
    def together(cls, errors: Sequence[DamagedUnits]) -> DamagedUnits:
        """Several as one, under the message of the first."""
        others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return cls(f"{errors[0]}{others}", [record for error in errors for record in error.records])


def read_unit(objects: Objects, record: Record) -> Predictions:
    """The predictions that a record certifies, with all of their logits.

    Raises:
        DataError: only the largest logits were stored.
        DamagedUnits: the record is a stand-in; or its object is gone, or has other bytes, rows or keys.
        StoreError: the store cannot be reached.
    """
    found = read_either(objects, record)
    if isinstance(found, Tops):
        raise DataError(
            f"{objects.uri}/{record.object}: holds the largest logits of each image alone; what needs all of them "
            'needs a study with predict.output = "logits"'
        )
    return found


def read_either(objects: Objects, record: Record) -> Predictions | Tops:
    """The predictions that a record certifies, of whichever kind; raises as `read_unit`, but DataError."""
    return _verified(objects, record, record.object, record.bytes_digest, _decode_either)


def read_tops(objects: Objects, record: Record) -> Tops:
    """The largest logits that a record certifies.

    Raises:
        DataError: all logits were stored.
        DamagedUnits, StoreError: as `read_unit`.
    """
    found = read_either(objects, record)
    if not isinstance(found, Tops):
        raise DataError(f'{objects.uri}/{record.object}: holds all logits; it is not of predict.output = "top"')
    return found


def _decode_either(data: bytes) -> Predictions | Tops:
    return decode_tops(data) if is_tops(data) else decode(data)


def read_features(objects: Objects, record: Record) -> Features:
    """The penultimate features that a record certifies.

    Raises:
        ObjectMissing: the unit was predicted without features.
        DamagedUnits: as of `read_unit`.
        StoreError: the store cannot be reached.
    """
    held = record.features
    if held is None and record.readable:
        raise ObjectMissing(f"{objects.uri}/{record.key}: has no features; run with predict.features = true")
    key, expected = (record.object, "") if held is None else (held.object, held.bytes_digest)
    features = _verified(objects, record, key, expected, decode_features)
    if held is not None and features.dimension != held.dimension:
        raise _damage(objects, record, key, f"holds {features.dimension} features an image, not {held.dimension}")
    return features


def feature_matrix(objects: Objects, records: Sequence[Record], threads: int = UNIT_READERS) -> NDArray[np.float32]:
    """The features of units together: float32 (N, D) in the order of the records, verified.

    Args:
        objects: the store.
        records: of one checkpoint, as a manifest holds them; at least one.
        threads: units read side by side. Memory is the matrix (4 N D bytes) and as many units.

    Raises:
        ObjectMissing, DamagedUnits, StoreError: as `read_features`.
        ValueError: no records, or units of different dimensions.
    """
    dimensions = {record.features.dimension for record in records if record.features is not None}
    if len(dimensions) > 1 or not records:
        raise ValueError(f"{len(records)} units with features of dimensions {sorted(dimensions)} make no matrix")
    ends = np.cumsum([0, *(record.rows for record in records)])
    whole = np.empty((ends[-1], next(iter(dimensions), 0)), np.float32)

    def fill(place: int) -> None:
        whole[ends[place] : ends[place + 1]] = read_features(objects, records[place]).features

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="units") as pool:
        for _ in pool.map(fill, range(len(records))):
            pass
    return whole


def read_hard(objects: Objects, records: Sequence[Record], threads: int = UNIT_READERS) -> Hard:
    """The hard predictions of several units, one after the other; their features are verified too.

    Raises:
        DamagedUnits: all that are damaged, in its `records`.
        DataError: a sample is in two units; names it.
        StoreError: the store cannot be reached.
    """

    def read(record: Record) -> Hard | DamagedUnits:
        try:
            if record.features is not None:
                read_features(objects, record)
            return read_either(objects, record).hard
        except DamagedUnits as error:
            return error

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="units") as pool:
        found = list(pool.map(read, records))
    if damaged := [part for part in found if isinstance(part, DamagedUnits)]:
        raise DamagedUnits.together(damaged)
    return _joined([part for part in found if isinstance(part, Hard)])


def _verified(
    objects: Objects, record: Record, key: str, bytes_digest: str, decoder: Callable[[bytes], _Table]
) -> _Table:
    """One object of a unit, if it is wholly what the record says."""
    if not record.readable:
        raise _damage(objects, record, key, "the record cannot be read")
    try:
        data = objects.get(key)
    except ObjectMissing:
        raise _damage(objects, record, key, "is certified and gone") from None
    if digest(data) != bytes_digest:
        raise _damage(objects, record, key, f"holds other bytes ({len(data)} of them) than were certified")
    try:
        table = decoder(data)
    except ValueError as error:
        what = f"was certified though it is no such table ({error})"
        raise _damage(objects, record, key, what) from error
    if len(table.keys) != record.rows or digest_keys(table.keys) != record.keys_digest:
        what = f"holds {len(table.keys)} rows whose keys are not those of the {record.rows} certified"
        raise _damage(objects, record, key, what)
    return table


def _damage(objects: Objects, record: Record, key: str, what: str) -> DamagedUnits:
    return DamagedUnits(f"{objects.uri}/{key}: {what}; run again to compute it anew", [record])


def _joined(parts: Sequence[Hard]) -> Hard:
    seen: set[str] = set()
    for part in parts:
        if (double := next((key for key in part.keys if key in seen), None)) is not None:
            raise DataError(f"sample {double!r} is in two shards; give every sample a key of its own")
        seen.update(part.keys)
    return Hard(
        [key for part in parts for key in part.keys],
        np.concatenate([np.empty(0, np.int32), *(part.prediction for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.confidence for part in parts)]),
    )
