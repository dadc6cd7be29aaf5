"""Files on a real web server: looked at, read whole, and what is said where it does not give them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlap import files, web
from overlap.errors import DataError
from tests.web_server import WebServer

BODY = bytes(range(256)) * 9000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a.tar").write_bytes(BODY)
    with WebServer(folder).running() as running:
        yield running


def test_a_look_costs_one_request_and_tells_versions_apart(server: WebServer, tmp_path: Path) -> None:
    import os

    uri = f"{server.url}/a.tar"
    first = files.version(uri)
    assert first.size == len(BODY)
    assert first.tag
    assert files.version(uri) == first
    assert set(server.asked) == {("HEAD", "/a.tar")}
    os.utime(tmp_path / "www" / "a.tar", (10**9, 10**9))
    assert files.version(uri) != first


def test_an_etag_goes_before_the_date(server: WebServer) -> None:
    server.faults["/a.tar"] = ("etag", -1)
    assert files.version(f"{server.url}/a.tar").tag == '"fixed"'


def test_a_server_that_tells_nothing_is_looked_at_anew_each_time(server: WebServer) -> None:
    server.faults["/a.tar"] = ("no date", -1)
    assert files.version(f"{server.url}/a.tar") != files.version(f"{server.url}/a.tar")


def test_a_server_without_head_is_asked_otherwise(server: WebServer) -> None:
    server.faults["/a.tar"] = ("no HEAD", -1)
    assert files.version(f"{server.url}/a.tar").size == len(BODY)
    assert server.asked["GET", "/a.tar"] == 1


def test_bytes_come_whole_into_memory_and_onto_the_disk(server: WebServer, tmp_path: Path) -> None:
    assert files.read(f"{server.url}/a.tar") == BODY
    files.copy_to(f"{server.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY


@pytest.mark.parametrize("fault", ["cut", "busy"])
def test_what_goes_wrong_once_is_tried_again(fault: str, server: WebServer, tmp_path: Path) -> None:
    server.faults["/a.tar"] = (fault, 1)
    assert files.read(f"{server.url}/a.tar") == BODY
    server.faults["/a.tar"] = (fault, 1)
    files.copy_to(f"{server.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    assert server.asked["GET", "/a.tar"] == 4


def test_a_transfer_that_is_always_cut_is_an_error(server: WebServer, tmp_path: Path) -> None:
    uri = f"{server.url}/a.tar"
    server.faults["/a.tar"] = ("cut", -1)
    said = rf"^{uri}: \d+ of {len(BODY)} bytes came; the server cut the transfer, run again$"
    with pytest.raises(DataError, match=said):
        files.read(uri)
    with pytest.raises(DataError, match=said):
        files.copy_to(uri, tmp_path / "copy")
    assert server.asked["GET", "/a.tar"] == 2 * web.ATTEMPTS


def test_what_is_not_there_is_named(server: WebServer) -> None:
    uri = f"{server.url}/gone.tar"
    for ask in (files.version, files.read):
        with pytest.raises(DataError, match=rf"^{uri}: the server says 404 File not found; check the address$"):
            ask(uri)
    assert server.asked["GET", "/gone.tar"] == 1


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for ask in (files.version, files.read):
        with pytest.raises(DataError, match=rf"^http://127.0.0.1:{port}/a.tar: ConnectionError: .*check the address"):
            ask(f"http://127.0.0.1:{port}/a.tar")


def test_local_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=rf"^{path}: {reason}.*; check the path in the study$"):
            files.read(str(path))
    with pytest.raises(DataError, match=r"gone: No such file.*; check the path and the space left"):
        files.copy_to(str(tmp_path / "gone"), tmp_path / "copy")


@pytest.fixture
def in_parts(tmp_path: Path) -> Iterator[WebServer]:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.tar").write_bytes(BODY)
    with WebServer(folder, parts=True).running() as running:
        yield running


def test_a_transfer_goes_on_where_it_was_cut(in_parts: WebServer, tmp_path: Path) -> None:
    in_parts.faults["/a.tar"] = ("cut", 5)  # each time half of the rest comes: more cuts than attempts without a gain
    web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    assert in_parts.sent <= len(BODY) + 5 * web.PIECE
    assert in_parts.asked["GET", "/a.tar"] == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "parts"]


def test_another_run_goes_on_too(in_parts: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    in_parts.faults["/a.tar"] = ("cut", 1)
    with pytest.raises(DataError, match=rf"\d+ of {len(BODY)} bytes came"):
        web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    came = (tmp_path / "copy.part").read_bytes()
    assert len(came) > len(BODY) // 2 - web.PIECE
    assert came == BODY[: len(came)]
    assert not (tmp_path / "copy").exists()
    web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    assert in_parts.sent <= len(BODY) + web.PIECE


@pytest.mark.parametrize("size", [len(BODY), len(BODY) // 4])
def test_two_versions_are_never_mixed(
    size: int, in_parts: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = BODY[::-1][:size]
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    in_parts.faults["/a.tar"] = ("cut", 1)
    with pytest.raises(DataError):
        web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    (in_parts.folder / "a.tar").write_bytes(other)
    web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == other


def test_what_was_left_of_something_else_is_not_gone_on_with(in_parts: WebServer, tmp_path: Path) -> None:
    (tmp_path / "copy.part").write_bytes(b"x" * 100)
    web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
    (tmp_path / "copy.part").write_bytes(BODY + b"x")
    (tmp_path / "copy.part.json").write_text(f'{{"uri": "{in_parts.url}/a.tar", "validator": "other"}}')
    web.fetch(f"{in_parts.url}/a.tar", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == BODY
