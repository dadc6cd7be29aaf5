"""The comparison across the data sets of a study, after each was reduced: does what holds of a pair hold elsewhere too?

Guarantees: equal results are not compared twice; the tables at the fixed names are whole, since what names their inputs
is written last. Smoke runs are not compared.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from overlap.analysis import across
from overlap.errors import ObjectMissing
from overlap.identity import canonical_json, digest
from overlap.report.results import Results
from overlap.store import layout
from overlap.store.objects import Objects
from workflows.outcome import Outcome

COMPARISONS = 1
"""Version of what the tables mean; raising it compares everything again."""

PAIRS, SUMMARY, HEAD = "across.parquet", "across-summary.parquet", "across.json"


def compare(outcomes: Sequence[Outcome], objects: Objects, show: Callable[[Outcome, pl.DataFrame], None]) -> None:
    """Compare the data sets that have results, publish the tables, and tell each outcome how it compares.

    Args:
        outcomes: of a study, in its order; each gets the rows of the summary that compare it with those before it.
        objects: the store.
        show: shows a data set's results again, with the rows that are about it; called where the comparison is new.
    """
    results = {outcome.data: outcome.results for outcome in outcomes if outcome.results is not None}
    if len(results) < 2:
        return
    inputs = {"comparisons": COMPARISONS, "results": [[data, one.inputs_digest] for data, one in results.items()]}
    summary = _known(inputs, objects)
    if summary is None:
        pairs, summary = across.compare({data: (_detailed(one), one.pair_ensembles) for data, one in results.items()})
        body = _encode(summary)
        objects.put(layout.across(PAIRS), _encode(pairs))
        objects.put(layout.across(SUMMARY), body)
        for outcome in outcomes:
            if outcome.data in results:
                show(outcome, _about(summary, outcome.data))
        if not any(outcome.tracking_error for outcome in outcomes):  # else the next run compares and shows again
            objects.put(layout.across(HEAD), canonical_json({"inputs": inputs, "summary": digest(body)}))
    for outcome in outcomes:
        outcome.across = summary.filter(pl.col("data_y") == outcome.data).to_dicts()


def _detailed(results: Results) -> pl.LazyFrame:
    """The table of pairs; where detailed measures are of a selection, those alone.

    Of the same models the same pairs are chosen on every data set.
    """
    pairs, chosen = results.scan("pairs"), results.table("divergence")
    if not chosen.width or chosen.height == results.rows("pairs"):
        return pairs
    names = ["model_a", "model_b"]
    return pairs.join(chosen.lazy().select(names), on=names, how="semi", maintain_order="left")


def stored(results: Results, objects: Objects) -> pl.DataFrame | None:
    """How exactly these results compared with those on the study's other data sets; None where they did not."""
    inputs, summary = _stored(objects)
    if summary is None or [results.data, results.inputs_digest] not in inputs.get("results", []):
        return None
    return _about(summary, results.data)


def _known(inputs: dict[str, Any], objects: Objects) -> pl.DataFrame | None:
    """The summary that is stored, where it is whole, made from these results, and the pairs are beside it."""
    made_from, summary = _stored(objects)
    return summary if made_from == inputs and objects.head(layout.across(PAIRS)) is not None else None


def _stored(objects: Objects) -> tuple[dict[str, Any], pl.DataFrame | None]:
    """What the stored comparison was made from, and its summary, where that is whole."""
    try:
        head = json.loads(objects.get(layout.across(HEAD)))
        summary = objects.get(layout.across(SUMMARY))
        whole = head["summary"] == digest(summary)
        return dict(head["inputs"]), pl.read_parquet(io.BytesIO(summary)) if whole else None
    except (ObjectMissing, ValueError, KeyError, TypeError):
        return {}, None


def _about(summary: pl.DataFrame, data: str) -> pl.DataFrame:
    return summary.filter((pl.col("data_x") == data) | (pl.col("data_y") == data))


def _encode(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
