"""What is said of nulls: each reason once with its count, and nothing where nothing is null."""

from __future__ import annotations

import numpy as np

from overlap.analysis.specialisation.groups import ClassGroups
from overlap.analysis.specialisation.reasons import score_notes, specialisation_notes
from overlap.analysis.specialisation.scores import class_scores
from overlap.analysis.specialisation.spread import specialisation
from tests.analysis.specialisation.confidences import zoo

GROUPS = ClassGroups(("even", "odd"), np.array([0, 1, 0, 1], np.int32))


def test_a_whole_table_has_no_notes() -> None:
    confidence, correct, labels = zoo(4, 200, 4)
    assert specialisation_notes(specialisation(list("abcd"), confidence, correct, labels, None, GROUPS).table) == []
    assert score_notes(class_scores(list("abcd"), correct, labels)) == []


def test_every_null_of_a_pair_has_its_line() -> None:
    confidence, correct, labels = zoo(3, 200, 4)
    correct[1], correct[2], confidence[2] = True, correct[0], confidence[0]
    assert specialisation_notes(specialisation(list("abc"), confidence, correct, labels).table) == [
        "3 pairs have no separation of theta: one of the two models alone is right nowhere",
        "1 pair has no p-value of it: theta does not vary within classes",
        "nothing is said by group: the data have no groups, or no two of them with two classes",
    ]
    one_class = specialisation(list("abc"), confidence, correct, np.zeros(200, np.int32)).table
    assert "3 pairs have no spread over classes: no two classes have two images" in specialisation_notes(one_class)
    assert specialisation_notes(one_class.clear()) == []


def test_cells_without_a_score_are_counted() -> None:
    _, correct, labels = zoo(3, 200, 4)
    correct[:, labels == 1] = True
    assert score_notes(class_scores(list("abc"), correct, labels)) == [
        "3 pairs of model and class have no score: on none of its images do ability and difficulty leave a doubt "
        "which models are right"
    ]
