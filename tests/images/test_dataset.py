"""A data set: read through once, remembered by the versions of its files, and blocked by what nobody can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overlap.errors import StudyError
from overlap.identity import canonical_json, digest
from overlap.images.dataset import Dataset, load
from overlap.sections import Data
from overlap.store import Location, Objects, open_objects
from tests.images.shards import PNG, samples, write
from tests.web_server import WebServer


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "data" / f"val-{number}.tar", samples([f"s{number}k{place}" for place in range(4)]))
    return tmp_path / "data"


class Reader:
    """A mapper that keeps what was read through."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.files.append(Path(item[0]).name)
            yield function(item)


def data(where: Path | str, **changes: Any) -> Data:
    return Data.model_validate({"shards": str(where), "classes": 10, **changes}, context={"folder": Path("/")})


def read(section: Data, objects: Objects, **options: Any) -> tuple[Dataset, list[str]]:
    """The data set, and which files were read through for it."""
    reader = Reader()
    dataset = load("val", section, objects, mapper=reader, **options)
    return dataset, reader.files


def test_shards_keys_and_labels_in_order(folder: Path, objects: Objects) -> None:
    dataset, files = read(data(folder), objects)
    assert files == ["val-0.tar", "val-1.tar", "val-2.tar"]
    assert dataset.keys == [f"s{number}k{place}" for number in range(3) for place in range(4)]
    assert dataset.labels.tolist() == [0, 1, 2, 3] * 3
    assert dataset.labels.dtype == np.int32
    assert dataset.digest == digest(canonical_json([shard.digest for shard in dataset.shards]))
    assert (dataset.unreadable, dataset.left_out, dataset.classes) == ((), (), 10)
    backwards, _ = read(data(folder, shards=[f"{folder}/val-{number}.tar" for number in (2, 1, 0)]), objects)
    assert backwards.digest != dataset.digest
    assert backwards.shards == dataset.shards[::-1]


def test_nothing_is_read_through_twice(folder: Path, objects: Objects) -> None:
    first, _ = read(data(folder), objects)
    again, files = read(data(folder), objects)
    assert again == first
    assert files == []
    _, files = read(data(folder), objects, verify=True)
    assert files == ["val-0.tar", "val-1.tar", "val-2.tar"]


def test_only_what_is_new_or_changed_is_read_through(folder: Path, objects: Objects) -> None:
    first, _ = read(data(folder), objects)
    was = (folder / "val-1.tar").stat()
    write(folder / "val-1.tar", samples(["s1k0", "s1k1", "s1k2", "s1kX"]))
    os.utime(folder / "val-1.tar", ns=(was.st_mtime_ns, was.st_mtime_ns + 1))
    assert (folder / "val-1.tar").stat().st_size == was.st_size
    write(folder / "val-3.tar", samples(["new"]))
    second, files = read(data(folder), objects)
    assert files == ["val-1.tar", "val-3.tar"]
    assert second.keys == [*first.keys[:7], "s1kX", *first.keys[8:], "new"]
    _, files = read(data(folder, classes=5), objects)
    assert len(files) == 4, "whether labels are classes is looked at again"


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"digest":"x"}\n[]'])
def test_a_damaged_memo_is_read_through_again(damage: bytes, folder: Path, objects: Objects) -> None:
    first, _ = read(data(folder), objects)
    keys = [info.key for info in objects.list("memo/")]
    assert len(keys) == 3
    whole = objects.get(keys[0])
    objects.put(keys[0], damage)
    again, files = read(data(folder), objects)
    assert again == first
    assert len(files) == 1
    objects.put(keys[0], whole.replace(b"k0", b"kO"))  # altered, and still JSON
    again, files = read(data(folder), objects)
    assert again == first
    assert len(files) == 1


def test_what_was_read_is_kept_though_another_shard_cannot_be(folder: Path, objects: Objects) -> None:
    whole = (folder / "val-1.tar").read_bytes()
    (folder / "val-1.tar").write_bytes(whole[:1500])
    dataset, _ = read(data(folder), objects)
    assert [shard.file for shard in dataset.shards] == ["val-0.tar", "val-2.tar"]
    ((file, reason),) = dataset.unreadable
    assert file == "val-1.tar"
    assert f"{folder}/val-1.tar: truncated after 1 files, 1500 bytes" in reason
    _, files = read(data(folder), objects)
    assert files == ["val-1.tar"], "it may have been mended: it is looked at again, alone"
    (folder / "val-1.tar").write_bytes(whole)
    mended, files = read(data(folder), objects)
    assert files == ["val-1.tar"]
    assert mended.unreadable == ()
    assert len(mended.keys) == 12


