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

from overlap.errors import CheckpointError
from overlap.store.parquet import (
    as_halves,
    columns_of,
    halves,
    halves_column,
    keys_of,
    read_table,
    refuse_doubles,
    values_of,
    write_table,
)

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
    """What is held to be true: keys (n), label int32 as class number (n,), or (n, L) of several, padded with -1."""

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
    names, stored, unfit = as_halves("logits", keys, logits)
    if unfit is not None:
        row, column = unfit
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
    columns = _hard_columns(predictions.hard) | {"logits": halves_column(predictions.logits)}
    return write_table(columns, {**(metadata or {}), "classes": str(predictions.logits.shape[1])})


def decode(data: bytes) -> Predictions:
    """Predictions from Parquet; the logits are a view of what was read.

    Raises:
        ValueError: not such a table.
    """
    table = read_table(data, "key", "prediction", "confidence", "logits")
    hard = _hard(table)
    return Predictions(hard.keys, halves(table["logits"]), hard.prediction, hard.confidence)


def encode_hard(hard: Hard, metadata: Mapping[str, str] | None = None) -> bytes:
    """Hard predictions as Parquet: key string, prediction int32, confidence float32 (null where NaN)."""
    return write_table(_hard_columns(hard), metadata or {})


def decode_hard(data: bytes) -> Hard:
    """Hard predictions from Parquet, of a table with logits too.

    Raises:
        ValueError: not such a table.
    """
    return _hard(read_table(data, "key", "prediction", "confidence"))


def decode_prediction(data: bytes) -> npt.NDArray[np.int32]:
    """The class numbers of such tables alone; nothing is made of keys, which are most of a table.

    Raises:
        ValueError: not such a table.
    """
    return values_of(read_table(data, "prediction")["prediction"], pa.int32())


def encode_labels(labels: Labels, metadata: Mapping[str, str] | None = None) -> bytes:
    """Labels as Parquet: key string, label int32; of several classes label is the first, and `labels` a list of all.

    Raises:
        DataError: a key comes twice; names it.
    """
    refuse_doubles(labels.keys)
    several = labels.label.ndim > 1
    first = labels.label[:, 0] if several else labels.label
    columns = {"key": pa.array(labels.keys, pa.string()), "label": pa.array(first, pa.int32())}
    if several:
        held = labels.label >= 0
        ends = np.concatenate([[0], held.sum(1).cumsum()])
        columns["labels"] = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(labels.label[held], pa.int32())
        )
    return write_table(columns, metadata or {})


def decode_labels(data: bytes) -> Labels:
    """Labels from Parquet.

    Raises:
        ValueError: not such a table.
    """
    several = "labels" in columns_of(data)
    table = read_table(data, "key", "label", *(["labels"] if several else []))
    label = values_of(table["label"], pa.int32())
    if several:
        ends = table["labels"].offsets.to_numpy()
        counts = np.diff(ends)
        label = np.full((len(counts), max(1, counts.max(initial=0))), -1, np.int32)
        label[np.arange(label.shape[1]) < counts[:, None]] = values_of(table["labels"].flatten(), pa.int32())
    return Labels(keys_of(table), label)


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
    return Hard(keys_of(table), values_of(table["prediction"], pa.int32()), values)
