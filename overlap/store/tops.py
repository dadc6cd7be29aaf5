"""Predictions of kind `top`: the largest logits of each image, moments of the rest, and all logits of two samples.

Guarantees that equal tables give equal bytes (with one version of pyarrow); that everything derives from the float16
logits as they would have been stored in full; that the samples are chosen by the keys alone (`tops.samples`). Any
Parquet reader reads the files: `largest` and `classes` are 64 little-endian numbers of 16 bits per row, `moments` two
float32 at each inverse temperature that the metadata list, `logits` is null outside the samples, and all K elsewhere.
Not kept: what the other classes have one by one. Whoever needs that is told so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from overlap.analysis.tops.moments import GRID, KEPT, moments
from overlap.analysis.tops.samples import whole
from overlap.errors import CheckpointError
from overlap.store.parquet import HALF, columns_of, keys_of, metadata_of, read_table, values_of, write_table
from overlap.store.tables import Hard, Predictions, from_logits

CODES = np.dtype("<u2")
SINGLE = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class Tops:
    """Hard predictions of n images of K classes, with what bounds need; all arrays may be read-only.

    Attributes:
        keys: of the images.
        prediction: (n,) int32, confidence: (n,) float32, as of `tables.Predictions`.
        largest: (n, 64) float16, descending, the lower class first among equals.
        classes: (n, 64) uint16, whose they are.
        least: (n,) float16, the least logit.
        moments: (n, G, 2) float32, of the other classes (see `analysis.tops.moments`).
        rows: (s,) int64, ascending, the images of the samples; logits: (s, K) float16, all of theirs.
        among: K.
    """

    keys: list[str]
    prediction: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]
    largest: npt.NDArray[np.float16]
    classes: npt.NDArray[np.uint16]
    least: npt.NDArray[np.float16]
    moments: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float16]
    among: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def hard(self) -> Hard:
        """The predictions alone."""
        return Hard(self.keys, self.prediction, self.confidence)

    def take(self, images: npt.NDArray[np.int64]) -> Tops:
        """Those of some images, ascending."""
        places = np.searchsorted(images, self.rows)
        inside = np.isin(self.rows, images)
        return Tops(
            [self.keys[image] for image in images.tolist()],
            self.prediction[images],
            self.confidence[images],
            self.largest[images],
            self.classes[images],
            self.least[images],
            self.moments[images],
            places[inside],
            self.logits[inside],
            self.among,
        )


def joined(parts: Sequence[Tops]) -> Tops:
    """Several, of one model, as one; at least one.

    Raises:
        ValueError: of different classes.
    """
    if len({part.among for part in parts}) != 1:
        raise ValueError("largest logits of different classes")
    starts = np.cumsum([0, *(len(part) for part in parts)])
    together = ("prediction", "confidence", "largest", "classes", "least", "moments")
    return Tops(
        keys=[key for part in parts for key in part.keys],
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in together},
        rows=np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=False)]),
        logits=np.concatenate([part.logits for part in parts]),
        among=parts[0].among,
    )


def tops_from_logits(keys: Sequence[str], logits: npt.NDArray[Any]) -> Tops:
    """From logits (n, K) of any real dtype; errors are those of `tables.from_logits`.

    Raises:
        CheckpointError: also not more classes than are kept, or more than a class number holds.
    """
    if not KEPT < logits.shape[1] < np.iinfo(np.uint16).max:
        raise CheckpointError(
            f'{logits.shape[1]} classes, where predict.output = "top" is for {KEPT + 1} to 65534; set output = "logits"'
        )
    return tops_of(from_logits(keys, logits))


def tops_of(predictions: Predictions) -> Tops:
    """From predictions in full, of more than 64 classes."""
    from overlap.analysis.ensembles.shortening import shorten

    stored = predictions.logits
    n, among = stored.shape
    largest, least, tail = np.zeros((n, KEPT), HALF), np.zeros(n, HALF), np.zeros(n, HALF)
    classes = np.zeros((n, KEPT), CODES)
    shorten(stored.view(np.uint16), KEPT, largest.view(np.uint16), classes, tail.view(np.uint16), least.view(np.uint16))
    rows = np.flatnonzero(whole(predictions.keys))
    return Tops(
        predictions.keys,
        predictions.prediction,
        predictions.confidence,
        largest,
        classes,
        least,
        moments(stored, classes),
        rows,
        np.ascontiguousarray(stored[rows]),
        among,
    )


def encode_tops(tops: Tops, metadata: Mapping[str, str] | None = None) -> bytes:
    """As Parquet."""
    held = np.zeros(len(tops), np.bool_)
    held[tops.rows] = True
    offsets = np.concatenate([[0], np.cumsum(held)]) * HALF.itemsize * tops.among
    columns = {
        "key": pa.array(tops.keys, pa.string()),
        "prediction": pa.array(tops.prediction, pa.int32()),
        "confidence": pa.array(tops.confidence, pa.float32()),
        "largest": _column(tops.largest, HALF),
        "classes": _column(tops.classes, CODES),
        "least": _column(tops.least, HALF),
        "moments": _column(tops.moments, SINGLE),
        "logits": pa.LargeBinaryArray.from_buffers(
            pa.large_binary(),
            len(tops),
            [
                pa.py_buffer(np.packbits(held, bitorder="little")),
                pa.py_buffer(offsets.astype(np.int64)),
                pa.py_buffer(np.ascontiguousarray(tops.logits, HALF)),
            ],
        ),
    }
    told = {"classes": str(tops.among), "inverse_temperatures": json.dumps(GRID)}
    return write_table(columns, {**(metadata or {}), **told})


def is_tops(data: bytes) -> bool:
    """Whether a table of predictions is of this kind; raises ValueError where it is no Parquet."""
    return "moments" in columns_of(data)


def decode_tops(data: bytes) -> Tops:
    """From Parquet; what is large is a view of what was read.

    Raises:
        ValueError: not such a table, or of other inverse temperatures.
    """
    table = read_table(data, "key", "prediction", "confidence", "largest", "classes", "least", "moments", "logits")
    told = metadata_of(data)
    if json.loads(told.get("inverse_temperatures", "null")) != [*GRID]:
        raise ValueError("its moments are at other inverse temperatures")
    among = int(told["classes"])
    column = table["logits"]
    rows, logits = _present(column, among)
    prediction = values_of(table["prediction"], pa.int32())
    classes = _array(table["classes"], CODES, KEPT)
    if (classes[:, 0] != prediction).any() or classes.max(initial=0) >= among:
        raise ValueError("its predictions are not its largest logits")
    return Tops(
        keys_of(table),
        prediction,
        table["confidence"].to_numpy(zero_copy_only=False),
        _array(table["largest"], HALF, KEPT),
        classes,
        _array(table["least"], HALF, 1)[:, 0],
        _array(table["moments"], SINGLE, 2 * len(GRID)).reshape(-1, len(GRID), 2),
        rows,
        logits,
        among,
    )


def _present(column: Any, among: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
    """Rows that are not null, and what they hold."""
    if column.type != pa.large_binary():
        raise ValueError(f"logits are of type {column.type}")
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    _, ends, values = column.buffers()
    edges = np.frombuffer(ends or bytes(8), np.int64)[column.offset : column.offset + len(column) + 1]
    if (np.diff(edges)[rows] != HALF.itemsize * among).any() or edges[-1] - edges[0] != len(rows) * 2 * among:
        raise ValueError(f"rows of other than {among} logits")
    flat = np.frombuffer(values or b"", HALF, count=len(rows) * among, offset=int(edges[0]))
    return rows, flat.reshape(len(rows), among)


def _column(values: npt.NDArray[Any], kind: np.dtype[Any]) -> Any:
    held = np.ascontiguousarray(values, kind)
    width = held.itemsize * (held[0].size if len(held) else 1)
    return pa.Array.from_buffers(pa.binary(width), len(held), [None, pa.py_buffer(held)])


def _array(column: Any, kind: np.dtype[Any], width: int) -> npt.NDArray[Any]:
    bytes_ = kind.itemsize * width
    if len(column) and (column.type != pa.binary(bytes_) or column.null_count):
        raise ValueError(f"a column is of type {column.type}, where binary of {bytes_} bytes belongs")
    flat = np.frombuffer(column.buffers()[1] or b"", kind, count=len(column) * width, offset=column.offset * bytes_)
    return flat.reshape(len(column), width)
