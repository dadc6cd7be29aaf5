from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from overlap.errors import DataError, StoreError, StudyError
from overlap.identity import digest_file, digest_keys
from overlap.images.packing import INDEX, Sample, _shard_count, is_packed, pack


def image(seed: int, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=format)
    return buffer.getvalue()


def some(count: int) -> list[Sample]:
    return [Sample(f"image-{number:03d}", image(number), "png", number % 3) for number in range(count)]


def keys_of(paths: list[Path]) -> list[list[str]]:
    found = []
    for path in paths:
        with tarfile.open(path) as tar:
            found.append([name.removesuffix(".cls") for name in tar.getnames() if name.endswith(".cls")])
    return found


def test_webdataset_reads_back_what_was_packed(tmp_path: Path) -> None:
    samples = [*some(20), Sample("folder/photo", image(99, "JPEG"), "jpeg", 2)]
    paths = pack(samples, tmp_path, prefix="train", images_per_shard=6)
    assert [path.name for path in paths] == [f"train-{number:06d}.tar" for number in range(4)]
    read = {}
    for fields in webdataset.WebDataset([str(path) for path in paths], shardshuffle=False):
        extension = next(name for name in fields if name in ("png", "jpeg"))
        read[fields["__key__"]] = (fields[extension], extension, int(fields["cls"]))
    assert read == {sample.key: (sample.image, sample.extension, sample.label) for sample in samples}


def test_the_index_counts_and_certifies(tmp_path: Path) -> None:
    paths = pack(some(20), tmp_path, prefix="val", shards=3, classes=["ant", "bee", "cat"])
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["samples"] == 20
    assert index["classes"] == ["ant", "bee", "cat"]
    assert [row["file"] for row in index["shards"]] == [path.name for path in paths]
    for row, path, keys in zip(index["shards"], paths, keys_of(paths), strict=True):
        assert row["samples"] == len(keys)
        assert row["bytes"] == path.stat().st_size
        assert row["digest"] == digest_file(path)
        assert row["keys_digest"] == digest_keys(keys)
    assert is_packed(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"x")
    assert not is_packed(tmp_path)
    paths[1].unlink()
    assert not is_packed(tmp_path)


def test_equal_samples_give_equal_bytes_in_whatever_order_they_come(tmp_path: Path) -> None:
    samples = some(30)
    first = pack(samples, tmp_path / "a", prefix="x", shards=4)
    second = pack(reversed(samples), tmp_path / "b", prefix="x", shards=4)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    again = pack(samples, tmp_path / "a", prefix="x", shards=4)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in second]
    assert (tmp_path / "a" / INDEX).read_bytes() == (tmp_path / "b" / INDEX).read_bytes()


def test_a_shard_is_a_sample_of_the_whole(tmp_path: Path) -> None:
    one = image(0)
    ordered = [Sample(f"{number:05d}", one, "png", number // 500) for number in range(1000)]
    with tarfile.open(pack(ordered, tmp_path, prefix="x", shards=4)[0]) as tar:
        labels = [int(tar.extractfile(name).read()) for name in tar.getnames() if name.endswith(".cls")]
    assert len(labels) == 250
    assert 95 < sum(labels) < 155, "half of 250, within four standard deviations"


@given(st.integers(1, 500), st.integers(1, 500))
def test_shard_counts(images: int, size: int) -> None:
    count = _shard_count(images, size, None)
    sizes = [images * (number + 1) // count - images * number // count for number in range(count)]
    assert sum(sizes) == images
    assert 1 <= min(sizes) <= max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert count == 1 or (count - 1) * size < images


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (Sample("image-003", image(3), "png", 0), "'image-003'.*also"),
        (Sample("a.b", image(3), "png", 0), "'a.b' cannot be a key"),
        (Sample("two\nlines", image(3), "png", 0), "cannot be a key"),
        (Sample("new", image(3), "webp", 0), "convert"),
        (Sample("new", image(3), "png", -1), "'new'.*label -1"),
        (Sample("new", image(3), "png", 3), "'new'.*label 3"),
        (Sample("new", image(3, "JPEG")[:-200], "jpg", 0), "'new'.*no readable image"),
        (Sample("new", b"", "png", 0), "'new'.*no readable image"),
        (Sample("new", image(3)[:60], "png", 0), "'new'.*no readable image"),
        (Sample("new", Path("/no/such/image.png"), "png", 0), "/no/such/image.png: cannot be read"),
    ],
)
def test_what_cannot_be_packed_is_named_and_nothing_is_left(tmp_path: Path, sample: Sample, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        pack([*some(10), sample], tmp_path, prefix="x", shards=2, classes=["a", "b", "c"])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_what_was_packed_survives_a_failed_packing(tmp_path: Path) -> None:
    paths = pack(some(10), tmp_path, prefix="x", shards=2)
    before = [path.read_bytes() for path in paths]
    with pytest.raises(DataError):
        pack([*some(10), Sample("new", b"nothing", "png", 0)], tmp_path, prefix="x", shards=2)
    assert [path.read_bytes() for path in paths] == before
    assert is_packed(tmp_path)


def test_sizes_that_make_no_sense(tmp_path: Path) -> None:
    for sizes in ({}, {"shards": 2, "images_per_shard": 2}, {"shards": 0}, {"images_per_shard": -1}, {"shards": 11}):
        with pytest.raises(StudyError):
            pack(some(10), tmp_path, prefix="x", **sizes)
    with pytest.raises(DataError, match="no images"):
        pack([], tmp_path, prefix="x", shards=1)
    assert list(tmp_path.iterdir()) == []


def test_shards_of_an_earlier_packing_are_not_mixed_in(tmp_path: Path) -> None:
    pack(some(10), tmp_path, prefix="x", shards=4)
    with pytest.raises(StudyError, match=r"x-000002.tar.*empty folder"):
        pack(some(10), tmp_path, prefix="x", shards=2)
    assert is_packed(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        pack(some(4), tmp_path / "file", prefix="x", shards=1)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    program = f"""
import resource, signal, sys
from pathlib import Path
from overlap.errors import StoreError
from overlap.images.packing import pack
from tests.images.test_packing import some
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    pack(some(40), Path({str(tmp_path)!r}), prefix="x", shards=2)
except StoreError as error:
    sys.exit(0 if "free space" in str(error) else 2)
sys.exit(1)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert list(tmp_path.iterdir()) == []
