"""How fan-outs ran, in a real folder: the newest is found, and one that cannot be read is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlap.store import layout, schedules
from overlap.store.location import Location, open_objects
from overlap.store.objects import Objects

ROW = dict.fromkeys(schedules.COLUMNS) | {"worker": "a/0", "units": 2, "shards": ["x", "y"], "lost": False}


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Location(str(tmp_path / "store"), None))


def test_the_newest_is_found_whatever_the_order_of_writing(objects: Objects) -> None:
    assert schedules.newest("val", objects) is None
    for started in (1_800_000_000.7, 999_999_999.2, 1_700_000_000.0):
        schedules.write("val", started, "ab", schedules.table([ROW | {"started": started}]), objects)
    schedules.write("other", 1_900_000_000.0, "ab", schedules.table([ROW]), objects)
    found = schedules.newest("val", objects)
    assert found is not None
    assert found["started"].to_list() == [1_800_000_000.7]
    assert found["shards"].to_list() == [["x", "y"]]
    assert dict(found.schema) == dict(schedules.COLUMNS)


def test_one_that_cannot_be_read_is_passed_over(objects: Objects) -> None:
    schedules.write("val", 1.0, "ab", schedules.table([ROW]), objects)
    objects.put(layout.schedule("val", 3, "ab"), b"no parquet at all")
    schedules.write("val", 4.0, "ab", schedules.table([ROW]).drop("units"), objects)
    found = schedules.newest("val", objects)
    assert found is not None
    assert found["units"].to_list() == [2]
