"""As much of a reduction as the next one is compared with: read before the next takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from overlap.errors import DamagedObject
from overlap.published import HEAD, REDUCTION, read_json, read_news, read_table
from overlap.store import layout
from overlap.store.objects import Objects


@dataclass(frozen=True)
class Earlier:
    """As much of a reduction as the next one is compared with."""

    inputs_digest: str
    dataset_digest: str
    models: pl.DataFrame
    ensembles: pl.DataFrame
    """Without columns where nothing was searched."""
    absent: dict[str, str]
    reduced: str | None
    """When it was made, in ISO form."""
    news: dict[str, Any] | None
    """What was new then."""


def read_earlier(data: str, objects: Objects) -> Earlier | None:
    """The newest results as those before the next; None where there are none that can be read whole."""
    models = read_table(data, "models", objects)
    try:
        head = read_json(layout.results(data, REDUCTION), objects)
    except DamagedObject:
        return None
    if head is None or models is None or not set(head) >= HEAD:
        return None
    ensembles = read_table(data, "ensembles", objects) if "ensembles.parquet" in head["tables"] else pl.DataFrame()
    if ensembles is None:
        return None
    return Earlier(
        head["inputs_digest"],
        head["dataset_digest"],
        models,
        ensembles,
        head["absent"],
        head["provenance"].get("reduced"),
        read_news(data, head, objects),
    )
