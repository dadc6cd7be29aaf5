from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from overlap.errors import DataError, StudyError
from overlap.images.packing import pack
from overlap.images.parquet import from_parquet, parquet_files
from overlap.images.shards import read_samples
from overlap.images.sources import opened
from tests.images.imagenet_files import hub_parquet, jpeg
from tests.images.test_packing import image


def row(number: int, path: str | None, label: int | None = 0, body: bytes | None = None) -> dict[str, Any]:
    return {"image": {"bytes": jpeg(number) if body is None else body, "path": path}, "label": label}


def test_rows_become_samples_with_the_hubs_class_names(tmp_path: Path) -> None:
    rows = [row(0, "a/one.JPEG", 1), row(1, "b/two.v2.png", 0, image(1)), row(2, None, 1), row(3, "b/one.JPEG", 2)]
    hub_parquet(tmp_path / "train.parquet", rows, ["cat", "dog", "eel"])
    with opened(tmp_path / "train.parquet", tmp_path / "out") as found:
        assert found.classes == ("cat", "dog", "eel")
        assert [(sample.key, sample.extension, sample.label) for sample in found.samples] == [
            ("a_one", "jpeg", 1),
            ("two_v2", "png", 0),
            ("train-00000002", "jpg", 1),
            ("b_one", "jpeg", 2),
        ]
        assert [sample.read() for sample in found.samples] == [jpeg(0), image(1), jpeg(2), jpeg(3)]
        (path,) = pack(found.samples, tmp_path / "out", prefix="x", shards=1, classes=found.classes)
    assert {sample.key: sample.image for sample in read_samples(str(path))}["b_one"] == jpeg(3)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["shards-index.json", "x-000000.tar"]
    assert json.loads((tmp_path / "out" / "shards-index.json").read_text())["classes"] == ["cat", "dog", "eel"]


def test_which_files_a_source_means(tmp_path: Path) -> None:
    names = ["data/test-00000-of-00001.parquet", "data/train-00000-of-00002-a1b2.parquet"]
    names += ["data/train-00001-of-00002-c3d4.parquet"]
    for name in names:
        hub_parquet(tmp_path / name, [row(0, "a.jpg")])
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    assert parquet_files(tmp_path, "train") == [tmp_path / name for name in names[1:]]
    assert parquet_files(tmp_path / names[0]) == [tmp_path / names[0]]
    assert parquet_files(tmp_path / "pictures") == []
    for split, said in (
        (None, "splits test, train; choose"),
        ("val", "no Parquet of a split 'val'; known: test, train"),
    ):
        with pytest.raises(StudyError, match=said):
            parquet_files(tmp_path, split)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row(9, "x.jpg", None), "row 6: no label"),
        (row(9, "x.jpg", 0, b""), "row 6: no image"),
        ({"image": None, "label": 1}, "row 6: no image"),
        (row(9, "x.jpg", 0, b"RIFF....WEBP"), "row 6: .*neither JPEG nor PNG"),
    ],
)
def test_rows_that_cannot_be_packed_are_named(tmp_path: Path, bad: dict[str, Any], said: str) -> None:
    path = hub_parquet(tmp_path / "x.parquet", [*(row(number, f"{number}.jpg") for number in range(6)), bad])
    with tempfile.TemporaryFile() as spool, pytest.raises(DataError, match=said):
        from_parquet([path], spool)


def test_files_that_are_no_such_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(StudyError, match="cannot be read as Parquet"):
        from_parquet([path], io.BytesIO())
    pq.write_table(pa.table({"img": [b"x"], "label": [1]}), path)
    with pytest.raises(StudyError, match=r"columns image .*img: binary"):
        from_parquet([path], io.BytesIO())


def test_memory_holds_no_images(tmp_path: Path) -> None:
    """64 MB of images under a limit of what the process holds before and 40 MB."""
    import numpy as np

    noise = np.random.default_rng(0)
    heavy = [row(0, f"{n}.png", 0, image(n) + noise.bytes(1 << 20)) for n in range(64)]
    for part in range(4):
        hub_parquet(tmp_path / f"part-{part:05d}-of-00004.parquet", heavy[part * 16 : part * 16 + 16])
    program = f"""
import resource, sys
from pathlib import Path
import pyarrow.parquet, PIL.Image
from overlap.images.packing import pack
from overlap.images.sources import opened
import pyarrow as pa
pa.set_memory_pool(pa.system_memory_pool())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with opened(Path({str(tmp_path)!r}), Path({str(tmp_path / "out")!r})) as found:
    pack(found.samples, Path({str(tmp_path / "out")!r}), prefix="x", shards=4)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 45, "megabytes above the start; all images together are 64"
