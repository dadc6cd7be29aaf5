"""Certified logits by image: the same rows as reading everything and choosing, in pieces that keep within memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.errors import DamagedObject
from overlap.identity import digest
from overlap.store.folder import Folder
from overlap.store.ledger import Ledger, Record
from overlap.store.location import Location
from overlap.store.tables import from_logits
from workflows.reductions import reader as readers
from workflows.reductions.reader import Reader

LENGTHS = [5, 1, 7, 3]
STARTS = np.cumsum([0, *LENGTHS]).astype(np.int64)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], np.ndarray]:
    folder = tmp_path_factory.mktemp("reader")
    ledger = Ledger(Folder(folder), "val")
    logits = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float16)
    records = [
        ledger.certify(
            "f" * 32,
            digest(f"shard {place}".encode()),
            from_logits([f"k{image}" for image in range(start, stop)], logits[start:stop]),
            seconds=1,
            provenance={},
        )
        for place, (start, stop) in enumerate(pairwise(STARTS.tolist()))
    ]
    return folder, records, logits


def reader(folder: Path, places: np.ndarray) -> Reader:
    return Reader(Location(str(folder)), "val", STARTS, places)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_images_in_any_pieces(held: tuple[Path, list[Record], np.ndarray], data: st.DataObject) -> None:
    folder, records, logits = held
    places = np.array(sorted(data.draw(st.sets(st.integers(0, 15), min_size=1))), np.int64)
    images = np.array(sorted(data.draw(st.sets(st.integers(0, len(places) - 1), min_size=1))), np.int64)
    source = reader(folder, places)
    np.testing.assert_array_equal(source.read(records, images), logits[places[images]])
    parts = list(source.shard_by_shard(records))
    assert [image for some, _ in parts for image in range(some.start, some.stop)] == list(range(len(places)))
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), logits[places])


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_blocks_cover_all_images_each_within_one_shard(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BLOCK_BYTES", limit * 2 * 4 * 6)
    places = np.array([0, 1, 2, 4, 6, 7, 8, 9, 10, 11, 12, 15], np.int64)
    blocks = Reader(Location("unused"), "val", STARTS, places).blocks(4, 6)
    assert [image for block in blocks for image in range(block.start, block.stop)] == list(range(len(places)))
    for block in blocks:
        assert block.stop - block.start <= limit
        of_shard = {
            int(np.searchsorted(STARTS, places[image], side="right")) for image in range(block.start, block.stop)
        }
        assert len(of_shard) == 1


def test_a_damaged_object_is_named(held: tuple[Path, list[Record], np.ndarray]) -> None:
    folder, records, _ = held
    path = folder / records[2].object
    before = path.read_bytes()
    path.write_bytes(before[:-1])
    try:
        source = reader(folder, np.arange(16))
        assert source.read(records, slice(0, 6)).shape == (6, 6), "other shards are not looked at"
        with pytest.raises(DamagedObject, match=records[2].object):
            source.read(records, slice(5, 8))
    finally:
        path.write_bytes(before)
