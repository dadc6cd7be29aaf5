"""What only S3 can meet: lost and broken answers, refusals, silence, multipart uploads."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from overlap.errors import ObjectMissing, StoreError
from overlap.store import Location, Objects, check, open_objects
from overlap.store.s3 import Bucket
from overlap.store.s3_multipart import PART, part_size
from tests.servers import SeaweedFS
from tests.store.proxy import BUSY, CONFLICT, CUT, DROP, LENIENT, Proxy, Request

MIB = 1 << 20
Behind = tuple[Proxy, Callable[[], Objects]]


def test_a_lost_answer_is_told_from_a_lost_race(proxied: Behind) -> None:
    proxy, store = proxied
    objects = store()
    proxy.once(DROP, lambda request: request.conditional)
    assert objects.put_if_absent("record", b"ours") is True
    assert sum(request.conditional for request in proxy.seen) == 2, "it was repeated, and refused"
    proxy.once(DROP, lambda request: request.conditional)
    assert objects.put_if_absent("record", b"theirs") is False
    proxy.once(DROP, lambda request: request.conditional)
    assert objects.put_if_absent("record", b"ours") is False, "equal bytes of another writer are a lost race"
    assert objects.get("record") == b"ours"


def test_a_completion_whose_answer_was_lost_counts(proxied: Behind) -> None:
    proxy, store = proxied
    objects = store()
    proxy.once(DROP, lambda request: request.completes)
    objects.put("large", b"2" * (32 * MIB))
    assert sum(request.completes for request in proxy.seen) == 2, "it was repeated, and the upload was gone"
    assert objects.get("large") == b"2" * (32 * MIB)
    assert objects.sweep(-3600) == 0


def test_a_conditional_put_that_meets_another_in_flight_is_repeated(proxied: Behind) -> None:
    proxy, store = proxied
    proxy.once(CONFLICT, lambda request: request.conditional)
    assert store().put_if_absent("record", b"ours") is True
    proxy.fault = lambda request: CONFLICT if request.conditional else None
    with pytest.raises(StoreError, match="ConditionalRequestConflict"):
        store().put_if_absent("other", b"ours")


def test_a_busy_server_is_asked_again(proxied: Behind) -> None:
    proxy, store = proxied
    proxy.once(BUSY, lambda request: request.method == "PUT")
    store().put("a", b"1")
    proxy.once(BUSY, lambda request: request.method == "GET" and "list-type" not in request.path)
    assert store().get("a") == b"1"


def test_a_broken_off_answer_is_read_again(proxied: Behind, tmp_path: Path) -> None:
    proxy, store = proxied
    objects = store()
    body = random.Random(0).randbytes(40 * MIB)
    objects.put("a", body)
    proxy.once(CUT, lambda request: request.method == "GET")
    assert objects.get("a") == body
    proxy.once(CUT, lambda request: request.method == "GET")
    objects.get_file("a", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == body


def test_an_answer_that_always_breaks_off_is_an_error(proxied: Behind, tmp_path: Path) -> None:
    proxy, store = proxied
    objects = store()
    objects.put("a", b"1" * 1000)
    proxy.fault = lambda request: CUT if request.method == "GET" and "list-type" not in request.path else None
    with pytest.raises(StoreError, match=r"/a: .*127\.0\.0\.1"):
        objects.get("a")
    with pytest.raises(StoreError, match=r"/a: .*127\.0\.0\.1"):
        objects.get_file("a", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _part(number: int) -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and f"partNumber={number}&" in request.path + "&"


def test_a_failed_multipart_upload_is_aborted(proxied: Behind) -> None:
    proxy, store = proxied
    objects = store()
    large = b"1" * (40 * MIB)
    proxy.fault = lambda request: CONFLICT if _part(2)(request) else None
    with pytest.raises(StoreError, match="/large: UploadPart failed"):
        objects.put("large", large)
    proxy.fault = lambda request: None
    assert objects.head("large") is None
    assert objects.sweep(-3600) == 0
    assert list(objects.list("")) == []


def test_a_part_whose_answer_was_lost_is_sent_again(proxied: Behind) -> None:
    proxy, store = proxied
    proxy.once(DROP, _part(2))
    large = random.Random(0).randbytes(40 * MIB)
    store().put("large", large)
    assert store().get("large") == large


def test_what_killed_uploads_left_is_swept(s3_server: SeaweedFS, s3_location: Location) -> None:
    bucket, client = Bucket(s3_location.bucket, s3_location.prefix, s3_location.endpoint_url), s3_server.client()
    left = client.create_multipart_upload(Bucket=bucket.bucket, Key=f"{bucket.prefix}/weights/a")
    client.upload_part(
        Bucket=bucket.bucket, Key=left["Key"], UploadId=left["UploadId"], PartNumber=1, Body=b"1" * (5 * MIB)
    )
    assert list(bucket.list("")) == []
    assert bucket.sweep(3600) == 0, "a young one may be in use"
    assert bucket.sweep(-3600) == 1
    assert bucket.sweep(-3600) == 0


def test_a_file_that_is_replaced_while_it_is_read_is_never_mixed(proxied: Behind, tmp_path: Path) -> None:
    proxy, store = proxied
    objects = store()
    objects.put("large", b"1" * (40 * MIB))
    replaced = []

    def replace(request: Request) -> None:
        if request.method == "GET" and not replaced:
            replaced.append(True)
            objects.put("large", b"2" * (40 * MIB))

    proxy.fault = replace
    with pytest.raises(StoreError, match="PreconditionFailed"):
        objects.get_file("large", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_parts_fit_s3s_limits() -> None:
    for size in (1, PART, 10_000 * PART, 10_000 * PART + 1, 200 << 30, 5 << 40):
        step = part_size(size)
        assert step % MIB == 0
        assert PART <= step <= 5 << 30
        assert -(-size // step) <= 10_000


def test_a_wrong_secret_is_refused_by_name(s3_location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    open_objects(s3_location).put("a", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-word")
    objects = open_objects(s3_location)
    for ask in (lambda: objects.get("a"), lambda: objects.put("a", b"2"), lambda: check(objects)):
        with pytest.raises(StoreError, match=r"refused.*AWS_SECRET_ACCESS_KEY") as caught:
            ask()
        assert not isinstance(caught.value, ObjectMissing)
        assert "wrong-secret-word" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_who_may_only_read_objects_reads_them(
    s3_server: SeaweedFS, s3_location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_objects(s3_location).put("shard.tar", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.reader_key)
    objects = open_objects(s3_location)
    assert objects.get("shard.tar") == b"1"
    for ask in (lambda: objects.put("a", b"1"), lambda: list(objects.list("")), lambda: check(objects)):
        with pytest.raises(StoreError, match=r"refused.*AccessDenied"):
            ask()


def test_no_credentials_are_asked_for(s3_location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no usable credentials; set AWS_ACCESS_KEY_ID"):
        open_objects(s3_location).get("a")


def test_a_missing_bucket_is_named(s3_server: SeaweedFS) -> None:
    with pytest.raises(StoreError, match="s3://no-such-bucket: no such bucket") as caught:
        open_objects(Location("s3://no-such-bucket/x", s3_server.endpoint_url)).get("a")
    assert not isinstance(caught.value, ObjectMissing)


def test_an_unreachable_endpoint_is_named_quickly(s3_server: SeaweedFS) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"  # bound, and nobody listens: refused
        start = time.monotonic()
        with pytest.raises(StoreError, match=f"s3://some-bucket: cannot reach the store at {endpoint}"):
            open_objects(Location("s3://some-bucket", endpoint)).get("a")
        assert time.monotonic() - start < 10


def test_a_silent_endpoint_is_given_up(s3_server: SeaweedFS) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)  # the kernel takes connections, and nobody ever answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(StoreError, match="cannot reach the store"):
            open_objects(Location("s3://some-bucket", endpoint)).get("a")
        assert time.monotonic() - start < 30


def test_a_server_that_ignores_conditions_is_refused(proxied: Behind) -> None:
    proxy, store = proxied
    proxy.fault = lambda request: LENIENT if request.conditional else None
    with pytest.raises(StoreError, match="ignores If-None-Match"):
        check(store())
    assert list(store().list("")) == []


def test_one_connection_is_kept_for_many_requests(proxied: Behind) -> None:
    _, store = proxied
    first, second = store(), store()
    assert isinstance(first, Bucket)
    assert isinstance(second, Bucket)
    with first._named("a") as (one, _), second._named("b") as (other, _):
        assert one is other


FORKED = """
import os, sys
from overlap.store import Location, open_objects
objects = open_objects(Location(sys.argv[1], sys.argv[2]))
objects.put("parent", b"1")
child = os.fork()
if child == 0:
    objects.put("child", objects.get("parent"))
    os._exit(0)
