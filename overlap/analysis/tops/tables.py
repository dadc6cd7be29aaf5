"""Tables of what bounds decide, and of what they do not.

Guarantees: a figure that an undecided image could change is null in the tables that others read, and between its bounds
in tables of its own; what is certain is the same as from all logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.ensembles.budgets import COSTS
from overlap.analysis.ensembles.steps import SCHEMA as STEPS
from overlap.analysis.ensembles.tables import SEARCHES, WEIGHTS
from overlap.analysis.intervals import gain_interval
from overlap.analysis.pairs import frame
from overlap.analysis.tops.search import Grown

Counts = NDArray[np.int64]

NEITHER, SECOND, FIRST, BOTH = range(4)
"""Places of `tally.CELLS`."""

CHANGED_BY: Mapping[str, tuple[int, ...]] = {
    **dict.fromkeys(("accuracy", "gain_mean", "gain_best", "gain_low", "gain_high"), (NEITHER, SECOND, FIRST, BOTH)),
    "conversion_rate": (SECOND, FIRST),
    "r11": (BOTH,),
    "r00": (NEITHER,),
}
"""Columns of pair_ensembles, and by which undecided images they could be others."""

PAIR_BOUNDS: dict[str, pl.DataType] = {
    "model_a": pl.String(),
    "model_b": pl.String(),
    "combiner": pl.String(),
    "n": pl.Int64(),
    "undecided": pl.Int64(),
    "accuracy_low": pl.Float64(),
    "accuracy_high": pl.Float64(),
}

STEP_BOUNDS: dict[str, pl.DataType] = {
    "search": pl.String(),
    "step": pl.Int64(),
    "undecided_select": pl.Int64(),
    "accuracy_select_low": pl.Float64(),
    "accuracy_select_high": pl.Float64(),
    "undecided_test": pl.Int64(),
    "accuracy_test_low": pl.Float64(),
    "accuracy_test_high": pl.Float64(),
}


def without_undecided(table: pl.DataFrame, undecided: Counts) -> pl.DataFrame:
    """Rows of one combiner of pair_ensembles, null where undecided images, (P, 4) by cell, could change a figure."""
    columns = []
    for name, cells in CHANGED_BY.items():
        is_open = pl.Series(undecided[:, list(cells)].sum(axis=1) > 0, dtype=pl.Boolean)
        columns.append(pl.when(is_open).then(None).otherwise(pl.col(name)).alias(name))
    return table.with_columns(columns)


def pair_bounds_table(table: pl.DataFrame, undecided: Counts) -> pl.DataFrame:
    """`pair_ensemble_bounds.parquet` of one combiner.

    Args:
        table: its rows of pair_ensembles, whose accuracies count certain images alone.
        undecided: (P, 4) by cell.
    """
    is_open = undecided.sum(axis=1)
    low = table["accuracy"].to_numpy()
    total = table["n"].to_numpy()
    return frame(
        {
            **{name: table[name].to_list() for name in ("model_a", "model_b", "combiner", "n")},
            "undecided": is_open,
            "accuracy_low": low,
            "accuracy_high": low + is_open / np.maximum(total, 1),
        },
        PAIR_BOUNDS,
    )


def steps_tables(
    models: Sequence[str], searches: Sequence[Grown], judged: Sequence[Counts], reference: int, images: tuple[int, int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`ensembles.parquet`, with the columns of `steps.SCHEMA`, and `ensemble_bounds.parquet`.

    Args:
        models: M names, ascending.
        searches: in the order of the tables.
        judged: of each, as of `ensembles.Range.judged`, over all images.
        reference: the best single model on the selection split.
        images: of the selection and of the test split.
    """
    rows, bounds = [], []
    for found, counts in zip(searches, judged, strict=True):
        for step, model in enumerate(found.members):
            name = {"search": found.name, "step": step + 1}
            figures = _figures(found.members[: step + 1], counts[step], reference, images)
            told = ("accuracy_select", "accuracy_test", "gain_low", "gain_high")
            rows.append({**name, "model": models[model], **{each: figures[each] for each in told}})
            bound: dict[str, Any] = dict(name)
            for place, split in enumerate(("select", "test")):
                low, is_open = counts[step, 4 * place : 4 * place + 2].tolist()
                bound[f"undecided_{split}"] = is_open
                bound[f"accuracy_{split}_low"] = low / images[place] if images[place] else None
                bound[f"accuracy_{split}_high"] = (low + is_open) / images[place] if images[place] else None
            bounds.append(bound)
    return (
        frame({name: [row[name] for row in rows] for name in STEPS}, STEPS),
        frame({name: [row[name] for row in bounds] for name in STEP_BOUNDS}, STEP_BOUNDS),
    )


