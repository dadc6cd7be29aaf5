"""Penultimate features as Parquet: what went into a network's classifier, one vector an image.

Stored as little-endian float16 like the logits, which halves what a training set takes over a zoo (terabytes). What is
rounded away was measured on eight architectures: 1e-7 of a feature's variance over images in the median, 5e-6 at worst.
A feature beyond float16's range is refused, never stored as infinity. Any reader of Parquet reads the files, as those
of the logits; the dimension is in the metadata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from overlap.errors import CheckpointError
from overlap.identity import digest
from overlap.store import layout
from overlap.store.objects import Objects
from overlap.store.parquet import as_halves, halves, halves_column, keys_of, read_table, write_table
from overlap.store.records import FeaturesObject


@dataclass(frozen=True, eq=False)
class Features:
    """Keys (n) with features float16 (n, D), which may be read-only."""

    keys: list[str]
    features: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.features.shape[1])


def from_features(keys: Sequence[str], features: npt.NDArray[Any]) -> Features:
    """Features (n, D) of any real dtype, as they are stored.

    Raises:
        CheckpointError: a feature is not finite, or beyond float16's 65504; names the key.
        DataError: a key comes twice; names it.
        ValueError: the shapes do not fit.
    """
    names, stored, unfit = as_halves("features", keys, features)
    if unfit is not None:
        row, column = unfit
        raise CheckpointError(
            f"sample {names[row]}: feature {column} is {features[row, column]}, which float16 cannot hold; check the "
            "weights and the preprocessing, or store no features of this checkpoint (features = false)"
        )
    return Features(names, stored)


def encode_features(features: Features, metadata: Mapping[str, str] | None = None) -> bytes:
    """Features as Parquet: key string, features fixed-size binary."""
    columns = {"key": pa.array(features.keys, pa.string()), "features": halves_column(features.features)}
    return write_table(columns, {**(metadata or {}), "dimension": str(features.dimension)})


def put_features(objects: Objects, unit: Mapping[str, str], features: Features) -> FeaturesObject:
    """Store the features of a unit (`data`, `fingerprint`, `shard`), for its record to name."""
    body = encode_features(features, unit)
    place = layout.features(unit["data"], unit["fingerprint"], unit["shard"], digest(body))
    objects.put(place, body)
    return FeaturesObject(place, digest(body), features.dimension)


def decode_features(data: bytes) -> Features:
    """Features from Parquet; a view of what was read.

    Raises:
        ValueError: not such a table.
    """
    table = read_table(data, "key", "features")
    return Features(keys_of(table), halves(table["features"]))
