from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overlap.store import Location, Objects, open_objects
from tests.servers import SeaweedFS
from tests.store.proxy import Proxy

BUCKET = "overlap-tests"


@pytest.fixture(scope="session")
def bucket(s3_server: SeaweedFS) -> str:
    return s3_server.create_bucket(BUCKET)


@pytest.fixture
def s3_location(s3_server: SeaweedFS, bucket: str) -> Location:
    return Location(f"s3://{bucket}/{uuid.uuid4().hex[:12]}", s3_server.endpoint_url)


@pytest.fixture(params=["folder", "bucket"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A store that nobody has used: a folder, then a bucket on a real server."""
    if request.param == "folder":
        return Location(str(tmp_path / "store"))
    found: Location = request.getfixturevalue("s3_location")
    return found


@pytest.fixture
def objects(location: Location) -> Objects:
    return open_objects(location)


@pytest.fixture
def proxied(s3_server: SeaweedFS, s3_location: Location) -> Iterator[tuple[Proxy, Callable[[], Objects]]]:
    """A proxy that can spoil answers of the real server, and a store behind it."""
    with Proxy(s3_server.endpoint_url) as proxy:
        yield proxy, lambda: open_objects(Location(s3_location.uri, proxy.endpoint_url))
