"""Which pairs of a very large zoo have detailed measures: as many of each category as can be, chosen by hash.

Guarantees: a pair's number depends on the identities of its two models alone, and within a category the pairs of the
lowest numbers are chosen: of two pairs of one category whose lower one is not chosen, neither is, whoever else is in
the zoo. So a further model displaces a chosen pair only by pairs of its own with lower numbers, or where room goes to
another category that has grown. Never more pairs than are asked for, and as many where there are so many; every
category that has a pair has one that is chosen, where as many pairs as categories may be. Equal numbers, of models that
are the same, come in the order of the table. Memory: a range of pairs at a time, and twice what may be chosen for each
category.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.pair_categories import PairCategories
from overlap.analysis.pairs import CATEGORIES, pair_count, pair_indices, pairs_at
from overlap.analysis.some_pairs import Indices, SomePairs

Numbers = NDArray[np.uint64]

STRATA: tuple[str | None, ...] = (*CATEGORIES, None)
"""What is chosen of each by itself; last the pairs without a category."""
ROWS = 1 << 20
"""Pairs whose numbers are held at a time."""
NOTE = (
    "detailed measures are of {}: `divergence`, `divergence_categories`, `category_tests`, `axes`, `specialisation`, "
    "`specialisation_categories`, `theta`, `pair_ensembles`, `gain_fits`, `weak_helps`, gains in `categories` and the "
    "best pair are of these, and nothing is tested by permuting models; `pairs`, what `categories` says beside gains, "
    "`difficulty`, scores of classes and groups, and searches are of all"
)


@dataclass(frozen=True, eq=False)
class Detail:
    """The pairs that detailed measures are made for.

    Attributes:
        pairs: those that were chosen; None where all are.
        shares: category, how many were chosen of how many, for each that has a pair; none where all are.
    """

    pairs: SomePairs | None = None
    shares: tuple[tuple[str | None, int, int], ...] = ()

    @property
    def provenance(self) -> dict[str, str]:
        """How many of how many, by category; nothing where all are."""
        if self.pairs is None:
            return {}
        by_category = (f"{name or 'no category'} {chosen:,} of {total:,}" for name, chosen, total in self.shares)
        total = sum(total for *_, total in self.shares)
        return {"detailed_pairs": f"{len(self.pairs):,} of {total:,} pairs, chosen by hash ({', '.join(by_category)})"}

    @property
    def notes(self) -> list[str]:
        """What a reader must know of it, with what is of all pairs all the same."""
        return [NOTE.format(told) for told in self.provenance.values()]


def choose(identities: Sequence[str], categories: PairCategories, most: int, rows: int = ROWS) -> Detail:
    """Choose at most so many pairs of M models; all of them where there are no more.

    Args:
        identities: of the M models, what each is known by wherever it is met: the digest of its weights.
        categories: of their pairs.
        most: pairs, one at least.
        rows: pairs that are looked at together; it changes nothing.
    """
    models = len(identities)
    if pair_count(models) <= most:
        return Detail()
    model = np.array([int.from_bytes(sha256(one.encode()).digest()[:8]) for one in identities], np.uint64)
    lowest = [_Lowest(most) for _ in STRATA]
    for start in range(0, pair_count(models), rows):
        first, second = pair_indices(models, slice(start, start + rows))
        stratum = categories.numbers(first, second) % len(STRATA)  # -1 stands last
        number = pair_numbers(model[first], model[second])
        for place, held in enumerate(lowest):
            here = np.flatnonzero(stratum == place)
            held.add(number[here], start + here)
    wanted = quotas([held.total for held in lowest], most)
    places = np.sort(np.concatenate([held.taken(share) for held, share in zip(lowest, wanted, strict=True)]))
    shares = zip(STRATA, wanted, (held.total for held in lowest), strict=True)
    return Detail(SomePairs(models, *pairs_at(models, places)), tuple(one for one in shares if one[2]))


def pair_numbers(one: Numbers, other: Numbers) -> Numbers:
    """(P,): a number of each pair from those of its two models, in either order, as good as random (splitmix64)."""
    return _mixed(np.minimum(one, other) + _mixed(np.maximum(one, other)))


def quotas(totals: Iterable[int], most: int) -> list[int]:
    """How many of so many of each kind, together at most so many: equal shares, and what rare ones leave."""
    held = list(totals)
    found, left = [0] * len(held), sum(total > 0 for total in held)
    for place in sorted(range(len(held)), key=held.__getitem__):
        if held[place]:
            found[place] = min(held[place], most // left)
            most, left = most - found[place], left - 1
    return found


def _mixed(x: Numbers) -> Numbers:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014); arithmetic is modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


@dataclass(eq=False)
class _Lowest:
    """The pairs of the lowest numbers among those that were added in their order."""

    most: int
    total: int = 0
    numbers: Numbers = field(default_factory=lambda: np.empty(0, np.uint64))
    places: Indices = field(default_factory=lambda: np.empty(0, np.int64))
    limit: np.uint64 = field(default_factory=lambda: np.uint64(np.iinfo(np.uint64).max))

    def add(self, numbers: Numbers, places: Indices) -> None:
        self.total += len(places)
        low = numbers <= self.limit
        self.numbers = np.concatenate([self.numbers, numbers[low]])
        self.places = np.concatenate([self.places, places[low]])
        if len(self.places) > 2 * self.most:
            self._keep(self.most)
            self.limit = self.numbers.max()

    def taken(self, share: int) -> Indices:
        self._keep(share)
        return self.places

    def _keep(self, share: int) -> None:
        kept = np.sort(np.argsort(self.numbers, kind="stable")[:share])
        self.numbers, self.places = self.numbers[kept], self.places[kept]
