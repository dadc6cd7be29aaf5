"""Some of the pairs of M models, and figures that are known of these alone.

Guarantees: pairs are in the order of the table of pairs; a figure that is asked of another pair is an error and never a
number. Memory: 16 bytes a pair, and what is known of it; nothing for each two models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.pairs import Categories, pair_indices

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SomePairs:
    """Pairs of M models.

    Attributes:
        models: M.
        first: (P,) first model of each pair.
        second: (P,) its second, which comes after the first; by first and then second in ascending order.
    """

    models: int
    first: Indices
    second: Indices

    def __len__(self) -> int:
        """P."""
        return len(self.first)

    @cached_property
    def numbers(self) -> Indices:
        """(P,) ascending: a number for each pair."""
        return self.first * self.models + self.second

    def inside(self, rows: Sequence[int]) -> NDArray[np.bool_]:
        """(P,): whether both models of a pair are among some."""
        taken = np.zeros(self.models, np.bool_)
        taken[list(rows)] = True
        return np.asarray(taken[self.first] & taken[self.second])

    def among(self, rows: Sequence[int]) -> SomePairs:
        """The pairs of some of the models, in ascending order, renumbered."""
        place = np.full(self.models, -1)
        place[list(rows)] = np.arange(len(rows))
        held = self.inside(rows)
        return SomePairs(len(rows), place[self.first[held]], place[self.second[held]])

    def places(self, first: Indices, second: Indices) -> Indices:
        """(Q,): where pairs are among these, in either order of their models; -1 where they are not."""
        wanted = np.minimum(first, second) * self.models + np.maximum(first, second)
        place = np.searchsorted(self.numbers, wanted)
        found = self.numbers[np.minimum(place, len(self) - 1)] == wanted if len(self) else np.zeros(len(wanted), bool)
        return np.where(found, place, -1)


@dataclass(frozen=True, eq=False)
class OfPairs:
    """Figures of some pairs, asked as an array (M, M): `[first, second]` gives those of pairs among these.

    Attributes:
        pairs: P of them.
        values: (P,) of `[first, second]`.
        mirrored: (P,) of `[second, first]`; None where it is the same.
        own: (M,) the diagonal; None where there is none.
    """

    pairs: SomePairs
    values: NDArray[Any]
    mirrored: NDArray[Any] | None = None
    own: NDArray[Any] | None = None

    def __len__(self) -> int:
        """M."""
        return self.pairs.models

    def __getitem__(self, place: tuple[Indices, Indices]) -> NDArray[Any]:
        """Of pairs, (Q,) places of their models each.

        Raises:
            ValueError: a pair is not among these.
        """
        first, second = place
        found = self.pairs.places(first, second)
        if (found < 0).any():
            raise ValueError(f"{int((found < 0).sum())} pairs of which no figures were made")
        if self.mirrored is None:
            return self.values[found]
        return np.where(first < second, self.values[found], self.mirrored[found])

    def __sub__(self, number: int) -> OfPairs:
        """Less a number, everywhere."""
        less = (None if values is None else values - number for values in (self.mirrored, self.own))
        return OfPairs(self.pairs, self.values - number, *less)

    def diagonal(self) -> NDArray[Any]:
        """(M,) of each model itself.

        Raises:
            ValueError: there is none.
        """
        if self.own is None:
            raise ValueError("figures of pairs alone")
        return self.own

    def among(self, rows: Sequence[int]) -> OfPairs:
        """Those of some of the models, in ascending order."""
        held, chosen = self.pairs.inside(rows), list(rows)
        mirrored = None if self.mirrored is None else self.mirrored[held]
        own = None if self.own is None else self.own[chosen]
        return OfPairs(self.pairs.among(rows), self.values[held], mirrored, own)


Square = NDArray[Any] | OfPairs
"""Figures of pairs: an array (M, M), or what is asked as one."""


def taken(models: int, rows: slice = slice(None), pairs: SomePairs | None = None) -> tuple[Indices, Indices]:
    """First and second model, (P,) each, of a range of some pairs; without them of all pairs of so many models.

    Raises:
        ValueError: pairs of another number of models.
    """
    if pairs is None:
        return pair_indices(models, rows)
    if pairs.models != models:
        raise ValueError(f"pairs of {pairs.models} models for {models}")
    return pairs.first[rows], pairs.second[rows]


def categorised(models: Sequence[str], categories: Categories, pairs: SomePairs | None = None) -> pl.DataFrame:
    """model_a, model_b and category of some pairs of M models, or of all, in the order of the table of pairs."""
    first, second = taken(len(models), pairs=pairs)
    names = pl.Series(models, dtype=pl.String())
    held = pl.Series(categories[first, second].tolist(), dtype=pl.String())
    return pl.DataFrame({"model_a": names.gather(first), "model_b": names.gather(second), "category": held})
