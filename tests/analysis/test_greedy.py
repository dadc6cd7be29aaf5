"""Greedy search: against trying everything in plain Python, whatever the number of blocks, and at the edges."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import greedy
from overlap.analysis.blocks import Block
from overlap.analysis.calibration import Calibration, calibrate, probabilities
from overlap.analysis.greedy import Search, ensembles_table, score_block, score_candidates, search, search_blocks
from overlap.analysis.notes import ensemble_notes
from overlap.analysis.splits import folds, selection
from tests.analysis.zoo import logits
from tests.reference import ensembles as reference
from tests.reference import intervals

COLUMNS = ["search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"]


class Study:
    """A zoo, calibrated, in blocks."""

    def __init__(self, models: int, images: int, classes: int, seed: int = 0) -> None:
        self.logits, self.labels = logits(models, images, classes, seed)
        keys = [str(image) for image in range(images)]
        self.folds, self.selection = folds(keys), selection(keys)
        self.names = [f"m{number}" for number in range(models)]
        self.calibrations = [calibrate([z], self.labels, self.folds) for z in self.logits]

    def blocks(self, pieces: int) -> list[Block]:
        return [
            Block(
                [z[images] for z in self.logits],
                self.calibrations,
                self.labels[images],
                self.folds[images],
                self.selection[images],
            )
            for images in np.array_split(np.arange(len(self.labels)), pieces)
        ]

    def probabilities(self, split: np.ndarray) -> list[list[list[float]]]:
        return [
            probabilities(z[split], c.of(self.folds[split])).astype(float).tolist()
            for z, c in zip(self.logits, self.calibrations, strict=True)
        ]

    def table(self, *found: Search) -> pl.DataFrame:
        return ensembles_table(self.names, found, int(self.selection.sum()), int((~self.selection).sum()))


STUDY = Study(7, 300, 5)


@pytest.mark.parametrize("anchor", [None, 4])
def test_search_is_that_of_plain_python(anchor: int | None) -> None:
    found = search_blocks("best", STUDY.blocks(3), anchor=anchor, max_size=6)
    labels = STUDY.labels[STUDY.selection].tolist()
    expected = reference.greedy(STUDY.probabilities(STUDY.selection), labels, len(found.members), anchor)
    assert list(zip(found.members, found.right_select, strict=True)) == expected
    assert found.best == 1 + max(range(len(expected)), key=lambda step: (expected[step][1], -step))

    tested, labels = STUDY.probabilities(~STUDY.selection), STUDY.labels[~STUDY.selection].tolist()
    n = len(labels)
    rows = STUDY.table(found)
    assert rows.columns == COLUMNS
    single = reference.greedy(STUDY.probabilities(STUDY.selection), STUDY.labels[STUDY.selection].tolist(), 1)[0][0]
    for row in rows.iter_rows(named=True):
        members = found.members[: row["step"]]
        right = [
            reference.combined([tested[member][image] for member in members]) == label
            for image, label in enumerate(labels)
        ]
        alone = [reference.combined([tested[single][image]]) == label for image, label in enumerate(labels)]
        plus = sum(together and not before for together, before in zip(right, alone, strict=True))
        minus = sum(before and not together for together, before in zip(right, alone, strict=True))
        assert row["model"] == f"m{members[-1]}"
        assert row["accuracy_select"] == found.right_select[row["step"] - 1] / int(STUDY.selection.sum())
        assert row["accuracy_test"] == sum(right) / n
        expected_gain = (0, 0) if set(members) == {single} else intervals.gain_interval(plus, minus, n)
        assert (row["gain_low"], row["gain_high"]) == pytest.approx(expected_gain)


@given(st.integers(1, 60), st.sampled_from([1, 50, 1 << 22]))
@settings(max_examples=12, deadline=None)
def test_neither_blocks_nor_chunks_change_anything(pieces: int, chunk: int) -> None:
    whole = search_blocks("best", STUDY.blocks(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(greedy, "CHUNK", chunk)
        found = search_blocks("best", STUDY.blocks(pieces))
    assert (found.members, found.right_select, found.reference) == (whole.members, whole.right_select, whole.reference)
    assert (found.outcome == whole.outcome).all()


def test_a_block_scores_as_its_candidates_do() -> None:
    (block,) = STUDY.blocks(1)
    candidates = [
        probabilities(z[STUDY.selection], c.of(STUDY.folds[STUDY.selection]))
        for z, c in zip(STUDY.logits, STUDY.calibrations, strict=True)
    ]
    running = candidates[2].astype(float) + candidates[5]
    counts = score_candidates(running, candidates, STUDY.labels[STUDY.selection])
    assert (counts == score_block(block, (2, 5))).all()


def test_ties_go_to_the_lower_model_and_stopping_keeps_the_trajectory() -> None:
    calls = []

    def score(members: tuple[int, ...]) -> np.ndarray:
        calls.append(members)
        return np.array([3, 5, 5]) if len(members) < 2 else np.array([4, 4, 4])

    found = search("best", score, max_size=50)
    assert found.members[:3] == (1, 1, 0)
    assert found.best == 1
    assert len(found.members) == 1 + greedy.PATIENCE
    assert calls == [found.members[:step] for step in range(len(found.members))]


def test_a_single_model_makes_a_search_that_gains_nothing() -> None:
    study = Study(1, 100, 3)
    rows = study.table(search_blocks("best", study.blocks(2), max_size=3))
    assert rows["model"].to_list() == ["m0"] * 3
    assert rows["gain_low"].to_list() == rows["gain_high"].to_list() == [0, 0, 0]


def test_an_anchor_finds_its_complement() -> None:
    """Two models that are each sure where they are right, and a better one that is never sure."""
    labels = np.zeros(100, int)
    first, second, third = (np.zeros((100, 3), np.float16) for _ in range(3))
    first[:50, 0], first[50:, 1] = 8, 0.5
    second[50:, 0], second[:50, 2] = 8, 0.5
    third[:60, 0], third[60:, 1] = 0.1, 0.1
    as_they_are = [Calibration(1.0, np.ones(5), None, None, None)] * 3
    split = np.arange(100) % 2 == 0
    block = Block([first, second, third], as_they_are, labels, np.zeros(100, np.int8), split)
    found = search_blocks("anchored", [block], anchor=0, max_size=4)
    assert found.reference == 2
    assert found.members[:2] == (0, 1)
    assert found.right_select[:2] == (25, 50)
    assert found.best == 2
    assert found.outcome[:2].tolist() == [[25, 0, 5], [50, 20, 0]]


@pytest.mark.parametrize("anchor", [None, 1])
@pytest.mark.parametrize(("select", "steps"), [(False, 0), (True, 3)])
def test_an_empty_split_gives_nulls_with_a_reason(select: bool, steps: int, anchor: int | None) -> None:
    study = Study(3, 40, 3)
    study.selection[:] = select
    rows = study.table(search_blocks("best", study.blocks(2), anchor=anchor, max_size=3))
    assert len(rows) == steps
    if steps:
        assert rows["accuracy_test"].null_count() == rows["gain_low"].null_count() == 3
        assert ensemble_notes(rows, 1) == ["1 search has no gain: the test split has no image"]
    else:
        assert ensemble_notes(rows, 1) == [
            "1 search found nothing: no model is right on any image of the selection split"
        ]


def test_nothing_to_search() -> None:
    found = search_blocks("best", [])
    assert (found.members, found.best) == ((), 0)
    assert ensembles_table([], [found], 0, 0).columns == COLUMNS
