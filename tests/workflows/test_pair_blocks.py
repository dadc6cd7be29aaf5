"""Joint counts and the table of pairs, made in blocks by Ray tasks: the slow reference's, whatever the block."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.analysis.pairs import pair_indices, pairs_table
from overlap.analysis.some_pairs import SomePairs
from overlap.methodology import Training, pair_categories
from overlap.panel import Panel
from overlap.store import long_tables
from tests.analysis.zoo import pair_counts
from tests.reference import consistency as reference
from workflows.reductions import pairs
from workflows.reductions.kept_pairs import TILE, stars, tiles

MODELS = 7


def panel_of(prediction: np.ndarray, labels: np.ndarray) -> Panel:
    models = tuple(f"net-{model}" for model in range(len(prediction)))
    return Panel(models, [f"k{image}" for image in range(len(labels))], labels, prediction)


@pytest.mark.parametrize("classes", [5, 60_000], ids=["few classes", "more than 16 bits tell apart"])
@pytest.mark.usefixtures("cluster")
def test_no_block_changes_a_count(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 130).astype(np.int32)
    guess = random.integers(0, classes, (MODELS, 130)).astype(np.int32)
    prediction = np.where(random.random((MODELS, 130)) < 0.6, labels, guess).astype(np.int32)
    right = prediction == labels
    expected = [
        [reference.cells(right[a].tolist(), right[b].tolist())[0] for b in range(MODELS)] for a in range(MODELS)
    ]
    different = [
        [reference.disagreements(prediction[a].tolist(), prediction[b].tolist()) for b in range(MODELS)]
        for a in range(MODELS)
    ]
    for block in (1, 3, MODELS, 100):
        counts = pairs.count(panel_of(prediction, labels), block)
        assert counts.n == 130
        assert counts.both_right.tolist() == expected, f"blocks of {block}"
        assert counts.disagreement.tolist() == different, f"blocks of {block}"
        assert counts.both_right.dtype == counts.disagreement.dtype == np.int64


@pytest.mark.usefixtures("cluster")
def test_nobody_and_nothing_are_counted() -> None:
    nobody = pairs.count(panel_of(np.empty((0, 4), np.int32), np.zeros(4, np.int32)))
    assert (nobody.n, nobody.both_right.shape) == (4, (0, 0))
    nothing = pairs.count(panel_of(np.empty((2, 0), np.int32), np.empty(0, np.int32)))
    assert (nothing.n, nothing.both_right.tolist(), nothing.disagreement.tolist()) == (0, [[0] * 2] * 2, [[0] * 2] * 2)


@pytest.mark.usefixtures("cluster")
def test_the_table_is_that_of_one_process_and_no_range_changes_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_tables, "GROUP", 8)
    random = np.random.default_rng(1)
    labels = random.integers(0, 9, 300).astype(np.int32)
    prediction = np.where(random.random((MODELS, 300)) < 0.6, labels, random.integers(0, 9, (MODELS, 300)))
    panel = panel_of(prediction.astype(np.int32), labels)
    trainings = [
        Training(dataset="d", framework="f", architecture=f"a{model % 2}", hyper_parameters="h") for model in range(5)
    ] + [Training(), Training(dataset="e")]
    categories = pair_categories(panel.models, trainings, [None] * 5 + ["w", "w"])
    everyone = np.arange(MODELS)
    named = np.array(categories[everyone[:, None], everyone])
    expected = pairs_table(panel.models, pair_counts(prediction, labels), named)
    assert {*expected["category"]} == {"reinit", "architecture", "dataset", "duplicate", None}
    found = [pairs.write(panel, categories, rows) for rows in (1, 4, 8, 1000)]
    assert all(one.read().equals(expected) for one in found)
    assert len({one.digest for one in found}) == 1
    assert found[0].rows == MODELS * (MODELS - 1) // 2


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("models", [0, 1])
def test_no_pairs_are_a_table_without_rows(models: int) -> None:
    panel = panel_of(np.zeros((models, 4), np.int32), np.zeros(4, np.int32))
    empty = pairs.write(panel, pair_categories(panel.models, [Training()] * models, [None] * models))
    assert (empty.rows, empty.read().height) == (0, 0)
    assert empty.read().schema == pairs_table((), pair_counts(np.zeros((0, 4), int), np.zeros(4, int))).schema


@pytest.mark.usefixtures("cluster")
def test_some_pairs_are_counted_as_they_are_among_all() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 9, 300).astype(np.int32)
    prediction = np.where(random.random((MODELS, 300)) < 0.6, labels, random.integers(0, 9, (MODELS, 300)))
    panel = panel_of(prediction.astype(np.int32), labels)
    first, second = (indices[1::3] for indices in pair_indices(MODELS))
    whole = pairs.count(panel)
    for rows in (1, 4, 1000):
        some = pairs.count_some(panel, SomePairs(MODELS, first, second), rows)
        assert (some.n, some.right.tolist()) == (whole.n, whole.right.tolist())
        assert some.both_right[first, second].tolist() == whole.both_right[first, second].tolist()
        assert some.disagreement[first, second].tolist() == whole.disagreement[first, second].tolist()


@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_tasks_make_every_pair_once_and_hold_few_models(share: float) -> None:
    first, second = pair_indices(150)
    chosen = np.random.default_rng(0).random(len(first)) < share
    wanted = {*zip(first[chosen].tolist(), second[chosen].tolist(), strict=True)}
    for parts in (tiles(first[chosen], second[chosen]), stars(first[chosen], second[chosen])):
        found = [(models[a], models[b]) for models, held in parts for a, b in held.T.tolist()]
        assert len(found) == len(wanted)
        assert {*found} == wanted
        assert all(len(models) <= 2 * TILE for models, _ in parts)
    assert stars(first[:0], second[:0]) == []
