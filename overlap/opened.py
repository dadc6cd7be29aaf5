"""A study's store, opened for reading in Python: polars frames and numpy arrays, without Ray, torch or MLflow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from overlap import smoke
from overlap.errors import StudyError
from overlap.published import Snapshot, data_sets, read_results, read_snapshot, reduced_data_sets
from overlap.store import layout
from overlap.store.ledger import Ledger, Record
from overlap.store.location import Location, open_objects
from overlap.store.units import feature_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from overlap.report.results import Results


class OpenedStudy:
    """One data set of a store; every table is the newest whole reduction."""

    def __init__(self, uri: str, data: str | None = None, endpoint_url: str | None = None) -> None:
        """Open a store.

        Args:
            uri: a folder, or `s3://bucket/prefix`.
            data: name of the data set, under another truth `NAME@TRUTH`; may be left out where the store holds one to
                evaluate on (smoke runs, `NAME.firstN`, and other truths apart).
            endpoint_url: server of an `s3://` store.

        Raises:
            StudyError: no such data set, or several to choose from.
        """
        self._objects = open_objects(Location(uri, endpoint_url))
        known = sorted({*data_sets(self._objects), *reduced_data_sets(self._objects)})
        whole = [name for name in known if not smoke.is_part(name) and "@" not in name]
        if data is None and len(whole) > 1:
            whole = [name for name in whole if self._role(name) == "evaluate"]
        if data is None and len(whole) == 1:
            data = whole[0]
        if data not in known or data is None:
            raise StudyError(f"{uri}: holds {', '.join(known) or 'no data sets'}; name one of them as `data`")
        self.data = data
        self._scanned: Results | None = None
        self._images, self._truth = layout.parted(data)

    def table(self, name: str) -> pl.DataFrame:
        """Any table of the results by name (`overlap.report.tables.KINDS` says what each holds).

        Returns:
            One without rows and columns where it was not computed.

        Raises:
            StudyError: no table has that name.
        """
        return self.scan(name).collect()

    def scan(self, name: str) -> pl.LazyFrame:
        """As `table`, but read as far as it is asked for: the pairs of ten thousand models do not fit into memory."""
        self._scanned = results = self._results()  # whose files are there as long as it is
        try:
            return results.scan(name)
        except KeyError:
            raise StudyError(f"no table '{name}'; '{self.data}' holds {', '.join(results.tables())}") from None

    def models(self) -> pl.DataFrame:
        """`models.parquet`: one row a model."""
        return self._results().models

    def pairs(self) -> pl.DataFrame:
        """`pairs.parquet`: one row a pair, all of them in memory; see `scan`."""
        return self.table("pairs")

    def pair_ensembles(self) -> pl.DataFrame:
        """`pair_ensembles.parquet`: one row a pair (that has detailed measures) and combiner."""
        return self._results().pair_ensembles

    def ensembles(self) -> pl.DataFrame:
        """`ensembles.parquet`: one row a step of a search."""
        return self._results().ensembles

    def categories(self) -> pl.DataFrame:
        """`categories.parquet`: means by category of pair, with intervals."""
        return self._results().categories

    def across(self) -> pl.DataFrame:
        """How pairs compare between every two data sets of the study: `across-summary.parquet`.

        Raises:
            ObjectMissing: fewer than two data sets have results.
        """
        return pl.read_parquet(io.BytesIO(self._objects.get(layout.across("across-summary.parquet"))))

    def labels(self) -> pl.DataFrame:
        """Columns key and label, in the order of the shards; under another truth, and of a multi-label set, key and
        labels (a list a row).
        """
        table = pl.read_parquet(io.BytesIO(self._objects.get(layout.labels(self._images, self._truth))))
        return table.select("key", "labels" if "labels" in table.columns else "label")

    def logits(self, model: str) -> NDArray[np.float16]:
        """A checkpoint's stored logits, float16 of shape (images, classes), rows aligned with `labels`.

        Raises:
            StudyError: the store knows no such checkpoint, or not all of its shards.
            DamagedObject: an object is not what its record certifies.
        """
        ledger, records = self._records(model)
        return np.concatenate([ledger.read(record).logits for record in records])

    def features(self, model: str) -> NDArray[np.float32]:
        """A checkpoint's penultimate features, float32 of shape (images, D), rows aligned with `labels`.

        Raises:
            StudyError: the store knows no such checkpoint, or not all of its shards.
            ObjectMissing: it was predicted without features.
            DamagedObject: an object is not what its record certifies.
        """
        _, records = self._records(model)
        return feature_matrix(self._objects, records)

    def _records(self, model: str) -> tuple[Ledger, list[Record]]:
        """The records of a complete checkpoint, in the order of the shards."""
        snapshot = self._snapshot()
        if model not in snapshot.models:
            raise StudyError(f"{self._objects.uri}: no checkpoint '{model}' with logits on '{self.data}'")
        ledger = Ledger(self._objects, self._images)
        records = ledger.records(snapshot.models[model])
        missing = [snapshot.files[shard] for shard in snapshot.shards if shard not in records]
        if missing:
            raise StudyError(
                f"checkpoint '{model}' is not complete: {len(missing)} shards are missing; `overlap run` first"
            )
        return ledger, [records[shard] for shard in snapshot.shards]

    def _role(self, data: str) -> str:
        snapshot = read_snapshot(data, self._objects)
        return "evaluate" if snapshot is None else snapshot.role

    def _snapshot(self) -> Snapshot:
        snapshot = read_snapshot(self._images, self._objects)
        if snapshot is None:
            raise StudyError(f"{self._objects.uri}: nothing was run on '{self.data}' yet")
        return snapshot

    def _results(self) -> Results:
        results = read_results(self.data, self._objects)
        if results is None:
            raise StudyError(f"{self._objects.uri}: no results for '{self.data}' yet; `overlap run` first")
        return results
