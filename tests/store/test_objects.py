"""What every store keeps to: the same tests for a folder and for a bucket on a real S3 server."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from overlap.errors import ObjectMissing, StudyError
from overlap.store import Location, Objects, check, get_many, open_objects

MIB = 1 << 20


def _keys(objects: Objects, prefix: str = "") -> list[str]:
    return [info.key for info in objects.list(prefix)]


def test_what_is_put_is_got(objects: Objects) -> None:
    every_byte = bytes(range(256)) * 5
    for key, data in {"a": b"", "b/c/d.json": b"{}", "b/e": every_byte, "name with space+plus/ü@1": b"1"}.items():
        objects.put(key, data)
        assert objects.get(key) == data
    objects.put("b/e", b"other")
    assert objects.get("b/e") == b"other"


def test_what_is_not_there_is_missing(objects: Objects, tmp_path: Path) -> None:
    objects.put("folder/there", b"1")
    for key in ["nothing", "folder", "folder/there/below"]:
        with pytest.raises(ObjectMissing, match=key):
            objects.get(key)
        with pytest.raises(ObjectMissing, match=key):
            objects.get_range(key, 0, 1)
        with pytest.raises(ObjectMissing, match=key):
            objects.get_file(key, tmp_path / "out")
        assert objects.head(key) is None
    assert not (tmp_path / "out").exists()
    assert _keys(objects, "nothing") == []
    objects.delete(["nothing", "folder/there"])
    assert _keys(objects) == []


def test_a_range_is_what_there_is_of_it(objects: Objects) -> None:
    objects.put("k", b"0123456789")
    assert objects.get_range("k", 0, 10) == b"0123456789"
    assert objects.get_range("k", 3, 4) == b"3456"
    assert objects.get_range("k", 8, 100) == b"89"
    assert objects.get_range("k", 10, 5) == b""
    assert objects.get_range("k", 4, 0) == b""
    with pytest.raises(ValueError, match="no range"):
        objects.get_range("k", -1, 5)


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/.hidden", "a/./b", "a\nb", "a\\b"])
def test_what_is_no_key_is_refused(objects: Objects, key: str) -> None:
    for write in (objects.put, objects.put_if_absent):
        with pytest.raises(ValueError, match="no key"):
            write(key, b"1")
    with pytest.raises(ValueError, match="no key"):
        objects.delete([key])


def test_a_listing_is_sorted_by_key_and_goes_by_characters(objects: Objects) -> None:
    # As bytes: "-" and "." sort before "/", so that folders and files interleave.
    keys = ["Z", "a-b", "a.txt", "a/x", "a/y/z", "a0", "ab/1", "é/1", "b/c.json", "b/c.1.json"]
    for key in random.Random(1).sample(keys, len(keys)):
        objects.put(key, key.encode())
    assert _keys(objects) == sorted(keys)
    assert _keys(objects, "a") == ["a-b", "a.txt", "a/x", "a/y/z", "a0", "ab/1"]
    assert _keys(objects, "a/") == ["a/x", "a/y/z"]
    assert _keys(objects, "a/y/z") == ["a/y/z"]
    assert _keys(objects, "b/c.") == ["b/c.1.json", "b/c.json"]
    assert _keys(objects, "../") == _keys(objects, "/") == _keys(objects, "a//") == []


def test_a_listing_goes_beyond_one_page(objects: Objects) -> None:
    keys = [f"many/{number % 7}/{number:04d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: objects.put(key, b"x"), keys))
    assert _keys(objects, "many/") == sorted(keys)
    assert list(get_many(objects, keys[:50])) == keys[:50]
    objects.delete(keys[1:])
    assert _keys(objects, "many/") == keys[:1]


def test_a_listing_and_a_head_say_the_same(objects: Objects) -> None:
    before = time.time()
    objects.put("k/a", b"12345")
    (listed,) = objects.list("k/")
    head = objects.head("k/a")
    assert head is not None
    assert (head.key, head.size, head.etag) == (listed.key, listed.size, listed.etag) == ("k/a", 5, listed.etag)
    assert before - 2 < head.modified < time.time() + 2
    objects.put("k/a", b"54321")
    after = objects.head("k/a")
    assert after is not None
    assert after.etag != head.etag


def test_put_if_absent_writes_once(objects: Objects) -> None:
    assert objects.put_if_absent("r/one.json", b"first") is True
    assert objects.put_if_absent("r/one.json", b"second") is False
    assert objects.put_if_absent("r/one.json", b"first") is False, "equal bytes are no reason to have won"
    assert objects.get("r/one.json") == b"first"
    objects.delete(["r/one.json"])
    assert objects.put_if_absent("r/one.json", b"third") is True


@pytest.mark.parametrize("round_", range(5))
def test_of_racing_writers_one_wins(location: Location, round_: int) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        objects = open_objects(location)
        start.wait()
        return objects.put_if_absent("races/record.json", str(number).encode() * 100)

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert open_objects(location).get("races/record.json") == str(won.index(True)).encode() * 100


def _race(location: Location, number: int, start: float) -> bool:
    objects = open_objects(location)
    objects.head("warm")
    time.sleep(max(0.0, start - time.time()))
    return objects.put_if_absent("race", bytes([number]))


def test_of_racing_processes_one_wins(location: Location) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_race, [(location, 0, 0.0)] * 4, chunksize=1)
        open_objects(location).delete(["race"])
        won = pool.starmap(_race, [(location, number, time.time() + 0.5) for number in range(8)], chunksize=1)
    assert sum(won) == 1
    assert open_objects(location).get("race") == bytes([won.index(True)])


@pytest.mark.parametrize("size", [0, 1000, 33 * MIB + 17])
def test_files_go_in_and_out(objects: Objects, tmp_path: Path, size: int) -> None:
    source, out = tmp_path / "source", tmp_path / "new folder" / "out"
    source.write_bytes(random.Random(size).randbytes(size))
    objects.put_file("weights/file", source)
    info = objects.head("weights/file")
    assert info is not None
    assert info.size == size
    objects.get_file("weights/file", out)
    assert out.read_bytes() == source.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing temporary is left"
    assert objects.get_range("weights/file", max(size - 5, 0), 10) == source.read_bytes()[-5:]
    source.write_bytes(b"short")
    objects.put_file("weights/file", source)
    objects.get_file("weights/file", out)
    assert out.read_bytes() == b"short"


def test_large_objects_are_put_if_absent_too(objects: Objects) -> None:
    large = random.Random(0).randbytes(33 * MIB)
    assert objects.put_if_absent("large", large) is True
    assert objects.put_if_absent("large", b"\1" * (33 * MIB)) is False
    assert objects.put_if_absent("large", b"small") is False
    assert objects.get("large") == large
    objects.put("large", b"\2" * (32 * MIB))
    assert objects.get("large") == b"\2" * (32 * MIB)


def test_of_racing_large_writers_one_wins(objects: Objects) -> None:
    start = threading.Barrier(3)

    def write(number: int) -> bool:
        start.wait()
        return objects.put_if_absent("large", bytes([number]) * (32 * MIB))

    with ThreadPoolExecutor(3) as pool:
        won = list(pool.map(write, range(3)))
    assert sum(won) == 1
    assert objects.get("large") == bytes([won.index(True)]) * (32 * MIB)
    assert objects.sweep(-3600) == 0, "losers leave no upload behind"


def test_a_store_survives_pickling(objects: Objects) -> None:
    objects.put("a", b"1")
    again: Objects = pickle.loads(pickle.dumps(objects))
    assert again.get("a") == b"1"
    assert again.uri == objects.uri


def test_get_many_leaves_out_what_is_not_there(objects: Objects) -> None:
    objects.put("a", b"1")
    objects.put("c", b"3")
    assert get_many(objects, ["c", "b", "a"]) == {"c": b"3", "a": b"1"}
    assert get_many(objects, ["b", "a"], threads=1) == {"a": b"1"}
    assert get_many(objects, []) == {}


def test_check_leaves_nothing_behind(objects: Objects) -> None:
    check(objects)
    assert _keys(objects) == []


def test_a_location_means_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location("store").uri == str(tmp_path / "store")
    assert Location(f"file://{tmp_path}/store") == Location("store")
    assert pickle.loads(pickle.dumps(Location("store"))) == Location("store")
    bucket = Location("s3://some-bucket/a/b/", "http://127.0.0.1:9000")
    assert (bucket.is_bucket, bucket.bucket, bucket.prefix) == (True, "some-bucket", "a/b")
    assert open_objects(bucket).uri == "s3://some-bucket/a/b", "opening asks nobody"


@pytest.mark.parametrize(
    ("uri", "endpoint_url", "said"),
    [
        ("gs://bucket/x", None, "gs:// is unknown"),
        ("http://bucket/x", None, "http:// is unknown"),
        ("s3://Up/x", None, "no bucket name"),
        ("s3://", None, "no bucket name"),
        ("s3://bucket", "127.0.0.1:9000", "use http"),
        ("s3://bucket", "http://user:secret-word@host:9000", "carries credentials"),
    ],
)
def test_a_wrong_location_is_named(uri: str, endpoint_url: str | None, said: str) -> None:
    with pytest.raises(StudyError, match=said) as caught:
        Location(uri, endpoint_url)
    assert "secret-word" not in str(caught.value)


IMPORTED = """
import sys
import overlap.store, overlap.store.folder, overlap.store.layout, overlap.store.records
print(sorted({"boto3", "botocore", "pyarrow", "numpy", "torch", "ray", "mlflow"} & set(sys.modules)))
import overlap.store.ledger, overlap.store.s3
print(sorted({"torch", "ray", "mlflow"} & set(sys.modules)))
"""


def test_importing_the_store_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
