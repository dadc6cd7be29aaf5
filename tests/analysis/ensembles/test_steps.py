"""From stored logits to the table of steps: against trying everything in plain Python, on both splits."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.analysis.calibration import Calibration, probabilities
from overlap.analysis.ensembles.forward import PATIENCE, forward
from overlap.analysis.ensembles.largest import largest
from overlap.analysis.ensembles.outcomes import added, outcomes
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.ensembles.shortlists import Answered, answered
from overlap.analysis.ensembles.steps import Steps, steps_table
from overlap.analysis.splits import folds, selection
from tests.analysis.ensembles.zoo import Zoo
from tests.analysis.zoo import calibrate, logits
from tests.reference import intervals
from tests.reference import selection as reference

COLUMNS = ["search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"]


class Study:
    """A zoo of stored logits, calibrated out of fold."""

    def __init__(self, models: int, images: int, classes: int) -> None:
        self.logits, self.labels = logits(models, images, classes)
        keys = [str(image) for image in range(images)]
        self.folds, self.selection = folds(keys), selection(keys)
        self.names = [f"m{number}" for number in range(models)]
        self.calibrations: list[Calibration] = [calibrate([z], self.labels, self.folds) for z in self.logits]

    def full(self, model: int, images: np.ndarray) -> np.ndarray:
        return probabilities(self.logits[model][images], self.calibrations[model].of(self.folds[images]))

    def answered(self, model: int, images: np.ndarray, kept: int) -> Answered:
        temperature = self.calibrations[model].of(self.folds[images])
        return answered([self.logits[model][images]], self.labels[images], temperature, kept)

    def parts(self, pieces: int, kept: int = 3) -> Parts:
        classes = self.logits[0].shape[1]
        return Parts.here(
            [
                Part(
                    [
                        largest([z[some]], fitted.of(self.folds[some]), self.labels[some], kept)
                        for z, fitted in zip(self.logits, self.calibrations, strict=True)
                    ],
                    self.labels[some],
                    some,
                    self.full,
                    classes,
                )
                for some in np.array_split(np.flatnonzero(self.selection), pieces)
            ],
            threads=pieces,
        )

    def scores(self, images: np.ndarray) -> list[list[list[float]]]:
        return [self.full(model, images).astype(float).tolist() for model in range(len(self.logits))]


STUDY = Study(7, 300, 5)


@pytest.mark.parametrize("anchor", [None, 4])
@pytest.mark.parametrize("pieces", [1, 3])
def test_steps_are_those_of_plain_python(anchor: int | None, pieces: int) -> None:
    select, test = np.flatnonzero(STUDY.selection), np.flatnonzero(~STUDY.selection)
    parts = STUDY.parts(pieces)
    found = forward("best", parts, len(select), anchor=anchor, max_size=6)
    truth = [{label} for label in STUDY.labels[select].tolist()]
    expected = reference.forward(STUDY.scores(select), truth, len(found.members), anchor=anchor)
    assert [(model, int(right)) for model, right in zip(found.members, found.values, strict=True)] == expected
    assert found.best == 1 + max(range(len(expected)), key=lambda step: (expected[step][1], -step))

    best = int(np.argmax(parts.single))
    assert best == reference.forward(STUDY.scores(select), truth, 1)[0][0]
    counted = [
        outcomes(
            [found],
            best,
            {model: STUDY.answered(model, some, kept=2) for model in range(7)},
            STUDY.labels[some],
            STUDY.selection[some],
            lambda model, places, some=some: STUDY.logits[model][some[places]],
        )
        for some in np.array_split(np.arange(300), pieces)
    ]
    (counts,) = added(counted)
    table = steps_table(STUDY.names, [Steps("best", found.members, counts)], best, (len(select), len(test)))
    assert table.columns == COLUMNS
    scores, n = STUDY.scores(test), len(test)

    def right(members: list[int]) -> list[bool]:
        return [
            bool(reference.right_together([[one[image]] for one in scores], members, [{label}]))
            for image, label in enumerate(STUDY.labels[test].tolist())
        ]

    for row in table.iter_rows(named=True):
        members = list(found.members[: row["step"]])
        together, alone = right(members), right([best])
        plus = sum(a and not b for a, b in zip(together, alone, strict=True))
        minus = sum(b and not a for a, b in zip(together, alone, strict=True))
        assert row["model"] == f"m{members[-1]}"
        assert row["accuracy_select"] == found.values[row["step"] - 1] / len(select)
        assert row["accuracy_test"] == sum(together) / n
        gain = (0, 0) if set(members) == {best} else intervals.gain_interval(plus, minus, n)
        assert (row["gain_low"], row["gain_high"]) == pytest.approx(gain)


def test_an_anchor_finds_its_complement() -> None:
    """Two models that are each sure where they are right, and a better one that is never sure."""
    first, second, third = (np.full((100, 3), 1 / 3, np.float32) for _ in range(3))
    first[:50] = second[50:] = [0.98, 0.01, 0.01]
    first[50:] = [0.3, 0.4, 0.3]
    second[:50] = [0.3, 0.3, 0.4]
    third[:60] = [0.34, 0.33, 0.33]
    third[60:] = [0.33, 0.34, 0.33]
    zoo = Zoo(np.stack([first, second, third]), np.zeros(100, int), 2)
    parts = zoo.parts()
    found = forward("anchored", parts, 100, anchor=0)
    assert int(np.argmax(parts.single)) == 2
    assert (found.members[:2], found.values[:2], found.best) == ((0, 1), (50, 100), 2)
    assert len(found.members) == 2 + PATIENCE, "the whole trajectory is kept"


def test_a_model_alone_gains_nothing_and_no_image_is_null() -> None:
    steps = Steps("x", (0, 0, 1), np.array([[[5, 0, 0]] * 3, [[0, 0, 0]] * 3]))
    rows = steps_table(["a", "b"], [steps], 0, (10, 0))
    assert rows["accuracy_select"].to_list() == [0.5] * 3
    assert rows["accuracy_test"].null_count() == rows["gain_low"].null_count() == 3
    tested = steps_table(["a", "b"], [steps], 0, (10, 4))
    assert tested["gain_high"].to_list()[:2] == [0, 0]
    assert tested["gain_high"][2] > 0
    assert steps_table([], [], 0, (0, 0)).columns == COLUMNS
