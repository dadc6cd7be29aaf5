"""Pools, their matched controls, budgets, fronts and the sign test over models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.ensembles import budgets, pools
from overlap.analysis.ensembles.weak_helps import ALL, weak_helps_table
from overlap.analysis.pairs import pair_indices
from overlap.analysis.some_pairs import SomePairs
from tests.analysis.ensembles.test_weights import zoo_of
from tests.reference import selection as reference


@given(st.lists(st.integers(0, 12), max_size=4), st.lists(st.integers(0, 12), max_size=4))
@settings(max_examples=80, deadline=None)
def test_as_many_as_can_be_are_matched_as_closely_as_can_be(first: list[int], second: list[int]) -> None:
    a, b = np.array(first) / 256, np.array(second) / 256
    pairs = pools.match(a, b)
    expected, total = reference.matched(dict(enumerate(a.tolist())), dict(enumerate(b.tolist())), pools.CALIPER)
    assert len(pairs) == expected
    assert sum(abs(a[x] - b[y]) for x, y in pairs) == pytest.approx(total)
    assert len({x for x, _ in pairs}) == len({y for _, y in pairs}) == expected


def categories(kinds: dict[int, str], models: int) -> np.ndarray:
    """Of the pairs with model 1; no other pair has a category."""
    found = np.full((models, models), None, object)
    for model, kind in kinds.items():
        found[min(1, model), max(1, model)] = kind
    return found


def test_the_control_has_the_anchors_training_and_equal_accuracies() -> None:
    accuracy = np.array([0.70, 0.9, 0.60, 0.703, 0.605, 0.5, 0.71])
    kinds = {0: "dataset", 2: "framework", 3: "reinit", 4: "architecture", 5: "dataset", 6: "duplicate"}
    weak, limit = pools.below(accuracy, 0.8, 1)
    assert (weak, limit) == ([0, 2, 3, 4, 5, 6], 0.8)
    matched = pools.control(1, weak, accuracy, categories(kinds, 7))
    assert (matched.other, matched.own, matched.of) == ((0, 2), (3, 4), 3)
    inner = pools.control(1, [2, 4], accuracy, categories({2: "architecture", 4: "hyper_parameters"}, 7))
    assert (inner.other, inner.own, inner.level) == ((2,), (4,), ("reinit", "hyper_parameters"))
    assert pools.control(1, weak, accuracy, categories({}, 7)).own == ()


def test_weak_is_below_the_median_where_nothing_is_said() -> None:
    assert pools.below(np.array([0.5, 0.7, 0.6, 0.9]), None, 0) == ([2], pytest.approx(0.65))
    assert pools.below(np.array([0.5, 0.5]), None, 0)[0] == []


@given(st.integers(0, 2**32), st.sampled_from([0.5, 2.0, 5.0, 50.0]))
@settings(max_examples=15, deadline=None)
def test_the_better_rule_within_the_budget(seed: int, budget: float) -> None:
    zoo = zoo_of(5, 40, 4, seed=seed)
    cost = np.random.default_rng(seed).choice([1.0, 1.5, 4.0, np.nan], 5)
    found = budgets.spend("x", zoo.parts(2), 40, cost, budget, max_size=4)
    costs = np.nan_to_num(cost, nan=np.inf).tolist()
    steps = [
        reference.forward(zoo.scores, zoo.truth, 4, costs=costs, budget=budget, rate=rate) for rate in (False, True)
    ]
    best = [max((right for _, right in one), default=-1) for one in steps]
    assert max(found.values, default=-1) == max(best)
    assert sum(cost[model] for model in set(found.members)) <= budget
    if budget < 1:
        assert found.reason == "no model is known to cost as little"
    elif np.isnan(cost).any() and found.members:
        assert found.reason == f"{np.isnan(cost).sum()} models of unknown cost are left out"


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_a_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    places = budgets.front(points)
    assert {points[place] for place in places} == reference.front(points)
    assert len(places) == len({points[place] for place in places})
    assert [points[place] for place in places] == sorted(points[place] for place in places)


def test_points_of_fronts() -> None:
    zoo = zoo_of(4, 40, 4)
    parts = zoo.parts()
    cost = np.array([2.0, np.nan, 1.0, 3.0])
    singles = budgets.alone(parts, cost)
    assert next(one.members for one in singles) == (2,)
    assert all(one.values == (parts.single[one.members[0]],) for one in singles)
    assert all(sum(cost[m] for m in set(one.members)) <= budget for budget, one in budgets.grid(parts, 40, cost))
    assert budgets.grid(parts, 40, np.full(4, np.nan)) == budgets.alone(parts, np.full(4, np.nan)) == []


def test_weak_models_help_by_one_sign_a_model() -> None:
    right = np.array([50, 60, 70, 70, 90])
    #        01    02    03    04     12    13    14    23   24    34
    gain = [0.1, -0.1, -0.2, 0.05, 0.1, 0.1, -0.02, 0.3, 0.1, 0.0]
    table = weak_helps_table(list("abcde"), right, 100, np.array(gain))
    rows = {row["strong"]: row for row in table.iter_rows(named=True)}
    assert (rows["a"]["weak_models"], rows["a"]["share"], rows["a"]["reason"]) == (0, None, "no model is weaker")
    assert (rows["b"]["weak_models"], rows["b"]["helped"], rows["b"]["mean_gain"]) == (1, 1, 0.1)
    assert (rows["c"]["weak_models"], rows["c"]["helped"]) == (2, 1), "d is as accurate"
    assert rows["e"]["mean_gain"] == pytest.approx((0.05 - 0.02 + 0.1 + 0.0) / 4)
    assert rows["b"]["p_value"] is None
    last = table.row(-1, named=True)
    assert last["strong"] == ALL
    # medians: b 0.1, c 0, d -0.05, e 0.025
    assert (last["weak_models"], last["helped"], last["share"]) == (4, 2, 0.5)
    assert last["p_value"] == pytest.approx(reference.sign_test(2, 1))


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_sign_test_is_exact(helped: int, hurt: int) -> None:
    """Model 0 is the weakest; all others are equals, with one weaker partner each."""
    models = helped + hurt + 1
    right = np.array([10] + [20] * (models - 1))
    gain = np.zeros(models * (models - 1) // 2)
    gain[: models - 1] = [0.1] * helped + [-0.1] * hurt
    names = [f"{m:02}" for m in range(models)]
    whole = weak_helps_table(names, right, 30, gain)
    assert (
        weak_helps_table(names, right, 30, gain, SomePairs(models, *pair_indices(models)))
        .drop("reason")
        .equals(whole.drop("reason"))
    )
    last = whole.row(-1, named=True)
    if helped + hurt:
        assert last["p_value"] == pytest.approx(reference.sign_test(helped, hurt))
    else:
        assert (last["p_value"], last["reason"]) == (None, "no two models differ in accuracy")


def test_no_models_and_no_images() -> None:
    assert weak_helps_table([], np.zeros(0, np.int64), 0, np.zeros(0)).rows() == [
        (ALL, None, 0, 0, None, None, None, "no two models differ in accuracy")
    ]
    same = weak_helps_table(["a", "b"], np.zeros(2, np.int64), 0, np.array([np.nan]))
    assert same["accuracy"].null_count() == 3
    with pytest.raises(ValueError, match="2 gains for 1 pairs"):
        weak_helps_table(["a", "b"], np.zeros(2, np.int64), 0, np.zeros(2))
