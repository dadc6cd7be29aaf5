"""Tables that are written as rows come: the same bytes whatever the parts, and read as they were written."""

from __future__ import annotations

import gc
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.store import long_tables
from overlap.store.long_tables import LongTable, Writer

SCHEMA: dict[str, pl.DataType] = {"name": pl.String(), "count": pl.Int64(), "share": pl.Float64()}


def rows(size: int) -> pl.DataFrame:
    columns = {
        "name": [None if place % 5 == 0 else f"m{place % 7}" for place in range(size)],
        "count": [*range(size)],
        "share": [None if place % 3 == 0 else place / 7 for place in range(size)],
    }
    return pl.DataFrame(columns, SCHEMA)


def written(table: pl.DataFrame, edges: list[int]) -> LongTable:
    ends = [0, *sorted(edges), table.height]
    with Writer(SCHEMA) as writer:
        for start, stop in pairwise(ends):
            writer.add(table[start:stop])
    return writer.table


@given(st.integers(0, 60), st.lists(st.integers(0, 60), max_size=6))
@settings(max_examples=40, deadline=None)
def test_no_part_changes_a_byte(size: int, edges: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_tables, "GROUP", 16)
        whole = rows(size)
        found, once = written(whole, [min(edge, size) for edge in edges]), written(whole, [])
        assert found.rows == size
        assert found.read().equals(whole)
        assert found.scan().collect().equals(whole)
        assert found.path.read_bytes() == once.path.read_bytes()
        assert found.digest == once.digest
        about = pq.read_metadata(found.path)
        groups = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        assert groups == [16] * (size // 16) + ([size % 16] if size % 16 else [])


def test_a_table_is_held_while_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    table = written(rows(10), [])
    assert table.is_held
    assert table.frame().equals(rows(10))
    monkeypatch.setattr(long_tables, "HELD", 9)
    assert not table.is_held
    assert table.frame().equals(rows(0))


def test_the_file_goes_with_the_table() -> None:
    table = written(rows(3), [1])
    path = table.path
    assert path.exists()
    del table
    gc.collect()
    assert not path.parent.exists()


def test_other_rows_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other types"), Writer(SCHEMA) as writer:
        writer.add(rows(3).with_columns(pl.col("count").cast(pl.Int32)))
    folder, path = LongTable.place()
    path.write_bytes(b"PAR1 no such thing PAR1")
    with pytest.raises(ValueError, match="no such table"):
        LongTable.at(folder, path)
