"""Which images a page shows small: those that divide the zoo, and those that drive most pairs, while there is room."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import polars as pl

from overlap.report.results import Results

MOST = 600
"""Images of a page."""
MOST_BYTES = 1_500_000
"""Bytes of all its JPEGs together."""
GALLERY = 24
"""Images that divide the zoo which the page shows at once."""
SIDE = 96
"""Longest side in pixels that a page has use for."""


def wanted(driving: pl.DataFrame, divisive: pl.DataFrame | None = None, most: int = MOST) -> list[str]:
    """Keys of the images worth a thumbnail, in the order of their worth; ties in the order of keys.

    Images that divide the zoo come first, as the page shows them all; then those that drive most pairs, a pair's
    foremost image weighing more than its second.

    Args:
        driving: `driving.parquet`; may have no columns.
        divisive: `divisive.parquet`; may have no columns.
        most: how many.
    """
    found = [] if divisive is None or divisive.is_empty() else divisive.sort("rank")["key"].head(GALLERY).to_list()
    if driving.height:
        weight = (1.0 / pl.col("rank").cast(pl.Float64)).sum().round(9)
        ranked = driving.group_by("key").agg(weight.alias("weight")).sort(["weight", "key"], descending=[True, False])
        found += ranked["key"].to_list()
    return [str(key) for key in dict.fromkeys(found)][:most]


def carried(results: Results) -> Mapping[str, str]:
    """JPEGs in base64 by key, of `wanted`, until the page has no more room."""
    room, found = MOST_BYTES, {}
    for key in wanted(results.table("driving"), results.table("divisive")):
        jpeg = results.thumbnails.get(key)
        if jpeg and len(jpeg) <= room:
            found[key] = base64.b64encode(jpeg).decode()
            room -= len(jpeg)
    return found
