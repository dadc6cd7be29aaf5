"""What a report is made of: the reduced tables of one study on one data set, and where they come from.

Guarantees that the tables have the columns the views read. Does not check the numbers in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from overlap.report.tables import FIRST, KINDS, complaint
from overlap.store.long_tables import LongTable


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
    """`pairs.parquet`; without rows where it has too many to be held (`long_tables.HELD`): `scan` reads it anyway."""
    pair_ensembles: pl.DataFrame = field(default_factory=pl.DataFrame)
    """`pair_ensembles.parquet`; without columns where no model has logits."""
    ensembles: pl.DataFrame = field(default_factory=pl.DataFrame)
    """`ensembles.parquet`; without columns where no model has logits."""
    categories: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Means by category of pair, with intervals."""
    more: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """All further tables by name (`tables.KINDS`); one without columns counts as not computed."""
    files: Mapping[str, LongTable] = field(default_factory=dict)
    """Tables that lie in a file, by name: all that are too long to be held."""
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    """Small JPEGs of images that tables name, by key; those the page has room for (`thumbnails.wanted`) are enough."""
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Further scalars by model (seconds of inference and the like), for MLflow only."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Checkpoints of the study that no table holds: model -> reason."""
    notes: Sequence[str] = ()
    """What else a reader must know (missing shards, reasons of absent values), the gravest first: a page opens with the
    first two. Words in backticks are set as code."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions, git hash, device, dates: printed as they are."""
    news: Mapping[str, Any] | None = None
    """What is new since the reduction before (`overlap.news.News`, as plain JSON); None of a first one."""
    schedule: pl.DataFrame | None = None
    """How the last fan-out over the data set ran (`overlap.store.schedules`): no result, and no part of the digest."""

    across: pl.DataFrame | None = None
    """How its pairs compare with those on the study's other data sets: the rows of `across-summary.parquet` that name
    it. No part of the digest either."""

    def __post_init__(self) -> None:
        """Refuse tables the views cannot read.

        Raises:
            ValueError: a table lacks columns, or has a name nobody knows; names both.
        """
        if twice := sorted(set(self.more) & set(FIRST)):
            raise ValueError(f"tables {twice} are attributes, not further tables")
        for name, table in {**self.tables(), **self.more}.items():
            wrong = complaint(name, set(table.columns)) if table.width or name not in KINDS else None
            if wrong:
                raise ValueError(wrong)

    def table(self, name: str) -> pl.DataFrame:
        """The table of that name; one without rows and columns where it was not computed.

        Raises:
            KeyError: no table has that name.
        """
        if name not in KINDS:
            raise KeyError(name)
        found: pl.DataFrame = getattr(self, name) if name in FIRST else self.more.get(name, pl.DataFrame())
        return found

    def scan(self, name: str) -> pl.LazyFrame:
        """All rows of the table of that name, whether they are held or not; raises KeyError as `table`."""
        return self.files[name].scan() if name in self.files else self.table(name).lazy()

    def rows(self, name: str) -> int:
        """How many rows the table of that name has; raises KeyError as `table`."""
        return self.files[name].rows if name in self.files else self.table(name).height

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables that were computed, by name, in the order a reader wants them."""
        return {name: table for name in KINDS if (table := self.table(name)).width}

    def shown(self) -> dict[str, pl.DataFrame]:
        """The tables that have rows."""
        return {name: table for name, table in self.tables().items() if table.height}
