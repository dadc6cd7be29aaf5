"""Certified units read back: every byte is verified against the record before anything is believed of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from overlap.errors import DamagedObject, DataError, ObjectMissing
from overlap.identity import digest, digest_keys
from overlap.store.objects import Objects
from overlap.store.records import Record
from overlap.store.tables import Hard, Predictions, decode

UNIT_READERS = 4
"""Units read side by side; bounds the memory."""


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
    """The predictions that a record certifies.

    Raises:
        DamagedUnits: the record is a stand-in; or its object is gone, or has other bytes, rows or keys.
        StoreError: the store cannot be reached.
    """

    def damage(what: str) -> DamagedUnits:
        return DamagedUnits(f"{objects.uri}/{record.object}: {what}; run again to compute it anew", [record])

    if not record.readable:
        raise damage("the record cannot be read")
    try:
        data = objects.get(record.object)
    except ObjectMissing:
        raise damage("is certified and gone") from None
    if digest(data) != record.bytes_digest:
        raise damage(f"holds other bytes ({len(data)} of them) than were certified")
    try:
        predictions = decode(data)
    except ValueError as error:
        raise damage(f"was certified though it is no table of predictions ({error})") from error
    if len(predictions) != record.rows or digest_keys(predictions.keys) != record.keys_digest:
        raise damage(f"holds {len(predictions)} rows whose keys are not those of the {record.rows} certified")
    return predictions


def read_hard(objects: Objects, records: Sequence[Record], threads: int = UNIT_READERS) -> Hard:
    """The hard predictions of several units, one after the other.

    Raises:
        DamagedUnits: all that are damaged, in its `records`.
        DataError: a sample is in two units; names it.
        StoreError: the store cannot be reached.
    """

    def read(record: Record) -> Hard | DamagedUnits:
        try:
            return read_unit(objects, record).hard
        except DamagedUnits as error:
            return error

    with ThreadPoolExecutor(max(threads, 1), thread_name_prefix="units") as pool:
        found = list(pool.map(read, records))
    if damaged := [part for part in found if isinstance(part, DamagedUnits)]:
        raise DamagedUnits.together(damaged)
    return _joined([part for part in found if isinstance(part, Hard)])


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
