"""The steps of searches: which model each added, and what the ensemble so far reaches on either split (paper.md, 1.8).

Guarantees: columns and order are those of ensembles.parquet. Gains are over the best single model of the selection
split, on the test split, with their paired interval; an ensemble that is that model alone gains exactly nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from overlap.analysis.ensembles.part import Counts, Members
from overlap.analysis.intervals import gain_interval
from overlap.analysis.pairs import check_axis, frame

SCHEMA: dict[str, pl.DataType] = {
    "search": pl.String(),
    "step": pl.Int64(),
    "model": pl.String(),
    "accuracy_select": pl.Float64(),
    "accuracy_test": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
}


@dataclass(frozen=True)
class Steps:
    """A search and what its ensembles do; step k is the ensemble of the first k members.

    Attributes:
        name: what the table calls it.
        members: model indices in order of selection.
        counts: (2, steps, 3), as in `outcomes.Outcomes`.
    """

    name: str
    members: Members
    counts: Counts


def steps_table(
    models: Sequence[str], searches: Sequence[Steps], reference: int, images: tuple[int, int]
) -> pl.DataFrame:
    """One row per step of each search, with the columns of `SCHEMA`.

    Args:
        models: M names in ascending order.
        searches: in the order of the table.
        reference: the best single model on the selection split.
        images: of the selection and of the test split; with none in the latter, accuracy there and gain are null.
    """
    check_axis(models, len(models))
    selected, tested = images
    rows = []
    for found in searches:
        low, high = gain_interval(found.counts[1, :, 1], found.counts[1, :, 2], tested)
        for step, model in enumerate(found.members):
            alone = set(found.members[: step + 1]) == {reference} and tested > 0
            rows.append(
                {
                    "search": found.name,
                    "step": step + 1,
                    "model": models[model],
                    "accuracy_select": int(found.counts[0, step, 0]) / selected,
                    "accuracy_test": int(found.counts[1, step, 0]) / tested if tested else None,
                    "gain_low": 0.0 if alone else float(low[step]),
                    "gain_high": 0.0 if alone else float(high[step]),
                }
            )
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)
