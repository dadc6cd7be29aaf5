"""Shards read as WebDataset reads them where they are whole, and refused by name where they are not."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_iterator

from overlap.errors import DataError, StudyError
from overlap.images import shards
from overlap.images.shards import Shard, expand, index, read_samples
from overlap.store import Location, open_objects
from tests.images.shards import PNG, samples, tar_bytes, write
from tests.servers import SeaweedFS
from tests.web_server import WebServer

KEYS = ["a", "b/0001", "c-2", "Ünï cödé", "d_e+f@g"]


def refused(path: Path, data: bytes, classes: int = 10) -> str:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        index(str(path), classes)
    message = str(caught.value)
    assert message.startswith(f"shard {path}: ")
    assert "\n" not in message
    return message


def test_samples_come_in_order_with_key_image_and_label(tmp_path: Path) -> None:
    uri = write(tmp_path / "s.tar", samples(KEYS))
    found = list(read_samples(uri))
    assert [sample.key for sample in found] == KEYS
    assert [sample.label for sample in found] == [0, 1, 2, 3, 4]
    assert [sample.image for sample in found] == [PNG + key.encode() for key in KEYS]
    assert [sample.key for sample in read_samples(uri, limit=2)] == KEYS[:2]
    assert [sample.key for sample in read_samples(uri, limit=9)] == KEYS


def test_the_digest_is_over_keys_and_images_and_not_labels(tmp_path: Path) -> None:
    members = samples(KEYS)
    shard = index(write(tmp_path / "s.tar", members), 10)
    expected = hashlib.sha256()
    for key in KEYS:
        expected.update(key.encode() + b"\0" + hashlib.sha256(PNG + key.encode()).digest())
    assert shard == Shard(str(tmp_path / "s.tar"), expected.hexdigest(), tuple(KEYS), (0, 1, 2, 3, 4))
    assert (shard.name, shard.file, len(shard)) == (shard.digest[:16], "s.tar", 5)
    relabelled = [(name, b"7" if name.endswith(".cls") else body) for name, body in members]
    assert index(write(tmp_path / "r.tar", relabelled), 10).digest == shard.digest
    for other in (
        samples(KEYS[::-1]),
        samples(KEYS[:-1]),
        samples([*KEYS[:-1], "other"]),
        [(name, body + b"x" if name == "a.png" else body) for name, body in members],
    ):
        assert index(write(tmp_path / "o.tar", other), 10).digest != shard.digest


# Not hidden files in folders: to WebDataset these make samples that are called like the folder.
names = st.from_regex(r"(\./)?([a-z]{1,2}/)?[a-zA-Z0-9_-]{0,3}(\.[a-zA-Z.]{0,5})?", fullmatch=True).filter(
    lambda name: (
        not name.endswith("/") and not name.removeprefix("./").startswith(".") and "/." not in name.removeprefix("./")
    )
)


@given(st.lists(names, max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_files_group_into_samples_as_webdataset_has_it(found: list[str], about: bool) -> None:
    members = [(name, name.encode()) for name in found if name]
    if about:
        members = [("__meta__/x.json", b"1"), ("__index__", b"2"), *members]
    data = tar_bytes(members)
    files = ({**one, "__url__": "u"} for one in tar_file_iterator(io.BytesIO(data)))
    try:
        theirs = list(group_by_keys(files))
    except ValueError:
        with pytest.raises(DataError, match="stands there twice"):
            list(shards._samples("u", data))
        return
    ours = [{"__key__": key, "__url__": "u", **fields} for key, fields in shards._samples("u", data)]
    assert ours == theirs


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_every_format_of_tar(format: int, tmp_path: Path) -> None:
    keys = ["x" * 90, "folder/" * 12 + "y", "ü" * 30]
    (tmp_path / "s.tar").write_bytes(tar_bytes(samples(keys), format))
    assert index(str(tmp_path / "s.tar"), 3).keys == tuple(keys)


def test_folders_links_hidden_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("a.link", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
        for name, body in (
            ("._a.png", b"junk"),
            ("README", b"text"),
            ("a.PNG", PNG),
            ("a.cls", b" 3\n"),
            ("a.json", b""),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    (tmp_path / "s.tar").write_bytes(buffer.getvalue())
    assert index(str(tmp_path / "s.tar"), 4).labels == (3,)


WHOLE = tar_bytes(samples(KEYS))
CONTENT = 512 * 4 * len(KEYS)
"""Bytes before the end-of-archive mark: two files a sample, a header and one block each."""


def test_a_shard_cut_anywhere_is_refused(tmp_path: Path) -> None:
    assert len(WHOLE) >= CONTENT + 1024
    said = set()
    for length in [*range(0, CONTENT + 1024, 256), CONTENT + 1, CONTENT + 1023]:
        message = refused(tmp_path / "s.tar", WHOLE[:length])
        assert "copy or pack it again" in message
        said.add(message.split(" after ")[0].rpartition(": ")[2])
    assert said == {"truncated", "unreadable"}
    (tmp_path / "s.tar").write_bytes(WHOLE[: CONTENT + 1024])
    assert len(index(str(tmp_path / "s.tar"), 5)) == len(KEYS)


@pytest.mark.parametrize("sample", range(1, len(KEYS)))
@pytest.mark.parametrize("damage", [b"\0" * 512, b"\0" * 1024, b"\xff" * 512, b"x" * 100])
def test_a_header_damaged_in_the_middle_is_no_end(sample: int, damage: bytes, tmp_path: Path) -> None:
    """`tarfile` itself stops there without a word, and the shard would be shorter."""
    start = 512 * 4 * sample
    spoilt = WHOLE[:start] + damage + WHOLE[start + len(damage) :]
    with tarfile.open(fileobj=io.BytesIO(spoilt)) as archive:
        assert len(archive.getmembers()) == 2 * sample
    assert f"damaged at byte {start}, after {2 * sample} files" in refused(tmp_path / "s.tar", spoilt)


def test_what_is_no_tar_file(tmp_path: Path) -> None:
    for data in (b"", b"<!doctype html>" * 100, b"\x1f\x8b" + bytes(3000), bytes(100)):
        assert "copy or pack it again" in refused(tmp_path / "s.tar", data)
    assert "holds no samples; remove it or pack it again" in refused(tmp_path / "s.tar", bytes(10240))
    assert "holds no samples" in refused(tmp_path / "s.tar", tar_bytes([("README", b"x")]))
    assert "damaged at byte" in refused(tmp_path / "s.tar", WHOLE + WHOLE), "two archives in one file"


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.png", PNG)], "sample 'a' has no label (a .cls file)"),
        ([("a.cls", b"1")], "sample 'a' has no image (jpg, jpeg or png)"),
        ([("a.webp", PNG), ("a.cls", b"1")], "sample 'a' has no image (jpg, jpeg or png)"),
        ([("a.png", PNG), ("a.cls", b"cat")], "sample 'a' has label b'cat', not a class number"),
        ([("a.png", PNG), ("a.cls", b"")], "sample 'a' has label b'', not a class number"),
        ([("a.png", PNG), ("a.cls", b"10")], "sample 'a' has label 10, outside 0..9; mend the .cls file or `classes`"),
        ([("a.png", PNG), ("a.cls", b"-1")], "sample 'a' has label -1, outside 0..9"),
        ([*samples(["a", "b"]), ("a.png", PNG), ("a.cls", b"1")], "key 'a' stands there twice; keys must be unique"),
        ([("a.png", PNG), ("a.PNG", PNG), ("a.cls", b"1")], "'a.PNG' stands there twice"),
        ([("a.png", PNG), ("b.png", PNG), ("a.cls", b"1"), ("b.cls", b"1")], "sample 'a' has no label"),
        (samples(["a\nb"]), r"key 'a\nb' is no printable text; rename the sample"),
    ],
)
def test_samples_that_are_none_are_named(members: list[tuple[str, bytes]], said: str, tmp_path: Path) -> None:
    assert said in refused(tmp_path / "s.tar", tar_bytes(members))


SEVERAL = [("a.png", PNG), ("a.cls", b"7 2  7\n"), ("b.png", PNG), ("b.cls", b""), ("c.png", PNG), ("c.cls", b"0")]


def test_several_classes_or_none_where_the_study_says_so(tmp_path: Path) -> None:
    uri = write(tmp_path / "s.tar", SEVERAL)
    found = index(uri, 8, multi_label=True)
    assert found.labels == ((7, 2), (), (0,))
    one = write(tmp_path / "t.tar", [("a.png", PNG), ("a.cls", b"7"), *SEVERAL[2:4], *SEVERAL[4:]])
    assert index(one, 8, multi_label=True).digest == found.digest, "labels are not in it"
    message = refused(tmp_path / "s.tar", tar_bytes(SEVERAL))
    assert "sample 'a' has label b'7 2', not a class number; several or none need multi_label = true" in message
    with pytest.raises(DataError, match=r"sample 'a' has label 7, outside 0\.\.6"):
        index(uri, 7, multi_label=True)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    data = tar_bytes(samples(["aXb"])).replace(b"aXb.", b"a\xffb.")
    fixed = bytearray(data)
    for start in (0, 1024):  # checksums of the headers that were changed
        header = fixed[start : start + 512]
        header[148:156] = b" " * 8
        fixed[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    assert "is no printable text" in refused(tmp_path / "s.tar", bytes(fixed))


def test_a_shard_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^{tmp_path}/gone.tar: No such file or directory; check the path"):
        index(str(tmp_path / "gone.tar"), 3)


def test_braces_and_folders_expand(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert expand([f"{tmp_path}/x-{{000..002}}.tar"]) == [f"{tmp_path}/x-00{number}.tar" for number in range(3)]
    assert expand([str(tmp_path), f"{tmp_path}/c.tar"]) == [f"{tmp_path}/{name}.tar" for name in "abc"]
    assert expand(["https://h/{a,b}.tar"]) == ["https://h/a.tar", "https://h/b.tar"]
    with pytest.raises(StudyError, match=r"no .tar files there; .*`overlap shards`"):
        expand([str(tmp_path / "empty")])
    with pytest.raises(StudyError, match=r"no .tar files there; name a folder of them .on a web server, each"):
        expand(["https://h/folder/"])
    with pytest.raises(StudyError, match=r"a brace is not closed; write NAME-\{000..009\}.tar"):
        expand([f"{tmp_path}/x-{{000..002.tar"])


def test_shards_on_a_web_server(tmp_path: Path) -> None:
    write(tmp_path / "www" / "s.tar", samples(KEYS))
    local = index(str(tmp_path / "www" / "s.tar"), 10)
    with WebServer(tmp_path / "www").running() as server:
        found = index(f"{server.url}/s.tar", 10)
        assert (found.digest, found.keys, found.labels, found.file) == (local.digest, local.keys, local.labels, "s.tar")
        server.faults["/s.tar"] = ("cut", -1)
        with pytest.raises(DataError, match=r"http://.*/s.tar: \d+ of \d+ bytes came; the server cut the transfer"):
            index(f"{server.url}/s.tar", 10)


def test_shards_in_a_bucket(s3_server: SeaweedFS) -> None:
    name = s3_server.create_bucket("shards-here")
    bucket = open_objects(Location(f"s3://{name}", s3_server.endpoint_url))
    for key in ("b.tar", "in/a#1.tar", "in/deeper/c.tar", "in/notes.txt", "inside.tar"):
        bucket.put(key, WHOLE)
    endpoint = s3_server.endpoint_url
    inside = [f"s3://{name}/in/a#1.tar", f"s3://{name}/in/deeper/c.tar"]
    assert expand([f"s3://{name}/in"], endpoint) == expand([f"s3://{name}/in/"], endpoint) == inside
    everything = [f"s3://{name}/b.tar", *inside, f"s3://{name}/inside.tar"]
    assert expand([f"s3://{name}"], endpoint) == expand([f"s3://{name}/"], endpoint) == everything
    for uri in everything:
        assert index(uri, 10, endpoint).keys == tuple(KEYS)
    with pytest.raises(DataError, match=rf"^s3://{name}/gone.tar: no such object; check bucket and key"):
        index(f"s3://{name}/gone.tar", 10, endpoint)
