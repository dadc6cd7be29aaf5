"""Joint counts made in blocks by Ray tasks: the slow reference's, whatever the block."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.panel import Panel
from tests.reference import consistency as reference
from workflows.reductions import pairs

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
