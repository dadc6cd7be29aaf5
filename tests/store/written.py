"""What is written beside a table, as another reader of Parquet sees it."""

from __future__ import annotations

import io

import polars as pl


def written_beside(data: bytes) -> dict[str, str]:
    """The metadata of a file, without what Arrow keeps there."""
    return {name: text for name, text in pl.read_parquet_metadata(io.BytesIO(data)).items() if name != "ARROW:schema"}
