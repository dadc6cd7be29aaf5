"""Association of correctness: against plain Python, identities, intervals, influences, and where it is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis.divergence import association
from overlap.analysis.divergence.table import cells_of, consistency_of
from overlap.analysis.intervals import Z
from overlap.analysis.pairs import pair_indices
from tests.analysis.zoo import correctness, pair_counts
from tests.reference import association as reference

COUNTS = st.integers(0, 60)


def counted(correct: np.ndarray) -> tuple[np.ndarray, ...]:
    counts = pair_counts(1 - correct.astype(int), np.zeros(correct.shape[1], int))
    return cells_of(counts, *pair_indices(len(correct)))


@given(st.integers(0, 500))
@settings(deadline=None)
def test_values_are_those_of_plain_python(seed: int) -> None:
    a, b = correctness(2, 12, seed)
    cells = counted(np.stack([a, b]))
    found = (association.yule_q(*cells)[0], association.correlation(*cells)[0])
    for value, expected in zip(found, (reference.yule_q(a, b), reference.correlation(a, b)), strict=True):
        assert np.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-12)
    estimate, low, high = (ends[0] for ends in association.log_odds_ratio(*cells))
    odds = reference.log_odds_ratio(a, b)
    if odds is None:
        assert np.isnan([estimate, low, high]).all()
    else:
        assert [estimate, (high - low) / 2 / Z] == pytest.approx(odds)
    assert association.double_fault(cells[3], 12)[0] == pytest.approx(np.mean(~a & ~b))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
@settings(deadline=None)
def test_signs_agree_and_exchange_of_the_models_changes_nothing(
    both: int, only_a: int, only_b: int, neither: int
) -> None:
    cells = tuple(np.array([count]) for count in (both, only_a, only_b, neither))
    other = (cells[0], cells[2], cells[1], cells[3])
    q, phi = association.yule_q(*cells)[0], association.correlation(*cells)[0]
    np.testing.assert_allclose([q, phi], [association.yule_q(*other)[0], association.correlation(*other)[0]])
    assert np.isnan(q) == np.isnan(phi) == np.isnan(association.log_odds_ratio(*cells)[0][0])
    assert np.isnan(q) == (min(both + only_a, only_b + neither, both + only_b, only_a + neither) == 0)
    if not np.isnan(q):
        assert abs(phi) <= abs(q) + 1e-12 <= 1 + 2e-12
        assert np.sign(phi) == np.sign(q)


def test_log_odds_intervals_cover() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.6, 0.1, 0.08, 0.22])
    truth = np.log(shares[0] * shares[3] / shares[1] / shares[2])
    cells = random.multinomial(200, shares, 4000).T
    _, low, high = association.log_odds_ratio(*cells)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    "name", ["error_inconsistency", "kappa", "yule_q", "correlation", "log_odds_ratio", "double_fault"]
)
def test_influences_are_the_changes_by_one_image(name: str) -> None:
    """An image added as one of 100,000: the measure changes by its influence over n, less the mean influence."""
    cells = tuple(np.array([count]) for count in (55_000, 12_000, 8_000, 25_000))
    n = 100_000

    def value(counts: tuple[np.ndarray, ...]) -> float:
        both, only_a, only_b, neither = counts
        inconsistency = (only_a + only_b) / (both + only_a + only_b + neither)
        a, b = (both + only_a) / sum(counts), (both + only_b) / sum(counts)
        return float(
            {
                "error_inconsistency": inconsistency,
                "kappa": 1 - inconsistency / (a * (1 - b) + b * (1 - a)),
                "yule_q": association.yule_q(*counts),
                "correlation": association.correlation(*counts),
                "log_odds_ratio": association.log_odds_ratio(*counts)[0],
                "double_fault": association.double_fault(neither, sum(counts)),
            }[name][0]
        )

    change = association.influences(*cells)[name]
    answers = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    of_answers = change.product * answers.prod(axis=1) + change.a * answers[:, 0] + change.b * answers[:, 1]
    mean = float(of_answers @ np.concatenate(cells)) / n
    for cell in range(4):
        added = tuple(count + 100 * (place == cell) for place, count in enumerate(cells))
        assert (value(added) - value(cells)) * (n + 100) / 100 == pytest.approx(of_answers[cell] - mean, rel=0.02)


def test_models_always_right_have_no_association_but_a_double_fault() -> None:
    cells = counted(np.stack([np.ones(9, bool), np.ones(9, bool), np.arange(9) < 4]))
    for values in (association.yule_q(*cells), association.correlation(*cells), *association.log_odds_ratio(*cells)):
        assert np.isnan(values).all()
    assert association.double_fault(cells[3], 9).tolist() == [0, 0, 0]
    assert np.isnan(association.double_fault(np.zeros(3, np.int64), 0)).all()


def test_consistency_is_that_of_the_pairs_table() -> None:
    correct = correctness(3, 80)
    counts = pair_counts(1 - correct.astype(int), np.zeros(80, int))
    inconsistency, _ = consistency_of(counts, *pair_indices(3))
    assert inconsistency.tolist() == [float(np.mean(correct[a] != correct[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
