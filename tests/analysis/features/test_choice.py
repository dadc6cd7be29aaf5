"""Which pairs are chosen: around one base, closest in accuracy, every category that there is."""

from __future__ import annotations

import numpy as np
import pytest

from overlap.analysis.features.choice import bases, chosen_pairs

NAMES = ["a", "b", "c", "d", "e", "f"]
ACCURACY = np.array([0.71, 0.76, 0.75, 0.80, 0.60, 0.751])


def categories(**pairs: list[str]) -> np.ndarray:
    found = np.full((6, 6), None, object)
    for category, members in pairs.items():
        for pair in members:
            found[NAMES.index(pair[0]), NAMES.index(pair[1])] = category
    return found


def test_the_base_has_most_categories_then_the_median_accuracy() -> None:
    of = categories(reinit=["ab", "ac"], dataset=["cd", "bd"], duplicate=["ce"], shared_lineage=["cf"])
    assert [NAMES[model] for model in bases(of, ACCURACY)] == ["c", "b", "a", "d", "f", "e"]
    nothing = categories()
    assert NAMES[bases(nothing, ACCURACY)[0]] == "c"  # the lower median
    assert chosen_pairs(NAMES, nothing, ACCURACY) == []


def test_partners_are_closest_in_accuracy() -> None:
    of = categories(dataset=["ac", "bc", "cd", "ce", "cf"])
    assert chosen_pairs(NAMES, of, ACCURACY, "c", 2) == [("c", "f", "dataset"), ("c", "b", "dataset")]
    assert len(chosen_pairs(NAMES, of, ACCURACY, "c", 9)) == 5
    assert [other for _, other, _ in chosen_pairs(NAMES, of, ACCURACY, "d")] == ["c"]


def test_a_category_without_the_base_takes_another_base() -> None:
    of = categories(reinit=["de"], architecture=["ac", "bc"], shared_lineage=["ab"])
    found = chosen_pairs(NAMES, of, ACCURACY, "c", 1)
    assert found == [("d", "e", "reinit"), ("c", "b", "architecture")]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="no model 'x'"):
        chosen_pairs(NAMES, categories(), ACCURACY, "x")
    with pytest.raises(ValueError, match="names"):
        chosen_pairs(NAMES[:2], categories(), ACCURACY)
    assert chosen_pairs([], np.zeros((0, 0), object), np.zeros(0)) == []
    assert chosen_pairs(["a"], np.full((1, 1), None, object), np.ones(1)) == []
