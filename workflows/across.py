"""The comparison across the data sets of a study, after each was reduced: does what holds of a pair hold elsewhere too?

Guarantees: equal results are not compared twice; the tables at the fixed names are whole, since what names their inputs
is written last. Smoke runs are not compared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from overlap.analysis import across
from overlap.errors import ObjectMissing
from overlap.identity import canonical_json, digest
from overlap.store import layout
from overlap.store.objects import Objects
from workflows.outcome import Outcome

COMPARISONS = 1
"""Version of what the tables mean; raising it compares everything again."""

PAIRS, SUMMARY, HEAD = "across.parquet", "across-summary.parquet", "across.json"


def compare(outcomes: Sequence[Outcome], objects: Objects) -> None:
    """Compare the data sets that have results, publish the tables, and tell each outcome how it compares.

    Args:
        outcomes: of a study, in its order; each gets the rows of the summary that compare it with those before it.
        objects: the store.
    """
    results = {outcome.data: outcome.results for outcome in outcomes if outcome.results is not None}
    if len(results) < 2:
        return
    inputs = {"comparisons": COMPARISONS, "results": [[data, one.inputs_digest] for data, one in results.items()]}
    summary = _known(inputs, objects)
    if summary is None:
        pairs, summary = across.compare(
            {data: (one.scan("pairs").collect(), one.pair_ensembles) for data, one in results.items()}
        )
        body = _encode(summary)
        objects.put(layout.across(PAIRS), _encode(pairs))
        objects.put(layout.across(SUMMARY), body)
        objects.put(layout.across(HEAD), canonical_json({"inputs": inputs, "summary": digest(body)}))
    for outcome in outcomes:
        outcome.across = summary.filter(pl.col("data_y") == outcome.data).to_dicts()


def _known(inputs: dict[str, Any], objects: Objects) -> pl.DataFrame | None:
    """The summary that is stored, where it is whole, made from these results, and the pairs are beside it."""
    try:
        head = json.loads(objects.get(layout.across(HEAD)))
        summary = objects.get(layout.across(SUMMARY))
    except (ObjectMissing, ValueError):
        return None
    expected = {"inputs": inputs, "summary": digest(summary)}
    if head != expected or objects.head(layout.across(PAIRS)) is None:
        return None
    return pl.read_parquet(io.BytesIO(summary))


def _encode(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
