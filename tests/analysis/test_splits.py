"""Folds and splits are functions of the key alone, of about the promised size."""

from __future__ import annotations

import numpy as np

from overlap.analysis.splits import folds, selection, uniform

KEYS = [f"ILSVRC2012_val_{number:08}" for number in range(20_000)]


def test_membership_is_fixed_for_ever() -> None:
    """These values are a contract: a change would move images between the splits of published results."""
    assert folds(["a", "b", "c", "d", "e", "ü"]).tolist() == [4, 4, 0, 3, 0, 4]
    assert selection(["a", "b", "c", "d", "e", "ü"]).tolist() == [False, False, False, True, False, True]


def test_order_and_company_do_not_matter() -> None:
    assert (folds(KEYS)[::-1] == folds(KEYS[::-1])).all()
    assert (selection(KEYS)[100:200] == selection(KEYS[100:200])).all()


def test_shares() -> None:
    assert (np.bincount(folds(KEYS), minlength=5) / len(KEYS)).round(2).tolist() == [0.2] * 5
    assert abs(selection(KEYS).mean() - 0.4) < 0.015
    assert uniform(KEYS, "salt").min() >= 0
    assert uniform(KEYS, "salt").max() < 1


def test_folds_and_selection_are_independent() -> None:
    shares = [selection(KEYS)[folds(KEYS) == fold].mean() for fold in range(5)]
    assert max(abs(share - 0.4) for share in shares) < 0.03


def test_no_keys() -> None:
    assert folds([]).shape == selection([]).shape == (0,)
