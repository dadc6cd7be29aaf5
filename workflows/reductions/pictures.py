"""Thumbnails of the images that the report shows: read from the shards where these can be read."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from overlap.errors import DataError, StoreError
from overlap.images.shards import Shard
from overlap.images.thumbnails import thumbnails
from overlap.report.thumbnails import SIDE, wanted
from overlap.study import is_uri
from workflows.nodes.cluster import fetch
from workflows.nodes.remote import remote
from workflows.plan import Plan


def pictures(plan: Plan, driving: pl.DataFrame, divisive: pl.DataFrame) -> tuple[dict[str, bytes], list[str]]:
    """JPEGs by key of the images that drive or divide most pairs, and what to say of shards that cannot be read."""
    keys = set(wanted(driving, divisive))
    endpoint = plan.study.store.endpoint_url
    asked = [(shard, found) for shard in plan.dataset.shards if (found := [key for key in shard.keys if key in keys])]
    # what lies on this machine no other may find
    pending = {shard.uri: _there.remote(shard, found, endpoint) for shard, found in asked if is_uri(shard.uri)}
    pictured: dict[str, bytes] = {}
    notes = []
    for shard, found in asked:
        told = fetch(pending[shard.uri]) if shard.uri in pending else _here(shard, found, endpoint)
        if isinstance(told, str):
            notes.append(f"no thumbnails: {told}")
        else:
            pictured |= told
    return pictured, notes


def _here(shard: Shard, keys: Sequence[str], endpoint_url: str | None) -> dict[str, bytes] | str:
    """The pictures, or why there are none: no result depends on them."""
    try:
        return thumbnails(shard, keys, SIDE, endpoint_url)
    except (DataError, StoreError) as error:
        return str(error)


@remote(num_cpus=1)
def _there(shard: Shard, keys: Sequence[str], endpoint_url: str | None) -> dict[str, bytes] | str:
    return _here(shard, keys, endpoint_url)
