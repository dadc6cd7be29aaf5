"""Searches whose counts are open by a few images: certain picks, or an end that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.ensembles.forward import Allowed
from overlap.analysis.tops.search import Grown, Members, first_of, grow, spend
from overlap.analysis.tops.tables import CHANGED_BY, pair_bounds_table, searches_table, steps_tables, without_undecided
from tests.reference import selection as reference


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=5))
def test_the_first_of_the_largest_is_told_only_where_it_is_certain(bounds: list[tuple[int, int]]) -> None:
    low, is_open = (np.array(values) for values in zip(*bounds, strict=True))
    ends = [range(one, one + more + 1) for one, more in bounds]
    possible = {int(np.argmax(values)) + 1 for values in product(*ends)}
    assert first_of(low, low + is_open) == (possible.pop() if len(possible) == 1 else None)


def right_of(members: Members) -> int:
    """Images right of 100, by which models are there and how often."""
    return 40 + 3 * len(set(members)) + members.count(2) - 2 * max(0, len(members) - 4)


def counting(undecided: int = 0, at: int = -1):
    def count(members: Members, candidates: Sequence[int]) -> np.ndarray:
        right = np.array([right_of((*members, model)) for model in candidates])
        is_open = np.full(len(candidates), undecided if len(members) + 1 == at else 0)
        return np.stack([right - is_open, is_open])

    return count


@dataclass(frozen=True)
class Zoo:
    """A few models on a few images, in probabilities that often tie; and counts of them that are open at places."""

    probabilities: list[list[list[float]]]
    truth: list[set[int]]
    seed: int
    often: float

    @property
    def single(self) -> np.ndarray:
        models = range(len(self.probabilities))
        return np.array([reference.right_together(self.probabilities, [model], self.truth) for model in models])

    def __call__(self, members: Members, candidates: Sequence[int]) -> np.ndarray:
        """Bounds that hold; the same for the same ensemble."""
        found = []
        for model in candidates:
            right = reference.right_together(self.probabilities, [*members, model], self.truth)
            random = np.random.default_rng([self.seed, *members, model])
            wide = random.random() < self.often
            low = right - int(random.integers(0, 3)) * wide
            found.append((max(0, low), right + int(random.integers(0, 3)) * wide - max(0, low)))
        return np.array(found).T


@st.composite
def zoos(draw: st.DrawFn) -> Zoo:
    models, images, classes = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(2, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = (random.integers(0, 8, (models, images, classes)) / 8).tolist()
    truth = [{int(label)} for label in random.integers(0, classes, images)]
    often = draw(st.sampled_from([0.0, 0.05, 0.3]))
    return Zoo(probabilities, truth, draw(st.integers(0, 2**32)), often)


def check(found: Grown, expected: list[tuple[int, int]]) -> None:
    """What was found stands, and is all there is where the search says that it ended."""
    members = [model for model, _ in expected]
    assert members[: len(found.members)] == [*found.members]
    for (_, right), low, more in zip(expected, found.low, found.undecided, strict=False):
        assert low <= right <= low + more
    if found.is_over:
        assert members == [*found.members]
    else:
        assert "leave open" in (found.reason or "")
    if found.is_over and found.size is not None:
        assert found.size == int(np.argmax([right for _, right in expected])) + 1


@given(zoos(), st.booleans(), st.data())
@settings(max_examples=300, deadline=None)
def test_searches_of_pools_and_within_budgets_are_those_of_plain_python(
    zoo: Zoo, replacement: bool, data: st.DataObject
) -> None:
    models = len(zoo.probabilities)
    anchor = data.draw(st.none() | st.integers(0, models - 1))
    pool = data.draw(st.none() | st.lists(st.integers(0, models - 1), min_size=1, unique=True))
    costs = data.draw(st.none() | st.lists(st.sampled_from([1.0, 1.5, 4.0]), min_size=models, max_size=models))
    rate = data.draw(st.booleans()) and costs is not None
    budget = data.draw(st.sampled_from([0.5, 1.0, 3.0, 6.0])) if costs else np.inf
    allowed = Allowed(pool, replacement, None if costs is None else np.array(costs), budget, rate)
    found = grow("x", zoo, zoo.single, max_size=5, anchor=anchor, allowed=allowed)
    affordable = anchor is not None or len(allowed.candidates((), models))
    if not zoo.single.any() or not affordable:
        assert (found.members, found.is_over) == ((), True)
        assert found.reason
        return
    about = {"anchor": anchor, "pool": pool, "replacement": replacement, "costs": costs, "budget": budget}
    check(found, reference.forward(zoo.probabilities, zoo.truth, 5, rate=rate, **about))


@given(zoos(), st.data())
@settings(max_examples=300, deadline=None)
def test_the_better_of_two_rules_is_told_where_it_is_certain(zoo: Zoo, data: st.DataObject) -> None:
    models = len(zoo.probabilities)
    costs = data.draw(st.lists(st.sampled_from([1.0, 1.5, 4.0]), min_size=models, max_size=models))
    budget = data.draw(st.sampled_from([0.5, 1.0, 3.0, 6.0]))
    found = spend("x", zoo, zoo.single, np.array(costs), budget, max_size=5)
    assert found.kind == "budget"
    if not zoo.single.any() or budget < min(costs):
        assert not found.members
        assert ("as little" in (found.reason or "")) == (budget < min(costs))
        return
    check(found, reference.within(zoo.probabilities, zoo.truth, 5, costs, budget))
    if not zoo.often:
        assert found.is_over
        assert found.reason is None


def test_models_of_unknown_cost_are_left_out_and_counted() -> None:
    found = spend("x", counting(), SINGLE, np.array([1.0, 1, np.nan, 1]), 3.0, max_size=4)
    assert 2 not in found.members
    assert found.reason == "1 models of unknown cost are left out"
    undecided = spend("x", counting(5, at=2), SINGLE, np.array([1.0, 1, np.nan, 1]), 3.0, max_size=4)
    assert not undecided.members
    assert "which of two rules" in (undecided.reason or "")


SINGLE = np.array([40, 42, 45, 44])


def test_picks_are_those_of_exact_counts() -> None:
    found = grow("greedy", counting(), SINGLE, max_size=8)
    members: Members = (2,)
    for _ in range(3):
        members = (*members, int(np.argmax([right_of((*members, model)) for model in range(4)])))
    assert found.members[:4] == members
    assert found.reason is None
    assert found.size == int(np.argmax(found.low)) + 1
    assert grow("greedy", counting(), SINGLE, max_size=8, anchor=0).members[0] == 0
    assert grow("greedy", counting(), SINGLE, max_size=1).members == (2,)


def test_a_pick_that_is_not_certain_ends_the_search() -> None:
    found = grow("greedy", counting(2, at=3), SINGLE, max_size=8)
    assert len(found.members) == 2
    assert found.reason is not None
    assert "which of" in found.reason
    assert "at step 3" in found.reason
    nothing = grow("greedy", counting(), np.zeros(4, np.int64), max_size=8)
    assert (nothing.members, nothing.size) == ((), None)


def test_what_undecided_images_could_change_is_null_and_between_its_bounds() -> None:
    table = pl.DataFrame({"model_a": ["a"] * 4, "model_b": [*"bcde"], "combiner": ["x"] * 4, "n": [10] * 4,
                          **{name: [0.5] * 4 for name in CHANGED_BY}})  # fmt: skip
    undecided = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2]])
    found = without_undecided(table, undecided)
    assert found["accuracy"].is_null().to_list() == [False, True, True, True]
    assert found["r00"].is_null().to_list() == [False, True, False, False]
    assert found["conversion_rate"].is_null().to_list() == [False, False, True, True]
    assert found["r11"].is_null().to_list() == [False, False, False, True]
    bounds = pair_bounds_table(table, undecided)
    assert bounds["undecided"].to_list() == [0, 1, 1, 3]
    assert bounds["accuracy_high"].to_list() == pytest.approx([0.5, 0.6, 0.6, 0.8])


def test_steps_with_undecided_images_have_no_accuracy_but_bounds() -> None:
    found = grow("greedy", counting(), SINGLE, max_size=3)
    judged = np.zeros((3, 10), np.int64)
    judged[:, :8] = [[45, 0, 0, 0, 60, 0, 0, 0], [50, 0, 6, 1, 70, 2, 12, 2], [55, 1, 12, 2, 80, 0, 24, 4]]
    steps, bounds = steps_tables([*"abcd"], [found], [judged], 2, (100, 150))
    assert steps["accuracy_select"].to_list() == [0.45, 0.5, None]
    assert steps["accuracy_test"].to_list() == [0.4, None, 80 / 150]
    assert steps["gain_low"].is_null().to_list() == [False, True, False]
    assert steps["gain_low"][0] == 0.0
    assert bounds["accuracy_test_high"].to_list() == [0.4, 72 / 150, 80 / 150]
    costs = {"parameters": np.array([1.0, 2, 3, np.nan])}
    (row,) = searches_table([*"abcd"], [found], [judged], 2, (100, 150), (45, 60), costs).to_dicts()
    assert row["size"] == 3
    assert row["accuracy_select"] is None
    assert row["gain"] == pytest.approx(20 / 150)