def searches_table(
    models: Sequence[str],
    searches: Sequence[Grown],
    judged: Sequence[Counts],
    reference: int,
    images: tuple[int, int],
    single: tuple[int, int],
    costs: Mapping[str, NDArray[np.float64]],
) -> pl.DataFrame:
    """`searches.parquet`, with the columns of `tables.SEARCHES`: one row a search, of its best prefix.

    Args:
        models, searches, judged, reference, images: as of `steps_tables`.
        single: images that the reference gets right on either split.
        costs: of each model, (M,) by name, NaN where unknown.
    """
    rows = []
    for found, counts in zip(searches, judged, strict=True):
        row: dict[str, Any] = {
            "search": found.name,
            "kind": found.kind,
            "anchor": None if found.anchor is None else models[found.anchor],
            "pool": found.pool,
            "objective": "accuracy",
            "reason": found.reason,
        }
        if found.members and found.size is None:
            row["reason"] = found.reason or "undecided images leave open which prefix is the best"
        elif found.size is not None:
            members = found.members[: found.size]
            row |= {"size": found.size, "distinct": len(set(members))}
            row |= _figures(members, counts[found.size - 1], reference, images)
            if row["accuracy_select"] is not None and row["accuracy_test"] is not None:
                fall = single[0] / images[0] - single[1] / images[1]
                row["optimism"] = row["accuracy_select"] - row["accuracy_test"] - fall
            for name in COSTS:
                total = float(sum(costs[name][model] for model in sorted(set(members)))) if name in costs else np.nan
                row[name] = None if np.isnan(total) else total
        rows.append(row)
    return frame({name: [row.get(name) for row in rows] for name in SEARCHES}, SEARCHES)


def weights_table(models: Sequence[str], searches: Sequence[Grown]) -> pl.DataFrame:
    """`ensemble_weights.parquet`: what every model weighs in every search of which the best prefix is certain."""
    rows: list[tuple[str, str, float]] = []
    for found in searches:
        members = found.members[: found.size or 0]
        rows += [(found.name, models[one], members.count(one) / len(members)) for one in sorted(set(members))]
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return frame(dict(zip(WEIGHTS, map(list, columns), strict=True)), WEIGHTS)


def _figures(
    members: Sequence[int], counts: Counts, reference: int, images: tuple[int, int]
) -> dict[str, float | None]:
    """Accuracies and gain of one ensemble; null where an undecided image of the split could change them."""
    selected, tested = images
    right, is_open = counts[0].item(), counts[1].item()
    found: dict[str, float | None] = dict.fromkeys(("accuracy_test", "gain", "gain_low", "gain_high"))
    found["accuracy_select"] = right / selected if selected and not is_open else None
    right, is_open, plus, minus = counts[4:8].tolist()
    if tested and not is_open:
        low, high = gain_interval(np.array(plus), np.array(minus), tested)
        alone = set(members) == {reference}
        found |= {"accuracy_test": right / tested, "gain": (plus - minus) / tested}
        found |= {"gain_low": 0.0 if alone else float(low), "gain_high": 0.0 if alone else float(high)}
    return found
