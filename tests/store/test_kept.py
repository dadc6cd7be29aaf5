"""Arrays under the name of their digest: whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from overlap.store import kept, layout
from overlap.store.folder import Folder

FP, SOURCE, CONTEXT = "f" * 16, "a" * 64, "c" * 64
ARRAYS = {
    "halves": np.arange(6, dtype=np.float16).reshape(2, 3)[:, ::-1],
    "nothing": np.empty((0, 4), np.uint16),
    "flags": np.array([True, False]),
}


def write(objects: Folder) -> str:
    return kept.write(objects, lambda digest: layout.answers("val", CONTEXT, FP, SOURCE, digest), ARRAYS)


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    key = write(objects)
    assert write(objects) == key
    assert layout.parse_answers(key) == (CONTEXT[:16], FP, SOURCE[:16])
    assert layout.parse_answers(key + "x") is None
    found = kept.read(objects, key)
    assert found is not None
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_is_not_whole_is_not_there(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    key = write(objects)
    body = objects.get(key)
    for damaged in (b"", body[:-1], body[:50], body[:-3] + b"\1" + body[-2:], body + b"\0"):
        objects.put(key, damaged)
        assert kept.read(objects, key) is None
    objects.delete([key])
    assert kept.read(objects, key) is None
    assert kept.header(objects, key) == {}
    write(objects)
    assert kept.read(objects, key) is not None


def test_the_header_says_which_models_pairs_are_of(tmp_path: Path) -> None:
    objects = Folder(tmp_path)
    models = [f"{number:016x}" for number in range(6000)]
    for some in (models, models[:2]):
        key = kept.write(
            objects, lambda digest: layout.pairs("val", CONTEXT, digest), ARRAYS, {kept.MODELS: " ".join(some)}
        )
        assert kept.models_of(objects, key) == tuple(some)
    objects.put(key, b"\xff" * 100)
    assert kept.models_of(objects, key) == ()
    assert key in set(kept.stale(objects, "val", models[:2]))
