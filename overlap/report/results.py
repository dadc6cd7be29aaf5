"""What a report is made of: the reduced tables of one study on one data set, and where they come from.

Guarantees that the tables have the columns the views read. Does not check the numbers in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

READ_COLUMNS: Mapping[str, frozenset[str]] = {
    "models": frozenset({"model", "fingerprint", "n", "accuracy"}),
    "pairs": frozenset({"model_a", "model_b", "category", "n", "error_inconsistency", "kappa"}),
    "pair_ensembles": frozenset({"model_a", "model_b", "combiner", "gain_mean", "gain_best", "conversion_rate"}),
    "ensembles": frozenset({"search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"}),
    "categories": frozenset({"category", "pairs", "error_inconsistency", "kappa"}),
}
"""The columns without which a table cannot be shown; a table with neither rows nor columns means 'not computed'."""


@dataclass(frozen=True)
class Results:
    """The tables of one study on one data set (and one truth), with their origin."""

    study: str
    """Name of the study."""
    data: str
    """Name of the data set, `name@truth` where the truth is not the default."""
    dataset_digest: str
    """Digest of the images and labels that the numbers are about, hex."""
    inputs_digest: str
    """Digest of everything that went into the tables; equal digests mean equal tables."""
    models: pl.DataFrame
    """`models.parquet`; fractions are 0-1."""
    pairs: pl.DataFrame
    """`pairs.parquet`."""
    pair_ensembles: pl.DataFrame = field(default_factory=pl.DataFrame)
    """`pair_ensembles.parquet`; without columns where no model has logits."""
    ensembles: pl.DataFrame = field(default_factory=pl.DataFrame)
    """`ensembles.parquet`; without columns where no model has logits."""
    categories: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Means by category of pair, with intervals."""
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Further scalars by model (seconds of inference and the like), for MLflow only."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Checkpoints of the study that no table holds: model -> reason."""
    notes: Sequence[str] = ()
    """What else a reader must know (missing shards, reasons of absent values), the gravest first: a page opens with the
    first two. Words in backticks are set as code."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions, git hash, device, dates: printed as they are."""

    def __post_init__(self) -> None:
        """Refuse tables the views cannot read.

        Raises:
            ValueError: a table lacks columns; names both.
        """
        for name, table in self.tables().items():
            if missing := READ_COLUMNS[name] - set(table.columns):
                raise ValueError(f"table {name!r} lacks the columns {sorted(missing)}")

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables that were computed, by name, in the order a reader wants them."""
        named = {name: getattr(self, name) for name in READ_COLUMNS}
        return {name: table for name, table in named.items() if table.width}

    def shown(self) -> dict[str, pl.DataFrame]:
        """The tables that have rows."""
        return {name: table for name, table in self.tables().items() if table.height}