assert objects.get("parent") == b"1"
assert os.waitpid(child, 0)[1] == 0
print(sorted(info.key for info in objects.list("")))
"""


def test_a_forked_child_has_its_own_connection(s3_location: Location) -> None:
    command = [sys.executable, "-c", FORKED, s3_location.uri, str(s3_location.endpoint_url)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "['child', 'parent']\n"


def test_the_endpoint_and_region_may_come_from_the_environment(
    s3_server: SeaweedFS, s3_location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    objects = open_objects(Location(s3_location.uri))
    objects.put("a", b"1")
    assert objects.get("a") == b"1"


def test_a_bucket_without_a_prefix(s3_server: SeaweedFS) -> None:
    name = s3_server.create_bucket(f"whole-{uuid.uuid4().hex[:8]}")
    objects = open_objects(Location(f"s3://{name}", s3_server.endpoint_url))
    objects.put("records/a.json", b"1")
    assert [info.key for info in objects.list("")] == ["records/a.json"]
    assert objects.sweep(0) == 0


def test_other_prefixes_are_out_of_sight(s3_server: SeaweedFS, s3_location: Location) -> None:
    client = s3_server.client()
    client.put_object(Bucket=s3_location.bucket, Key=f"{s3_location.prefix}-other/a", Body=b"1")
    client.put_object(Bucket=s3_location.bucket, Key=f"{s3_location.prefix}/folder/", Body=b"")
    objects = open_objects(s3_location)
    objects.put("b", b"1")
    assert [info.key for info in objects.list("")] == ["b"]


def test_data_survive_a_crash_of_the_server_and_the_client_its_restart(tmp_path: Path) -> None:
    server = SeaweedFS()
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            server.create_bucket("bucket")
            objects = open_objects(Location("s3://bucket/p", server.endpoint_url))
            objects.put("before", b"1")
            server.kill()
            server.start()
            assert objects.get("before") == b"1"
            assert objects.put_if_absent("after", b"2") is True
    finally:
        server.close()
