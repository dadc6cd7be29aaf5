"""The table of models: one row per checkpoint or import, also of those that are not complete.

Guarantees: columns and order are those of models.parquet, rows are ordered by name. A model of which only hard
predictions are known has no nll, ece, temperature or top5, one that is not complete has no figures at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import polars as pl

from overlap.analysis.calibration import Calibration

TRAINING = ("dataset", "framework", "architecture", "hyper_parameters", "seed", "parent", "teacher")

SCHEMA: dict[str, pl.DataType] = {
    "model": pl.String(),
    "fingerprint": pl.String(),
    "n": pl.Int64(),
    "accuracy": pl.Float64(),
    "top5": pl.Float64(),
    "nll": pl.Float64(),
    "ece": pl.Float64(),
    "temperature": pl.Float64(),
    "noise_floor_ei": pl.Float64(),
    "status": pl.String(),
    **{column: pl.String() for column in TRAINING},
}


@dataclass(frozen=True)
class ModelRow:
    """What is known of one model; None where it is not.

    Attributes:
        model: its name.
        fingerprint: of its predictions.
        status: `complete`, `imported`, or what keeps it out of the analysis.
        n: images predicted.
        right: images it gets right.
        calibration: from its logits.
        noise_floor_ei: error inconsistency with itself in another numeric mode.
        training: declared columns, a subset of `TRAINING`.
    """

    model: str
    fingerprint: str | None
    status: str
    n: int = 0
    right: int | None = None
    calibration: Calibration | None = None
    noise_floor_ei: float | None = None
    training: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Share of the images that it gets right."""
        return None if self.right is None or self.n == 0 else self.right / self.n


def models_table(rows: Iterable[ModelRow]) -> pl.DataFrame:
    """One row per model, with the columns of `SCHEMA`.

    Raises:
        ValueError: a model comes twice, or a training column is not one of `TRAINING`.
    """
    ordered = sorted(rows, key=lambda row: row.model)
    names = [row.model for row in ordered]
    if len(set(names)) < len(names):
        raise ValueError(f"more than one row for a model: {sorted({name for name in names if names.count(name) > 1})}")
    foreign = {column for row in ordered for column in row.training} - set(TRAINING)
    if foreign:
        raise ValueError(f"no training columns: {sorted(foreign)}")
    return pl.DataFrame([_cells(row) for row in ordered], schema=SCHEMA).with_columns(pl.col(pl.Float64).fill_nan(None))


def _cells(row: ModelRow) -> dict[str, object]:
    """The row by column; a temperature fitted on no image says nothing and is left out."""
    fitted = asdict(row.calibration) if row.calibration is not None and row.n else {}
    return {
        "model": row.model,
        "fingerprint": row.fingerprint,
        "n": row.n,
        "accuracy": row.accuracy,
        **{column: fitted.get(column) for column in ("top5", "nll", "ece", "temperature")},
        "noise_floor_ei": row.noise_floor_ei,
        "status": row.status,
        **{column: row.training.get(column) for column in TRAINING},
    }
