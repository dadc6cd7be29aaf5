"""Predictions, hard predictions and labels as Parquet.

Guarantees that equal tables give equal bytes (with one version of pyarrow); that every stored column derives from the
stored float16 logits, so that whoever reads logits and whoever reads hard predictions see one and the same model; and
that logits are read without a copy. Any Parquet reader reads the files: logits are K little-endian float16 per row in a
binary column of fixed size 2K (lists read six times slower), and K is in the metadata as `classes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from overlap.errors import CheckpointError, DataError

SCHEMA = 1
"""Version of the tables, in their metadata."""

HALF = np.dtype("<f2")
BLOCK = 4096
"""Rows whose softmax is computed at once, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Hard:
    """What a model answers: keys (n), class numbers prediction int32 (n,), confidence float32 (n,), NaN if unknown."""

    keys: list[str]
    prediction: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Hard predictions with the logits float16 (n, K) that they derive from; all arrays may be read-only."""

    keys: list[str]
    logits: npt.NDArray[np.float16]
    prediction: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def hard(self) -> Hard:
        """The same without logits."""
        return Hard(self.keys, self.prediction, self.confidence)


@dataclass(frozen=True, eq=False)
class Labels:
    """What is held to be true: keys (n), label int32 (n,) as class number."""

    keys: list[str]
    label: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.keys)


def from_logits(keys: Sequence[str], logits: npt.NDArray[Any]) -> Predictions:
    """Predictions from logits (n, K) of any real dtype, which are cast to little-endian float16 first.

    The prediction is the arg-max, lowest class on ties; the confidence max softmax = 1 / sum_k exp(z_k - max z), in
    float64.

    Raises:
        CheckpointError: a logit is not finite, or beyond float16's 65504; names the key.
        DataError: a key comes twice; names it.
        ValueError: the shapes do not fit.
    """
    names = [*keys]
    if logits.ndim != 2 or len(logits) != len(names) or logits.shape[1] < 1:
        raise ValueError(f"logits of shape {logits.shape} for {len(names)} keys")
    _refuse_doubles(names)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(logits, dtype=HALF)
    finite = np.isfinite(stored)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise CheckpointError(
            f"sample {names[row]}: the logit of class {column} is {logits[row, column]}, which float16 cannot hold; "
            "check the weights and the preprocessing"
        )
    prediction = stored.argmax(axis=1).astype(np.int32)
    confidence = np.empty(len(names), np.float32)
    for start in range(0, len(names), BLOCK):
        block = stored[start : start + BLOCK].astype(np.float64)
        block -= block.max(axis=1, keepdims=True)
        confidence[start : start + BLOCK] = 1.0 / np.exp(block).sum(axis=1)
    return Predictions(names, stored, prediction, confidence)


def encode(predictions: Predictions, metadata: Mapping[str, str] | None = None) -> bytes:
    """Predictions as Parquet: key string, prediction int32, confidence float32, logits fixed-size binary."""
    rows, classes = predictions.logits.shape
    logits = np.ascontiguousarray(predictions.logits, dtype=HALF)
    column = pa.Array.from_buffers(pa.binary(HALF.itemsize * classes), rows, [None, pa.py_buffer(logits)])
    return _write(_hard_columns(predictions.hard) | {"logits": column}, {**(metadata or {}), "classes": str(classes)})


def decode(data: bytes) -> Predictions:
    """Predictions from Parquet; the logits are a view of what was read.

    Raises:
        ValueError: not such a table.
    """
    table = _read(data, "key", "prediction", "confidence", "logits")
    column, kind = table["logits"], table["logits"].type
    if not pa.types.is_fixed_size_binary(kind) or kind.byte_width % HALF.itemsize or column.null_count:
        raise ValueError(f"logits are of type {kind}")
    hard = _hard(table)
    classes = kind.byte_width // HALF.itemsize
    values = column.buffers()[1]
    flat = np.frombuffer(values or b"", HALF, count=len(column) * classes, offset=column.offset * kind.byte_width)
    return Predictions(hard.keys, flat.reshape(len(column), classes), hard.prediction, hard.confidence)


def encode_hard(hard: Hard, metadata: Mapping[str, str] | None = None) -> bytes:
    """Hard predictions as Parquet: key string, prediction int32, confidence float32 (null where NaN)."""
    return _write(_hard_columns(hard), metadata or {})


def decode_hard(data: bytes) -> Hard:
    """Hard predictions from Parquet, of a table with logits too.

    Raises:
        ValueError: not such a table.
    """
    return _hard(_read(data, "key", "prediction", "confidence"))


def encode_labels(labels: Labels, metadata: Mapping[str, str] | None = None) -> bytes:
    """Labels as Parquet: key string, label int32.

    Raises:
        DataError: a key comes twice; names it.
    """
    _refuse_doubles(labels.keys)
    return _write(
        {"key": pa.array(labels.keys, pa.string()), "label": pa.array(labels.label, pa.int32())}, metadata or {}
    )


def decode_labels(data: bytes) -> Labels:
    """Labels from Parquet.

    Raises:
        ValueError: not such a table.
    """
    table = _read(data, "key", "label")
    return Labels(_keys(table), _values(table["label"], pa.int32()))


def metadata_of(data: bytes) -> dict[str, str]:
    """What was written beside a table, with `schema` and, of predictions, `classes`.

    Raises:
        ValueError: not a Parquet file.
    """
    try:
        held = pq.read_schema(pa.BufferReader(data)).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file: {' '.join(str(error).split())}") from error
    return {key.decode(): value.decode() for key, value in held.items()}


def _refuse_doubles(keys: Sequence[str]) -> None:
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        double = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DataError(f"sample {double} comes twice; give every sample a key of its own")


def _hard_columns(hard: Hard) -> dict[str, Any]:
    confidence = pa.array(hard.confidence, pa.float32(), from_pandas=True)  # NaN becomes null
    return {
        "key": pa.array(hard.keys, pa.string()),
        "prediction": pa.array(hard.prediction, pa.int32()),
        "confidence": confidence,
    }


def _hard(table: dict[str, Any]) -> Hard:
    confidence = table["confidence"]
    if confidence.type != pa.float32():
        raise ValueError(f"confidence is of type {confidence.type}")
    values = confidence.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return Hard(_keys(table), _values(table["prediction"], pa.int32()), values)


def _keys(table: dict[str, Any]) -> list[str]:
    column = table["key"]
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"keys are of type {column.type}, {column.null_count} of them null")
    keys: list[str] = column.to_pylist()
    return keys


def _values(column: Any, kind: Any) -> npt.NDArray[Any]:
    if column.type != kind or column.null_count:
        raise ValueError(f"a column is of type {column.type}, {column.null_count} values null, where {kind} belongs")
    values: npt.NDArray[Any] = column.to_numpy()
    return values


def _write(columns: dict[str, Any], metadata: Mapping[str, str]) -> bytes:
    held = {"schema": str(SCHEMA), **metadata}
    fields = [pa.field(name, column.type, nullable=name == "confidence") for name, column in columns.items()]
    schema = pa.schema(fields, metadata={name: held[name] for name in sorted(held)})
    table = pa.Table.from_arrays(list(columns.values()), schema=schema)
    small = [name for name in columns if name != "logits"]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(len(table), 1),  # one group: one chunk, so that reading copies nothing together
        compression={name: "none" if name == "logits" else "zstd" for name in columns},  # logits are noise to zstd
        use_dictionary=False,
        write_statistics=small,
        store_schema=True,
    )
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _read(data: bytes, *columns: str) -> dict[str, Any]:
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(columns=[*columns], use_threads=False)
        if missing := [name for name in columns if name not in table.column_names]:
            raise ValueError(f"a table without {', '.join(missing)}")
        if (schema := (table.schema.metadata or {}).get(b"schema")) != str(SCHEMA).encode():
            raise ValueError(f"a table of schema {schema!r}, which is not {SCHEMA}")
        return {name: _whole(table[name]) for name in columns}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no such table: {' '.join(str(error).split())}") from error


def _whole(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
