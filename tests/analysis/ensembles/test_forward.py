"""Certified forward search: step by step that of plain Python, whatever the parts, and with ties everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.ensembles.forward import Allowed, Found, forward
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts
from tests.analysis.ensembles.zoo import Zoo, several, softmax
from tests.reference import selection as reference


def steps(found: Found) -> list[tuple[int, int]]:
    return [(model, int(right)) for model, right in zip(found.members, found.values, strict=True)]


@st.composite
def zoos(draw: st.DrawFn) -> Zoo:
    """Small zoos: random ones; and near-ties: probabilities that are multiples of 1/64, moved by single ulps or not."""
    models, images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 30)), draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["random", "coarse", "ulps", "saturated", "constant"]))
    labels = random.integers(0, classes, images)
    if kind == "random":
        z = random.normal(0, 1.5, (models, images, classes))
        z[:, np.arange(images), labels] += 1
        probabilities = softmax(z)
    elif kind == "constant":
        probabilities = np.full((models, images, classes), np.float32(1 / classes))
    elif kind == "saturated":
        probabilities = softmax(40.0 * random.integers(0, 2, (models, images, classes)))
    else:
        probabilities = (random.integers(0, 16, (models, images, classes)) / 64).astype(np.float32)
        if kind == "ulps":
            moved = np.nextafter(probabilities, random.choice([0, 1], probabilities.shape).astype(np.float32))
            probabilities = np.where(random.random(probabilities.shape) < 0.3, moved, probabilities)
    if draw(st.booleans()):
        labels = several(labels, classes, random)
    return Zoo(probabilities, labels, draw(st.integers(1, 4)))


@given(zoos(), st.integers(1, 4), st.booleans(), st.sampled_from([0, 1 << 20]), st.data())
@settings(max_examples=300, deadline=None)
def test_every_choice_is_that_of_plain_python(
    zoo: Zoo, pieces: int, replacement: bool, held: int, data: st.DataObject
) -> None:
    models = len(zoo.probabilities)
    anchor = data.draw(st.none() | st.integers(0, models - 1))
    pool = data.draw(st.none() | st.lists(st.integers(0, models - 1), min_size=1, unique=True))
    rate = data.draw(st.booleans())
    costs = data.draw(st.none() | st.lists(st.sampled_from([1.0, 1.5, 4.0]), min_size=models, max_size=models))
    budget = data.draw(st.sampled_from([1.0, 3.0, 6.0])) if costs else np.inf
    allowed = Allowed(pool, replacement, None if costs is None else np.array(costs), budget, rate and costs is not None)
    listed = data.draw(st.none() | st.integers(1, zoo.probabilities.shape[2]))
    parts = zoo.parts(min(pieces, len(zoo.labels)), held, listed)
    found = forward("x", parts, len(zoo.labels), anchor=anchor, allowed=allowed, max_size=5)
    if not parts.single.any():
        assert found.members == ()
        return
    expected = reference.forward(
        zoo.scores,
        zoo.truth,
        5,
        anchor=anchor,
        pool=pool,
        replacement=replacement,
        costs=costs,
        budget=budget,
        rate=allowed.rate,
    )
    assert steps(found) == expected
    assert found.uncertified is None or 0 <= found.uncertified <= 1


def test_look_ups_are_few_and_certain_candidates_are_never_read() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 100, 400)
    z = random.normal(0, 1, (20, 400, 100)) * random.uniform(1, 3, (20, 1, 1))
    z[:, np.arange(400), labels] += random.normal(4, 2, 400)
    zoo = Zoo(softmax(z), labels, 16)
    parts = zoo.parts(3)
    found = forward("x", parts, 400, max_size=6)
    assert steps(found) == reference.forward(zoo.scores, zoo.truth, len(found.members))
    assert found.uncertified is not None
    assert found.uncertified < 0.02
    looked_up = sum(images for _, images in zoo.asked if images < 100)
    assert looked_up == parts.looked_up < 400
    whole = zoo.parts(1)
    again = forward("x", whole, 400, max_size=6)
    assert again == found


def test_what_is_held_saves_reading_and_changes_nothing() -> None:
    random = np.random.default_rng(4)
    zoo = Zoo(softmax(random.normal(0, 2, (5, 60, 9))), random.integers(0, 9, 60), 3)
    first = forward("x", zoo.parts(2), 60)
    asked = len(zoo.asked)
    parts = zoo.parts(2, 1 << 20)
    zoo.asked.clear()
    assert forward("x", parts, 60) == first
    before = len(zoo.asked)
    assert forward("x", parts, 60) == first
    assert before < asked
    assert not [images for _, images in zoo.asked[before:] if images == 30]


def test_probabilities_that_differ_by_rounding_are_left_open() -> None:
    """Another machine made the kept values: those that were looked up decide."""
    random = np.random.default_rng(5)
    zoo = Zoo((random.integers(0, 9, (6, 80, 5)) / 32).astype(np.float32), random.integers(0, 5, 80), 2)
    for one in zoo.largest:
        one.values[:] = np.nextafter(one.values, random.choice([0, 1], one.values.shape).astype(np.float32))
    found = forward("x", zoo.parts(2), 80, max_size=6)
    assert (
        steps(found)[1:] == reference.forward(zoo.scores, zoo.truth, 6, anchor=found.members[0])[1 : len(found.members)]
    )


def test_a_look_up_that_fails_is_asked_again() -> None:
    random = np.random.default_rng(7)
    zoo = Zoo(softmax(random.normal(0, 2, (5, 60, 9))), random.integers(0, 9, 60), 2)
    expected = forward("x", zoo.parts(), 60)
    failures = iter([False, True, True, False, True] + [False] * 1000)

    def full(model: int, images: np.ndarray) -> np.ndarray:
        if next(failures):
            raise ConnectionError("the store is away")
        return zoo.probabilities[model][images]

    part = Part(zoo.largest, zoo.labels, np.arange(60), full, 9)

    def call(method: str, arguments: tuple[Any, ...]) -> list[np.ndarray]:
        for _ in range(4):
            try:
                return [getattr(part, method)(*arguments)]
            except ConnectionError:
                continue
        raise AssertionError("asked four times")

    assert forward("x", Parts(call), 60) == expected
    assert next(failures) is False


def test_nothing_to_choose_from() -> None:
    random = np.random.default_rng(6)
    zoo = Zoo(softmax(random.normal(0, 2, (3, 20, 4))), random.integers(0, 4, 20), 2)
    none = forward("x", zoo.parts(), 20, allowed=Allowed(pool=()))
    assert (none.members, none.best, none.chosen) == ((), 0, ())
    assert none.reason == "no model can be chosen"
    alone = forward("x", zoo.parts(), 20, anchor=1, allowed=Allowed(pool=()))
    assert alone.members == (1,)
    unpaid = Allowed(cost=np.array([np.nan, 2.0, np.nan]), budget=5)
    assert set(forward("x", zoo.parts(), 20, allowed=unpaid).members) == {1}


@pytest.mark.parametrize("pieces", [1, 4])
def test_no_model_is_ever_right(pieces: int) -> None:
    zoo = Zoo(np.tile(np.float32([0.6, 0.3, 0.1]), (2, 8, 1)), np.full(8, 2), 2)
    found = forward("x", zoo.parts(pieces), 8)
    assert found.reason == "no model is right on any image of the selection split"
