"""Certified logits, read by image: which rows of which shards take part, and what a checkpoint says there.

Guarantees: images are numbered among those that take part, as in a panel; whatever is read was verified against its
record. Memory: one shard of one checkpoint at a time, beside what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from overlap.store.ledger import Ledger, Record
from overlap.store.location import Location, open_objects
from overlap.store.tops import Tops
from workflows.plan import Plan, location

BLOCK_BYTES = 1 << 29
"""Logits of all checkpoints that one task holds at a time, in float16; what it makes of them takes about as much."""


@dataclass(frozen=True, eq=False)
class Reader:
    """The shards of a data set, and the images of it that take part."""

    where: Location
    data: str
    starts: NDArray[np.int64]
    """(S + 1,): place of each shard's first image in the data set, and at the end the number of images."""
    places: NDArray[np.int64]
    """(N,): places in the data set of the images that take part, ascending."""

    @classmethod
    def of(cls, plan: Plan, images: NDArray[np.int64] | None = None) -> Reader:
        """The reader of a data set; for the images at some places alone, ascending, where these are given."""
        lengths = [len(shard) for shard in plan.dataset.shards]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(starts[-1]) if images is None else images
        return cls(location(plan.study), plan.dataset.name, starts, places)

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        """(S + 1,): number of the first image that takes part of each shard."""
        return np.searchsorted(self.places, self.starts)

    def blocks(self, models: int, classes: int) -> list[slice]:
        """Ranges of images, each within one shard, whose logits of all models stay within `BLOCK_BYTES`."""
        most = max(1, BLOCK_BYTES // max(1, 2 * models * classes))
        found = []
        for first, last in pairwise(self._bounds.tolist()):
            count = -(-(last - first) // most)  # equal parts: a shard is read once for each
            edges = np.linspace(first, last, count + 1).astype(int).tolist() if count else []
            found += [slice(start, stop) for start, stop in pairwise(edges)]
        return found

    def read(self, records: Sequence[Record], images: slice | NDArray[np.int64]) -> NDArray[np.float16]:
        """A checkpoint's logits of some images, (m, K).

        Args:
            records: of its units, in the order of the shards.
            images: numbers among those that take part, ascending.

        Raises:
            DamagedUnits: an object is not what its record certifies.
        """
        parts = [part for _, part in self._parts(records, images, _logits)]
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def features(self, records: Sequence[Record], images: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """A checkpoint's penultimate features of some images, (m, D); arguments and errors as of `read`."""
        asked = np.arange(images.start, images.stop) if isinstance(images, slice) else images
        whole: NDArray[np.float32] = np.empty((len(asked), 0), np.float32)
        for some, part in self._parts(records, asked, _features):
            if not whole.shape[1]:
                whole = np.empty((len(asked), part.shape[1]), np.float32)
            whole[some] = part
        return whole

    def shard_by_shard(self, records: Sequence[Record]) -> Iterator[tuple[slice, NDArray[np.float16]]]:
        """A checkpoint's logits of all images that take part, a shard at a time, each with its images."""
        yield from self._parts(records, slice(0, len(self.places)), _logits)

    def tops(self, records: Sequence[Record]) -> Iterator[tuple[slice, Tops]]:
        """The largest logits of all images that take part, a shard at a time; of a checkpoint that stored these alone.

        Raises:
            DataError: it stored all logits.
            DamagedUnits: an object is not what its record certifies.
        """
        ledger = Ledger(open_objects(self.where), self.data)
        for shard in np.flatnonzero(np.diff(self._bounds)).tolist():
            some = slice(int(self._bounds[shard]), int(self._bounds[shard + 1]))
            yield some, ledger.read_tops(records[shard]).take(self.places[some] - self.starts[shard])

    def _parts(
        self,
        records: Sequence[Record],
        images: slice | NDArray[np.int64],
        take: Callable[[Ledger, Record], NDArray[np.float16]],
    ) -> Iterator[tuple[slice, NDArray[np.float16]]]:
        asked = np.arange(images.start, images.stop) if isinstance(images, slice) else images
        ledger = Ledger(open_objects(self.where), self.data)
        edges = np.searchsorted(asked, self._bounds)
        for shard in np.flatnonzero(np.diff(edges)).tolist():
            some = slice(int(edges[shard]), int(edges[shard + 1]))
            rows = self.places[asked[some]] - self.starts[shard]
            yield some, np.array(take(ledger, records[shard])[rows])


def _logits(ledger: Ledger, record: Record) -> NDArray[np.float16]:
    return ledger.read(record).logits


def _features(ledger: Ledger, record: Record) -> NDArray[np.float16]:
    return ledger.read_features(record).features
