"""Which images a page shows small: those that drive the inconsistency of most pairs, as many as there is room for."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import polars as pl

from overlap.report.results import Results

MOST = 600
"""Images of a page."""
MOST_BYTES = 1_500_000
"""Bytes of all its JPEGs together."""
SIDE = 96
"""Longest side in pixels that a page has use for."""


def wanted(driving: pl.DataFrame, most: int = MOST) -> list[str]:
    """Keys of the images worth a thumbnail, the one that drives most pairs first; ties in the order of keys.

    Every pair's foremost image comes before any pair's second where that leaves a choice.

    Args:
        driving: `driving.parquet`; may have no columns.
        most: how many.
    """
    if driving.is_empty():
        return []
    weight = (1.0 / pl.col("rank").cast(pl.Float64)).sum().round(9)
    ranked = driving.group_by("key").agg(weight.alias("weight")).sort(["weight", "key"], descending=[True, False])
    return [str(key) for key in ranked["key"].head(most)]


def carried(results: Results) -> Mapping[str, str]:
    """JPEGs in base64 by key, of `wanted`, until the page has no more room."""
    room, found = MOST_BYTES, {}
    for key in wanted(results.table("driving")):
        jpeg = results.thumbnails.get(key)
        if jpeg and len(jpeg) <= room:
            found[key] = base64.b64encode(jpeg).decode()
            room -= len(jpeg)
    return found
