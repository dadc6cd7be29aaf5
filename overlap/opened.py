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
from overlap.store.ledger import Ledger
from overlap.store.objects import Location, open_objects
from overlap.store.tables import decode_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from overlap.report.results import Results


class OpenedStudy:
    """One data set of a store; every table is the newest whole reduction."""

    def __init__(self, uri: str, data: str | None = None, endpoint_url: str | None = None) -> None:
        """Open a store.

        Args:
            uri: a folder, or `s3://bucket/prefix`.
            data: name of the data set, under another truth `NAME@TRUTH`; may be left out where the store holds one
                (smoke runs, `NAME.firstN`, and other truths apart).
            endpoint_url: server of an `s3://` store.

        Raises:
            StudyError: no such data set, or several to choose from.
        """
        self._objects = open_objects(Location(uri, endpoint_url))
        known = sorted({*data_sets(self._objects), *reduced_data_sets(self._objects)})
        whole = [name for name in known if not smoke.is_part(name) and "@" not in name]
        if data is None and len(whole) == 1:
            data = whole[0]
        if data not in known or data is None:
            raise StudyError(f"{uri}: holds {', '.join(known) or 'no data sets'}; name one of them as `data`")
        self.data = data
        self._images, self._truth = layout.parted(data)

    def table(self, name: str) -> pl.DataFrame:
        """Any table of the results by name (`overlap.report.tables.KINDS` says what each holds).

        Returns:
            One without rows and columns where it was not computed.

        Raises:
            StudyError: no table has that name.
        """
        results = self._results()
        try:
            return results.table(name)
        except KeyError:
            raise StudyError(f"no table '{name}'; '{self.data}' holds {', '.join(results.tables())}") from None

    def models(self) -> pl.DataFrame:
        """`models.parquet`: one row a model."""
        return self._results().models

    def pairs(self) -> pl.DataFrame:
        """`pairs.parquet`: one row a pair."""
        return self._results().pairs

    def pair_ensembles(self) -> pl.DataFrame:
        """`pair_ensembles.parquet`: one row a pair and combiner."""
        return self._results().pair_ensembles

    def ensembles(self) -> pl.DataFrame:
        """`ensembles.parquet`: one row a step of a search."""
        return self._results().ensembles

    def categories(self) -> pl.DataFrame:
        """`categories.parquet`: means by category of pair, with intervals."""
        return self._results().categories

    def labels(self) -> pl.DataFrame:
        """Columns key and label, in the order of the shards; under another truth key and labels, all accepted ones."""
        if self._truth is not None:
            return pl.read_parquet(io.BytesIO(self._objects.get(layout.labels(self._images, self._truth))))
        labels = decode_labels(self._objects.get(layout.labels(self.data)))
        return pl.DataFrame({"key": labels.keys, "label": labels.label})

    def logits(self, model: str) -> NDArray[np.float16]:
        """A checkpoint's stored logits, float16 of shape (images, classes), rows aligned with `labels`.

        Raises:
            StudyError: the store knows no such checkpoint, or not all of its shards.
            DamagedObject: an object is not what its record certifies.
        """
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
        return np.concatenate([ledger.read(records[shard]).logits for shard in snapshot.shards])

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
