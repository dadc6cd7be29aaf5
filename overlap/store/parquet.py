"""Parquet as the store keeps it: one row group, keys as text, half-precision vectors in binary columns of fixed size.

Guarantees that equal columns give equal bytes (with one version of pyarrow), and that vectors are read without a copy:
each is little-endian float16, row by row (lists read six times slower; measured).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from overlap.errors import DataError

SCHEMA = 1
"""Version of the tables, in their metadata."""

HALF = np.dtype("<f2")


def write_table(columns: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Columns (pyarrow arrays by name) as Parquet; only `confidence` and columns of `large_binary` may hold nulls."""
    held = {"schema": str(SCHEMA), **metadata}
    nulls = {"confidence", *(name for name, column in columns.items() if pa.types.is_large_binary(column.type))}
    fields = [pa.field(name, column.type, nullable=name in nulls) for name, column in columns.items()]
    schema = pa.schema(fields, metadata={name: held[name] for name in sorted(held)})
    table = pa.Table.from_arrays(list(columns.values()), schema=schema)
    kinds = (pa.types.is_fixed_size_binary, pa.types.is_large_binary)
    vectors = {name for name, column in columns.items() if any(of_kind(column.type) for of_kind in kinds)}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(len(table), 1),  # one group: one chunk, so that reading copies nothing together
        compression={name: "none" if name in vectors else "zstd" for name in columns},  # vectors are noise to zstd
        use_dictionary=False,
        write_statistics=[name for name in columns if name not in vectors],
        store_schema=True,
    )
    written: bytes = sink.getvalue().to_pybytes()
    return written


def read_table(data: bytes, *columns: str) -> dict[str, Any]:
    """These columns of a table, each as one pyarrow array.

    Raises:
        ValueError: not such a table.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(columns=[*columns], use_threads=False)
        if missing := [name for name in columns if name not in table.column_names]:
            raise ValueError(f"a table without {', '.join(missing)}")
        if (schema := (table.schema.metadata or {}).get(b"schema")) != str(SCHEMA).encode():
            raise ValueError(f"a table of schema {schema!r}, which is not {SCHEMA}")
        return {name: _whole(table[name]) for name in columns}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no such table: {' '.join(str(error).split())}") from error


def metadata_of(data: bytes) -> dict[str, str]:
    """What was written beside a table, with `schema`; ValueError where it is not a Parquet file."""
    return {key.decode(): value.decode() for key, value in (_schema(data).metadata or {}).items()}


def columns_of(data: bytes) -> list[str]:
    """Names of a table's columns; ValueError where it is not a Parquet file."""
    names: list[str] = _schema(data).names
    return names


def as_halves(
    what: str, keys: Sequence[str], values: npt.NDArray[Any]
) -> tuple[list[str], npt.NDArray[np.float16], tuple[int, int] | None]:
    """Vectors as they are stored.

    Args:
        what: the vectors are, for errors.
        keys: n names.
        values: (n, D) of any real dtype, D > 0.

    Returns:
        The keys, the values as little-endian float16, and the first (row, column) that is not finite there, if any.

    Raises:
        DataError: a key comes twice; names it.
        ValueError: the shapes do not fit.
    """
    names = [*keys]
    if values.ndim != 2 or len(values) != len(names) or values.shape[1] < 1:
        raise ValueError(f"{what} of shape {values.shape} for {len(names)} keys")
    refuse_doubles(names)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=HALF)
    finite = np.isfinite(stored)
    if finite.all():
        return names, stored, None
    row, column = np.argwhere(~finite)[0].tolist()
    return names, stored, (row, column)


def halves_column(vectors: npt.NDArray[np.float16]) -> Any:
    """Vectors (n, K) as a column."""
    rows, width = vectors.shape
    held = np.ascontiguousarray(vectors, dtype=HALF)
    return pa.Array.from_buffers(pa.binary(HALF.itemsize * width), rows, [None, pa.py_buffer(held)])


def halves(column: Any) -> npt.NDArray[np.float16]:
    """Vectors (n, K) out of a column, a view of what was read.

    Raises:
        ValueError: a column of something else.
    """
    kind = column.type
    if not pa.types.is_fixed_size_binary(kind) or kind.byte_width % HALF.itemsize or column.null_count:
        raise ValueError(f"vectors are of type {kind}")
    width = kind.byte_width // HALF.itemsize
    values = column.buffers()[1]
    flat = np.frombuffer(values or b"", HALF, count=len(column) * width, offset=column.offset * kind.byte_width)
    return flat.reshape(len(column), width)


def refuse_doubles(keys: Sequence[str]) -> None:
    """Raise DataError where a key comes twice; it names the key."""
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        double = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DataError(f"sample {double} comes twice; give every sample a key of its own")


def keys_of(table: Mapping[str, Any]) -> list[str]:
    """The keys of a table, in order; raises ValueError where they are no text."""
    column = table["key"]
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"keys are of type {column.type}, {column.null_count} of them null")
    keys: list[str] = column.to_pylist()
    return keys


def values_of(column: Any, kind: Any) -> npt.NDArray[Any]:
    """The values of a column of this kind; raises ValueError where it is of another, or holds nulls."""
    if column.type != kind or column.null_count:
        raise ValueError(f"a column is of type {column.type}, {column.null_count} values null, where {kind} belongs")
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _schema(data: bytes) -> Any:
    try:
        return pq.read_schema(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file: {' '.join(str(error).split())}") from error


def _whole(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