def test_a_shard_that_is_gone_is_unreadable_and_may_be_left_out(folder: Path, objects: Objects) -> None:
    pattern = f"{folder}/val-{{0..3}}.tar"
    dataset, _ = read(data(pattern), objects)
    ((file, reason),) = dataset.unreadable
    assert file == "val-3.tar"
    assert "No such file or directory; check the path in the study" in reason
    allowed, _ = read(data(pattern, allow_missing_shards=["val-3.tar"]), objects)
    assert (allowed.unreadable, allowed.left_out) == ((), ("val-3.tar",))
    assert allowed.digest == dataset.digest
    less, _ = read(data(pattern, allow_missing_shards=["val-3.tar", "val-0.tar"]), objects)
    assert [shard.file for shard in less.shards] == ["val-1.tar", "val-2.tar"]


def test_a_misspelt_name_of_a_shard_to_leave_out(folder: Path, objects: Objects) -> None:
    with pytest.raises(
        StudyError, match=r"data.val.allow_missing_shards: 'val_1.tar' is none.*did you mean 'val-1.tar'"
    ):
        read(data(f"{folder}/val-{{0..2}}.tar", allow_missing_shards=["val_1.tar"]), objects)
    gone, _ = read(data(folder, allow_missing_shards=["val-9.tar"]), objects)
    assert gone.left_out == ("val-9.tar",), "a folder does not list what it lost, and the report must still say so"


def test_a_key_in_two_shards_is_refused(folder: Path, objects: Objects) -> None:
    write(folder / "val-2.tar", samples(["x", "s0k3"]))
    with pytest.raises(
        StudyError, match=r"^key 's0k3' stands in .*/val-0.tar and in .*/val-2.tar; keys must be unique"
    ):
        read(data(folder), objects)


def test_no_shards_at_all(folder: Path, objects: Objects) -> None:
    with pytest.raises(StudyError, match=r"data 'val' has no shards; check data.val.shards"):
        read(data(f"{folder}/val-0.tar", allow_missing_shards=["val-0.tar"]), objects)


def test_a_smoke_run_reads_no_more_than_it_needs(folder: Path, objects: Objects) -> None:
    dataset, files = read(data(folder), objects, limit=6)
    assert files == ["val-0.tar", "val-1.tar"]
    assert [len(shard) for shard in dataset.shards] == [4, 2]
    assert dataset.keys == ["s0k0", "s0k1", "s0k2", "s0k3", "s1k0", "s1k1"]
    again, files = read(data(folder), objects, limit=6)
    assert (again, files) == (dataset, [])
    whole, files = read(data(folder), objects)
    assert len(files) == 3
    assert whole.digest != dataset.digest
    more, _ = read(data(folder), objects, limit=99)
    assert [shard.digest for shard in more.shards] == [shard.digest for shard in whole.shards]


def test_a_smoke_run_passes_an_unreadable_shard(folder: Path, objects: Objects) -> None:
    (folder / "val-0.tar").write_bytes(b"")
    dataset, files = read(data(folder), objects, limit=3)
    assert files == ["val-0.tar", "val-1.tar"]
    assert [len(shard) for shard in dataset.shards] == [3]
    assert len(dataset.unreadable) == 1


def test_a_web_server_that_tells_no_version_is_read_each_time(folder: Path, objects: Objects) -> None:
    with WebServer(folder).running() as server:
        section = data(f"{server.url}/val-{{0..2}}.tar")
        first, files = read(section, objects)
        assert len(files) == 3
        assert read(section, objects) == (first, [])
        server.faults["/val-1.tar"] = ("no date", -1)
        assert read(section, objects) == (first, ["val-1.tar"])
        assert read(section, objects) == (first, ["val-1.tar"])


def test_multi_label_shards_give_padded_rows(tmp_path: Path, objects: Objects) -> None:
    several = [("a.png", PNG), ("a.cls", b"7 2 5"), ("b.png", PNG), ("b.cls", b"")]
    write(tmp_path / "data" / "v-0.tar", several)
    write(tmp_path / "data" / "v-1.tar", [("c.png", PNG), ("c.cls", b"0")])
    section = data(tmp_path / "data", role="downstream", multi_label=True)
    for files in (["v-0.tar", "v-1.tar"], []):  # read through, then recalled
        dataset, read_through = read(section, objects)
        assert read_through == files
        assert dataset.labels.dtype == np.int32
        assert dataset.labels.tolist() == [[7, 2, 5], [-1, -1, -1], [0, -1, -1]]
    blocked, _ = read(data(tmp_path / "data"), objects)
    assert [file for file, _ in blocked.unreadable] == ["v-0.tar"], "what is recalled of one kind is not of the other"
    write(tmp_path / "none" / "v.tar", several[2:])
    none = data(tmp_path / "none", role="downstream", multi_label=True)
    assert read(none, objects)[0].labels.tolist() == [[-1]]
