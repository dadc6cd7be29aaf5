"""Searches whose result is found without probabilities of all classes: by likelihood, bagged, and of weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.ensembles.bagging import bag, bagged
from overlap.analysis.ensembles.climbing import DIMENSIONS, climb, dimensions
from overlap.analysis.ensembles.forward import Found, forward
from overlap.analysis.ensembles.likelihood import by_likelihood
from tests.analysis.ensembles.zoo import Zoo, softmax
from tests.reference import selection as reference


def zoo_of(models: int, images: int, classes: int, kept: int = 3, seed: int = 0) -> Zoo:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    z = random.normal(0, 1.5, (models, images, classes)) * random.uniform(0.5, 2, (models, 1, 1))
    z[:, np.arange(images), labels] += random.normal(1.5, 1, images)
    return Zoo(softmax(z), labels, kept)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None)
def test_by_likelihood_is_plain_python(models: int, images: int, seed: int, zeros: bool) -> None:
    random = np.random.default_rng(seed)
    likelihood = random.random((models, images)).astype(np.float32)
    if zeros:
        likelihood[random.random(likelihood.shape) < 0.3] = 0
    found = by_likelihood("x", likelihood, max_size=5)
    for step, member in enumerate(found.members):
        # Of models whose NLLs are equal but for rounding any may be taken, so each step is judged by itself.
        values = reference.nlls(likelihood.astype(float).tolist(), found.members[:step])
        assert -found.values[step] == pytest.approx(values[member], abs=1e-9)
        assert values[member] == pytest.approx(min(values), abs=1e-9)
    assert found.objective == found.kind == "nll"


def test_identical_models_and_anchors_by_likelihood() -> None:
    likelihood = np.full((3, 10), 0.5, np.float32)
    assert by_likelihood("x", likelihood, max_size=4).members == (0, 0, 0, 0)
    assert by_likelihood("x", likelihood, anchor=2, max_size=2).members == (2, 0)
    assert by_likelihood("x", likelihood[:, :0]).reason == "the selection split has no image"


@pytest.mark.parametrize("pieces", [1, 3])
def test_bagged_is_the_mean_of_its_bags(pieces: int) -> None:
    zoo = zoo_of(7, 60, 5)
    names = [f"m{number}" for number in range(7)]
    found = bagged("x", zoo.parts(pieces), 60, names, bags=4, max_size=4)
    weights = np.zeros(7)
    for number in range(4):
        pool = bag(names, number)
        assert len(pool) == 4
        steps = reference.forward(zoo.scores, zoo.truth, 4, pool=pool)
        best = max(range(4), key=lambda step: (steps[step][1], -step)) + 1
        for model, _ in steps[:best]:
            weights[model] += 1 / best / 4
    assert dict(found.weights) == pytest.approx({model: weight for model, weight in enumerate(weights) if weight})
    assert len({tuple(bag(names, number)) for number in range(4)}) > 1
    assert bag(names[:1], 0) == [0]


def test_bags_that_find_nothing() -> None:
    zoo = Zoo(np.tile(np.float32([0.6, 0.4]), (2, 5, 1)), np.ones(5, int), 2)
    found = bagged("x", zoo.parts(), 5, ["a", "b"], bags=2)
    assert (found.chosen, found.reason) == ((), "no model is right on any image of the selection split")


@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_weighed_images_are_those_of_plain_python(seed: int, pieces: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    zoo = zoo_of(5, 30, 4, kept=4, seed=seed)
    if ties:
        zoo = Zoo((random.integers(0, 5, (5, 30, 4)) / 16).astype(np.float32), random.integers(0, 4, 30), 4)
    models = np.sort(random.choice(5, 3, replace=False))
    weights = random.integers(0, 4, (6, 3)) / 4
    expected = [
        reference.weighted_right(zoo.scores, dict(zip(models.tolist(), row.tolist(), strict=True)), zoo.truth)
        if row.any()
        else 0
        for row in weights
    ]
    assert zoo.parts(pieces).weighed(models, weights).tolist() == expected


def test_climbing_finds_the_best_weights_of_two() -> None:
    random = np.random.default_rng(1)
    likelihood = random.beta(2, 1, (2, 500))

    def score(weights: np.ndarray) -> np.ndarray:
        return np.array([np.log(row / row.sum() @ likelihood).mean() for row in weights])

    before = np.random.get_state()[1].copy()
    start = Found("greedy", "forward", (0,), (1.0,))
    found = climb("x", score, [0, 1], start, "nll")
    assert (np.random.get_state()[1] == before).all(), "the random numbers of the process are left alone"
    grid = np.linspace(0, 1, 2001)[1:-1]
    best = max(score(np.array([[weight, 1 - weight]]))[0] for weight in grid)
    assert found.values[0] >= best - 1e-6
    assert sum(weight for _, weight in found.weights) == pytest.approx(1)
    assert min(weight for _, weight in found.weights) > 0
    assert climb("x", score, [0, 1], start, "nll") == found


def test_climbing_is_never_worse_than_its_start() -> None:
    zoo = zoo_of(6, 120, 5)
    parts = zoo.parts(2)
    start = forward("greedy", parts, 120)
    models = dimensions([start], parts.single)
    assert models == list(range(6))
    found = climb(
        "x", lambda weights: parts.weighed(np.array(models), weights).astype(float), models, start, "accuracy"
    )
    assert (
        found.values[0]
        >= parts.weighed(np.array(models), np.array([[dict(start.chosen).get(m, 0) for m in models]]))[0]
    )
    alone = climb("x", lambda weights: np.zeros(len(weights)), [3], start, "accuracy")
    assert alone.weights == ((3, 1.0),)


def test_the_models_to_weigh_are_bounded() -> None:
    single = np.arange(100)
    start = Found("greedy", "forward", tuple(range(40)), tuple(range(40)))
    assert dimensions([start], single) == list(range(DIMENSIONS))
    assert dimensions([Found("x", "forward", (5, 5, 3), (1, 2, 3))], single) == [3, 5, *range(72, 100)]
