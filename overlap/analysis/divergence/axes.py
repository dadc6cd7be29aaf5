"""Crossed axes of training: which of them differ at all between two models, since the paper's categories nest.

A pair of the category `dataset` mostly differs in architecture too; here it is told apart from one that does not.
Guarantees: every pair is in one row; a pair of which an axis is not declared on either side is counted under what is
missing and never guessed, one of shared lineage or a duplicate under that. Intervals are over models and images, as
those of categories. A row without a figure says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.bootstrap import Estimate, estimate
from overlap.analysis.divergence.measures import Compared
from overlap.analysis.pairs import frame

AXES = ("dataset", "framework", "architecture", "hyper_parameters")
"""Columns of the training, outermost first."""

STATISTICS = ("error_inconsistency", "kappa", "gain_best")

RELATED = "left out: shared lineage or duplicate"

SCHEMA: dict[str, pl.DataType] = {
    "differs": pl.String(),
    **{axis: pl.Boolean() for axis in AXES},
    "pairs": pl.Int64(),
    "models": pl.Int64(),
    **{name + end: pl.Float64() for name in STATISTICS for end in ("", "_low", "_high")},
    "reason": pl.String(),
}


def axes_table(compared: Compared, codes: NDArray[np.int64], related: NDArray[np.bool_]) -> pl.DataFrame:
    """One row per set of axes that some pair differs in, with the columns of `SCHEMA`; then pairs that are left out.

    Args:
        compared: the measures of the zoo of M models.
        codes: (4, M) what each model has on each of `AXES`, as numbers; -1 where it is not declared.
        related: (P,) of the compared pairs; those of shared lineage and duplicates.

    Raises:
        ValueError: codes do not fit the models.
    """
    if codes.shape != (len(AXES), len(compared.models)):
        raise ValueError(f"codes of shape {codes.shape} for {len(AXES)} axes of {len(compared.models)} models")
    first, second = compared.indices
    missing = (codes[:, first] < 0) | (codes[:, second] < 0)
    differs = codes[:, first] != codes[:, second]
    weights = 1 << np.arange(len(AXES))[::-1]
    state = np.where(related, -1, np.where(missing.any(axis=0), 100 + weights @ missing, weights @ differs))
    patterns = sorted({int(number) for number in state}, key=_place)
    rows = []
    for pattern in patterns:
        members = np.flatnonzero(state == pattern)
        shown = [bool(weight & pattern) for weight in weights.tolist()]
        told = pattern in range(1 << len(AXES))
        name = _name(pattern)
        figures = {statistic: _figure(compared, statistic, name, members, told) for statistic in STATISTICS}
        reasons = [f"{statistic}: {found.reason}" for statistic, found in figures.items() if found.reason]
        row: dict[str, Any] = {
            "differs": name,
            "pairs": len(members),
            "models": len({*first[members].tolist(), *second[members].tolist()}),
            "reason": "; ".join(reasons) or None if told else "not compared",
        }
        row |= {axis: value if told else None for axis, value in zip(AXES, shown, strict=True)}
        for statistic, found in figures.items():
            row |= {statistic: found.mean, statistic + "_low": found.low, statistic + "_high": found.high}
        rows.append(row)
    return frame({name: [row[name] for row in rows] for name in SCHEMA}, SCHEMA)


def _place(pattern: int) -> tuple[int, int]:
    """Few axes before many, inner before outer; then what is missing, and last what is left out."""
    if pattern < 0:
        return 1000, 0
    return (pattern.bit_count() if pattern < 100 else pattern), pattern


def _name(pattern: int) -> str:
    if pattern < 0:
        return RELATED
    axes = [axis for bit, axis in enumerate(reversed(AXES)) if (pattern % 100) & (1 << bit)]
    text = " + ".join(reversed(axes))
    return f"missing: {text}" if pattern >= 100 else text or "none"


def _figure(compared: Compared, statistic: str, name: str, members: NDArray[Any], told: bool) -> Estimate:
    measure = next((measure for measure in compared.measures if measure.name == statistic), None)
    if not told:
        return Estimate()
    if measure is None:
        return Estimate(reason="no pair ensembles")
    members = members[~np.isnan(measure.values[members])]
    if not len(members):
        return Estimate(reason="no pair for which it is defined")
    first, second = (indices[members] for indices in compared.indices)
    weight = np.zeros(len(measure.values))
    weight[members] = 1 / len(members)
    noise = compared.noise(measure, weight)
    return estimate(name, measure.values[members], first, second, noise, measure.bounds)
