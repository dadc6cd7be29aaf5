"""Which pairs of a zoo have detailed measures: against sorting them all, and what a further model may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.detail import STRATA, Detail, choose, pair_numbers, quotas
from overlap.analysis.pairs import pair_count, pair_indices, pairs_at
from overlap.analysis.some_pairs import OfPairs, SomePairs, taken
from overlap.methodology import Training, pair_categories

AXIS = st.sampled_from([None, "one", "one", "other"])
MODEL = st.tuples(AXIS, AXIS, AXIS, AXIS)
ZOOS = st.lists(MODEL, min_size=3, max_size=24)


def chosen(zoo: list[tuple[str | None, ...]], most: int, names: list[str] | None = None, rows: int = 7) -> Detail:
    models = [f"m{place:02}" for place in range(len(zoo))]
    told = [Training(dataset=a, framework=b, architecture=c, hyper_parameters=d) for a, b, c, d in zoo]
    categories = pair_categories(models, told, [None] * len(zoo))
    return choose(names or [f"fingerprint of {model}" for model in models], categories, most, rows)


def of(detail: Detail) -> set[tuple[int, int]]:
    assert detail.pairs is not None
    return {*zip(detail.pairs.first.tolist(), detail.pairs.second.tolist(), strict=True)}


def by_sorting(zoo: list[tuple[str | None, ...]], most: int) -> set[tuple[int, int]]:
    """Every pair with its category and its number, sorted."""
    from hashlib import sha256

    def mixed(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    models = [f"m{place:02}" for place in range(len(zoo))]
    told = [Training(dataset=a, framework=b, architecture=c, hyper_parameters=d) for a, b, c, d in zoo]
    categories = pair_categories(models, told, [None] * len(zoo))
    model = [int(sha256(f"fingerprint of {one}".encode()).hexdigest()[:16], 16) for one in models]
    held: dict[str | None, list[tuple[int, int, int]]] = {}
    for a in range(len(zoo)):
        for b in range(a + 1, len(zoo)):
            low, high = sorted((model[a], model[b]))
            category = categories[np.array(a), np.array(b)]
            held.setdefault(category, []).append((mixed((low + mixed(high)) % 2**64), a, b))
    found, left, kinds = set(), most, len(held)
    for place in sorted(held, key=lambda one: (len(held[one]), STRATA.index(one))):
        share = min(len(held[place]), left // kinds)
        found |= {(a, b) for _, a, b in sorted(held[place])[:share]}
        left, kinds = left - share, kinds - 1
    return found


@given(ZOOS, st.integers(1, 120))
@settings(deadline=None)
def test_the_choice_is_that_of_sorting_all_pairs(zoo: list[tuple[str | None, ...]], most: int) -> None:
    detail, total = chosen(zoo, most), pair_count(len(zoo))
    if total <= most:
        assert detail.pairs is None
        assert (detail.provenance, detail.notes) == ({}, [])
        return
    assert detail.pairs is not None
    assert of(detail) == by_sorting(zoo, most)
    assert len(detail.pairs) == most, "as many as may be, and no more"
    assert (np.diff(detail.pairs.numbers) > 0).all(), "in the order of the table"
    assert sum(share for _, share, _ in detail.shares) == most
    assert sum(whole for *_, whole in detail.shares) == total
    if most >= len(detail.shares):
        assert all(share > 0 for _, share, _ in detail.shares), "every category has one"
    assert detail.provenance["detailed_pairs"].startswith(f"{most:,} of {total:,} pairs, chosen by hash (")
    assert all(of(chosen(zoo, most, rows=rows)) == of(detail) for rows in (1, 1000)), "whatever the range"


@given(ZOOS, MODEL, st.integers(1, 120))
@settings(deadline=None)
def test_a_further_model_displaces_a_pair_by_its_own_pairs_or_by_rarer_ones(
    zoo: list[tuple[str | None, ...]], added: tuple[str | None, ...], most: int
) -> None:
    """Within a category an old pair goes only if fewer are chosen of it, or for a pair of the newcomer."""
    if pair_count(len(zoo)) <= most:
        return
    before, after = chosen(zoo, most), chosen([*zoo, added], most)
    old = {pair for pair in of(after) if pair[1] < len(zoo)}
    told = {name: (share, whole) for name, share, whole in before.shares}
    models = [f"m{place:02}" for place in range(len(zoo) + 1)]
    axes = [Training(dataset=a, framework=b, architecture=c, hyper_parameters=d) for a, b, c, d in [*zoo, added]]
    categories = pair_categories(models, axes, [None] * len(models))
    for name, share, _ in after.shares:
        here = {pair for pair in of(before) if categories[pair] == name}
        still = {pair for pair in old if categories[pair] == name}
        new = sum(1 for pair in of(after) - old if categories[pair] == name)
        if share <= told.get(name, (0, 0))[0]:
            assert still <= here, "what was not chosen is not chosen now"
        assert len(here - still) <= new + max(0, told.get(name, (0, 0))[0] - share)


def test_names_and_their_order_do_not_matter() -> None:
    zoo = [("d", "f", "a" if place % 3 else "b", "h") for place in range(20)]
    names = [f"fingerprint {place}" for place in range(20)]
    turned = chosen(zoo[::-1], 30, names[::-1])
    assert {(19 - b, 19 - a) for a, b in of(turned)} == of(chosen(zoo, 30, names))


def test_every_pair_is_as_likely_as_another() -> None:
    """Over zoos of other fingerprints, each pair is among a tenth of the pairs about a tenth of the time."""
    times = np.zeros((12, 12))
    for zoo in range(400):
        for a, b in of(chosen([("d", "f", "a", "h")] * 12, 6, [f"{zoo} {place}" for place in range(12)])):
            times[a, b] += 1
    held = times[pair_indices(12)]
    assert held.sum() == 400 * 6
    assert abs(held - held.mean()).max() < 4.5 * np.sqrt(held.mean())


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_shares_are_equal_but_for_what_rare_kinds_leave(totals: list[int], most: int) -> None:
    found = quotas(totals, most)
    assert sum(found) == min(most, sum(totals))
    assert all(0 <= share <= total for share, total in zip(found, totals, strict=True))
    cut = [share for share, total in zip(found, totals, strict=True) if share < total]
    assert max(cut, default=0) - min(cut, default=0) <= 1
    assert all(share <= max(cut, default=share) for share in found)


def test_pairs_are_the_same_in_either_order_and_places_are_those_of_the_table() -> None:
    one, other = np.random.default_rng(0).integers(0, 2**63, (2, 100)).astype(np.uint64)
    assert (pair_numbers(one, other) == pair_numbers(other, one)).all()
    first, second = pair_indices(9)
    places = np.array([0, 7, 8, 35])
    assert [part.tolist() for part in pairs_at(9, places)] == [first[places].tolist(), second[places].tolist()]


def test_figures_of_some_pairs_are_asked_as_a_square_is() -> None:
    first, second = pair_indices(6)
    square = np.random.default_rng(0).integers(0, 100, (6, 6))
    held = np.array([1, 2, 6, 9, 14])
    some = SomePairs(6, first[held], second[held])
    figures = OfPairs(some, square[some.first, some.second], square[some.second, some.first], square.diagonal())
    assert figures[some.first, some.second].tolist() == square[some.first, some.second].tolist()
    assert figures[some.second, some.first].tolist() == square[some.second, some.first].tolist()
    assert (figures - 3)[some.first, some.second].tolist() == (square[some.first, some.second] - 3).tolist()
    rows = [0, 2, 3, 5]
    among, less = figures.among(rows), square[np.ix_(rows, rows)]
    pairs = among.pairs
    assert among[pairs.first, pairs.second].tolist() == less[pairs.first, pairs.second].tolist()
    assert among.diagonal().tolist() == less.diagonal().tolist()
    with pytest.raises(ValueError, match="of which no figures were made"):
        figures[np.array([0]), np.array([1])]
    with pytest.raises(ValueError, match="pairs of 6 models for 5"):
        taken(5, pairs=some)
