"""Specialisation of pairs against plain loops; its error rates where nothing is specialised; degenerate zoos."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import fdtrc
from scipy.stats import binomtest

from overlap.analysis.specialisation.angles import UNITS, angles
from overlap.analysis.specialisation.groups import ClassGroups
from overlap.analysis.specialisation.spread import LEVEL, PARTS, SCHEMA, STATISTICS, specialisation
from tests.analysis.specialisation.confidences import categories_of, zoo
from tests.reference import specialisation as reference

GROUPS = ClassGroups(("even", "odd", "rare"), np.array([0, 1, 0, 1, 0, 1, 2, -1], np.int32))


def names(models: int) -> list[str]:
    return [f"m{model:02}" for model in range(models)]


def degrees(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[float]:
    found = np.empty(len(first), np.int32)
    angles(first, second, found)
    return [value / UNITS for value in found.tolist()]


def spread(found: tuple[float, float, float, float] | None) -> float | None:
    return None if found is None else float(np.sqrt(max(0.0, found[0])))


def expected(theta: list[float], labels: list[int], a: list[bool], b: list[bool]) -> dict[str, Any]:
    only_a = reference.mean([t for t, x, y in zip(theta, a, b, strict=True) if x and not y])
    only_b = reference.mean([t for t, x, y in zip(theta, a, b, strict=True) if y and not x])
    by_class = reference.variance_between(reference.by_level(labels, theta))
    classes = sorted(set(labels))
    means = [sum(t for t, y in zip(theta, labels, strict=True) if y == c) / labels.count(c) for c in classes]
    grouped = [(int(GROUPS.of_class[c]), m) for c, m in zip(classes, means, strict=True) if GROUPS.of_class[c] >= 0]
    by_group = reference.variance_between(reference.by_level([g for g, _ in grouped], [m for _, m in grouped]))
    return {
        "n_inconsistent": sum(x != y for x, y in zip(a, b, strict=True)),
        "theta_only_a": only_a,
        "theta_only_b": only_b,
        "theta_separation": None if only_a is None or only_b is None else only_a - only_b,
        "class_spread": spread(by_class),
        "class_spread_p": None if by_class is None else float(fdtrc(by_class[2], by_class[3], by_class[1])),
        "group_spread": spread(by_group),
        "group_spread_p": None if by_group is None else float(fdtrc(by_group[2], by_group[3], by_group[1])),
    }


def favours(labels: NDArray[Any], a: NDArray[np.bool_], b: NDArray[np.bool_]) -> dict[str, str | None]:
    lead = {}
    for group, name in enumerate(GROUPS.names):
        member = GROUPS.of_class[labels] == group
        plus, minus = int((a & ~b & member).sum()), int((b & ~a & member).sum())
        if plus + minus and 2 * binomtest(min(plus, minus), plus + minus, alternative="less").pvalue <= LEVEL / 3:
            lead[name] = (plus - minus) / member.sum()
    ahead, behind = max(lead, key=lambda n: lead[n], default=None), min(lead, key=lambda n: lead[n], default=None)
    return {
        "favours_a": ahead if ahead is not None and lead[ahead] > 0 else None,
        "favours_b": behind if behind is not None and lead[behind] < 0 else None,
    }


def test_every_column_is_that_of_the_plain_loops() -> None:
    confidence, correct, labels = zoo(5, 400, 8, seed=1)
    correct[0, labels % 2 == 0] = True  # one that is better at even classes
    correct[1, (labels % 2 == 1) & (np.arange(400) % 3 > 0)] = True
    table = specialisation(names(5), confidence, correct, labels, categories_of(5), GROUPS).table
    assert dict(table.schema) == SCHEMA
    told = set()
    for row, (a, b) in zip(table.iter_rows(named=True), combinations(range(5), 2), strict=True):
        assert (row["model_a"], row["model_b"], row["category"]) == (f"m{a:02}", f"m{b:02}", categories_of(5)[a, b])
        wanted = expected(
            degrees(confidence[a], confidence[b]), labels.tolist(), correct[a].tolist(), correct[b].tolist()
        )
        for name, value in wanted.items():
            assert row[name] == (None if value is None else pytest.approx(value, rel=1e-7, abs=1e-9)), name
        assert {name: row[name] for name in ("favours_a", "favours_b")} == favours(labels, correct[a], correct[b])
        told |= {row["favours_a"], row["favours_b"]}
    assert {"even", "odd", None} <= told


def test_what_is_left_out_is_one_part_of_the_images_after_the_other() -> None:
    confidence, correct, labels = zoo(3, 90, 4, seed=2)
    found = specialisation(names(3), confidence, correct, labels, None, GROUPS)
    part = np.empty(90, np.int64)
    part[np.argsort(labels, kind="stable")] = np.arange(90) % PARTS
    assert found.without.shape == (3, PARTS, len(STATISTICS))
    for number in range(PARTS):
        kept = part != number
        rest = specialisation(names(3), confidence[:, kept], correct[:, kept], labels[kept], None, GROUPS).table
        np.testing.assert_allclose(found.without[:, number], rest.select(STATISTICS).to_numpy(), rtol=1e-9, atol=1e-9)


def test_ranges_of_pairs_are_the_whole_and_the_order_of_images_is_nothing() -> None:
    confidence, correct, labels = zoo(8, 300, 8)
    whole = specialisation(names(8), confidence, correct, labels, categories_of(8), GROUPS)
    parts = [
        specialisation(names(8), confidence, correct, labels, categories_of(8), GROUPS, rows=rows)
        for rows in (slice(0, 5), slice(5, 6), slice(6, 28))
    ]
    assert pl.concat([part.table for part in parts]).equals(whole.table)
    np.testing.assert_array_equal(np.concatenate([part.without for part in parts]), whole.without)
    shuffled = np.random.default_rng(0).permutation(300)
    other = specialisation(
        names(8), confidence[:, shuffled], correct[:, shuffled], labels[shuffled], categories_of(8), GROUPS
    )
    assert other.table.equals(whole.table)


def test_the_first_accepted_class_stands_for_an_image() -> None:
    confidence, correct, labels = zoo(3, 100, 8)
    several = np.stack([labels, np.where(np.arange(100) % 2, 3, -1)], axis=1).astype(np.int32)
    one = specialisation(names(3), confidence, correct, labels, None, GROUPS).table
    assert specialisation(names(3), confidence, correct, several, None, GROUPS).table.equals(one)


def simulated(random: np.random.Generator, of_class: float, of_group: float) -> pl.DataFrame:
    """40 unrelated pairs, 24 classes in 4 groups of very different size and noise; spreads of theta in degrees."""
    labels = np.repeat(np.arange(24), random.integers(8, 60, 24)).astype(np.int32)
    group = np.arange(24) % 4
    noise = np.geomspace(0.2, 10, 24)[random.permutation(24)][labels]
    tables = []
    for _ in range(40):
        shift = random.normal(0, of_class, 24) + random.normal(0, of_group, 4)[group]
        theta = np.clip(shift[labels] + noise * random.standard_normal(len(labels)), -40, 40)
        confidence = 0.9 * np.stack([np.sin(np.radians(theta + 45)), np.cos(np.radians(theta + 45))])
        groups = ClassGroups(("a", "b", "c", "d"), group.astype(np.int32))
        correct = np.stack([theta > 0, theta < 2])
        tables.append(specialisation(["a", "b"], confidence, correct, labels, None, groups).table)
    return pl.concat(tables)


def test_p_values_hold_their_level_where_classes_differ_in_noise_alone_and_find_what_is_there() -> None:
    random = np.random.default_rng(5)
    null = pl.concat([simulated(random, 0, 0) for _ in range(15)])
    assert 0.03 < (null["class_spread_p"] < 0.05).mean() < 0.075, "600 pairs, standard error 0.009"
    assert (null["class_spread"] == 0).mean() > 0.3, "the noise is taken off"
    classes = pl.concat([simulated(random, 3, 0) for _ in range(15)])
    assert (classes["class_spread_p"] < 0.05).mean() > 0.99
    assert 0.03 < (classes["group_spread_p"] < 0.05).mean() < 0.075, "classes that differ are no groups that do"
    grouped = simulated(random, 0.5, 4)
    assert (grouped["group_spread_p"] < 0.05).mean() > 0.8


def test_identical_models_and_constant_confidence_have_no_spread_and_no_p_value() -> None:
    confidence, correct, labels = zoo(1, 60, 4)
    table = specialisation(names(2), np.repeat(confidence, 2, 0), np.repeat(correct, 2, 0), labels, None, GROUPS).table
    (row,) = table.iter_rows(named=True)
    assert (row["n_inconsistent"], row["theta_only_a"], row["theta_separation"]) == (0, None, None)
    assert (row["class_spread"], row["class_spread_p"], row["group_spread"], row["group_spread_p"]) == (
        0,
        None,
        0,
        None,
    )
    assert (row["favours_a"], row["favours_b"]) == (None, None)


def test_a_model_that_is_always_right_leaves_one_side_empty() -> None:
    confidence, correct, labels = zoo(2, 60, 4)
    correct[1] = True
    (row,) = specialisation(names(2), confidence, correct, labels).table.iter_rows(named=True)
    assert row["n_inconsistent"] == 60 - correct[0].sum() > 0
    assert row["theta_only_a"] is row["theta_separation"] is None
    assert row["theta_only_b"] is not None
    assert row["group_spread"] is row["group_spread_p"] is row["favours_b"] is None, "no groups were given"


@pytest.mark.parametrize(("models", "images"), [(0, 5), (1, 5), (2, 0), (2, 1), (2, 3), (3, 25)])
def test_few_models_or_images_are_a_table_all_the_same(models: int, images: int) -> None:
    confidence, correct, labels = (
        zoo(models, images, 3) if models else (np.ones((0, 5)), np.ones((0, 5)), np.zeros(5, int))
    )
    found = specialisation(names(models), confidence, correct, labels, None, GROUPS)
    assert len(found.table) == models * (models - 1) // 2
    assert len(found.without) == len(found.table)
    assert not any(found.table[name].is_nan().any() for name in found.table.columns if name.endswith(("spread", "_p")))


def test_arrays_that_do_not_fit_are_refused() -> None:
    confidence, correct, labels = zoo(2, 9, 3)
    with pytest.raises(ValueError, match="8 labels for 9 images"):
        specialisation(names(2), confidence, correct, labels[:8])
    with pytest.raises(ValueError, match="ascending order"):
        specialisation(["b", "a"], confidence, correct, labels)
