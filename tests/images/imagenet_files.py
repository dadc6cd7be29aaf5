"""Small files built like ILSVRC2012's: archive, development kit with a MATLAB 5 meta.mat, Parquet of a hub."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

from tests.images.test_packing import image

CLASSES = ("n01440764", "n01443537", "n01484850", "n01491361")
"""The first of the 1,000, in the order of their ids."""

KIT_ORDER = ("n01484850", "n01440764", "n01491361", "n01443537")
"""As the kit numbers them, from 1: in another order."""


def stem(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


def jpeg(number: int) -> bytes:
    return image(number, "JPEG")


def add(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    archive.addfile(member, io.BytesIO(body))


def validation_tar(path: Path, count: int, prefix: str = "") -> Path:
    """`count` images in an order of their own, beside what is no image."""
    with tarfile.open(path, "w") as archive:
        add(archive, f"{prefix}README.txt", b"not an image")
        for number in np.random.default_rng(0).permutation(count) + 1:
            add(archive, f"{prefix}{stem(int(number))}.JPEG", jpeg(int(number)))
    return path


def devkit(path: Path, ids: Sequence[int]) -> Path:
    """The kit with the given ILSVRC2012_ID for each image; its table holds inner nodes after the classes."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height"]
    fields.append("num_train_images")
    nodes = [(wnid, 0, np.zeros((1, 0))) for wnid in KIT_ORDER] + [("n00001740", 2, np.array([[1, 2]]))]
    synsets = np.empty((len(nodes), 1), dtype=[(name, object) for name in fields])
    for row, (wnid, children, which) in enumerate(nodes):
        words = f"word {row}, other"
        synsets[row, 0] = (float(row + 1), wnid, words, "gloss", float(children), which, float(bool(children)), 1300.0)
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets}, format="5")
    truth = "".join(f"{number}\n" for number in ids).encode()
    with tarfile.open(path, "w:gz") as archive:
        add(archive, "ILSVRC2012_devkit_t12/readme.txt", b"hello")
        add(archive, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        add(archive, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)
    return path


def hub_parquet(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> Path:
    """Rows of image and label under the schema that hubs write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())])
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=5)
    return path
