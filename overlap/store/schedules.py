"""How fan-outs ran, a table each: what every worker did when, and what it waited for.

Guarantees nothing about results: they depend on inputs alone, and no table here is among them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from overlap.store import layout
from overlap.store.objects import Objects

COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "node": pl.String,
    "worker": pl.String,
    "device": pl.String,
    "model": pl.String,
    "fingerprint": pl.String,
    "shards": pl.List(pl.String),
    "units": pl.Int64,
    "failed": pl.Int64,
    "images": pl.Int64,
    "lost": pl.Boolean,
    "submitted": pl.Float64,
    "started": pl.Float64,
    "finished": pl.Float64,
    "waiting": pl.Float64,
    "loading": pl.Float64,
    "computing": pl.Float64,
    "storing": pl.Float64,
    "images_decoded": pl.Int64,
}
"""A row a lease, in the order in which they came back. `submitted`, `started` and `finished` are UTC seconds of the
driver's clock; `waiting`, `loading`, `computing` and `storing` are seconds that the worker measured, without a gap:
`waiting` ends with `started`, the other three fill the time to `finished`. `lost` leases did not come back, their
worker or node was gone: only what is known of them stands there. `images_decoded` were decoded on the node since the
lease before came back from it."""


def table(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a table with all columns."""
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def write(data: str, started: float, identifier: str, schedule: pl.DataFrame, objects: Objects) -> str:
    """Store how a fan-out ran; returns the key.

    Args:
        data: the data set.
        started: when it began, UTC seconds.
        identifier: tells it from others of that second; letters and digits.
        schedule: with `COLUMNS`.
        objects: the store.
    """
    buffer = io.BytesIO()
    schedule.write_parquet(buffer)
    key = layout.schedule(data, int(started), identifier)
    objects.put(key, buffer.getvalue())
    return key


def newest(data: str, objects: Objects) -> pl.DataFrame | None:
    """How the last fan-out over a data set ran that is told of; None where there is none.

    One that cannot be read is passed over: it is a view of the past, not a result.
    """
    for key in sorted((info.key for info in objects.list(layout.schedules_prefix(data))), reverse=True):
        try:
            found = pl.read_parquet(io.BytesIO(objects.get(key)))
        except (pl.exceptions.PolarsError, OSError):
            continue
        if dict(found.schema) == dict(COLUMNS) and found.height:
            return found
    return None
