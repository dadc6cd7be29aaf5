"""Joint counts, error inconsistency and kappa: against plain Python, and by the identities of paper.md 1.1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from overlap.analysis import bits, consistency
from tests.analysis.zoo import logits, pair_counts, predictions
from tests.reference import consistency as reference

TABLES = st.tuples(*[st.integers(0, 40)] * 4).filter(any)


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """Compiled before any example is timed."""
    pair_counts(np.zeros((2, 3), np.int16), np.zeros(3, np.int16))


def fractions(table: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    both, only_a, only_b, _ = table
    n = sum(table)
    return tuple(np.array([count / n]) for count in (both + only_a, both + only_b, only_a + only_b))


@given(arrays(np.int16, st.tuples(st.integers(1, 5), st.integers(0, 40)), elements=st.integers(0, 3)))
def test_counts_are_those_of_plain_loops(classes: np.ndarray) -> None:
    labels = classes[0] // 2
    counts = pair_counts(classes, labels)
    right = classes == labels
    for a in range(len(classes)):
        for b in range(len(classes)):
            assert counts.both_right[a, b] == reference.cells(right[a].tolist(), right[b].tolist())[0]
            assert counts.disagreement[a, b] == reference.disagreements(classes[a].tolist(), classes[b].tolist())
    assert counts.n == classes.shape[1]
    assert counts.right.tolist() == right.sum(axis=1).tolist()


@pytest.mark.parametrize("pieces", [1, 2, 7, 50])
def test_blocks_of_images_add_up(pieces: int) -> None:
    zoo, labels = logits(6, 40_000, 10)
    prediction = predictions(zoo)
    whole = pair_counts(prediction, labels)
    parts = [
        pair_counts(prediction[:, images], labels[images]) for images in np.array_split(np.arange(len(labels)), pieces)
    ]
    assert sum(part.n for part in parts) == whole.n
    assert (sum(part.both_right for part in parts) == whole.both_right).all()
    assert (sum(part.disagreement for part in parts) == whole.disagreement).all()
    rows = prediction == labels
    assert (consistency.joint_counts(rows[:2], rows[3:]) == whole.both_right[:2, 3:]).all()
    assert (consistency.disagreement_counts(prediction[:2], prediction[3:]) == whole.disagreement[:2, 3:]).all()
    first, second = np.random.default_rng(0).integers(0, len(prediction), (2, 50))  # some pairs, in any order
    assert (bits.joint_of(bits.packed(rows), first, second) == whole.both_right[first, second]).all()
    assert (consistency.disagreements_of(prediction, first, second) == whole.disagreement[first, second]).all()


def test_counts_among_some_models_and_of_memory_that_is_read_only() -> None:
    zoo, labels = logits(5, 100, 4)
    prediction = predictions(zoo)
    prediction.flags.writeable = labels.flags.writeable = False  # as Ray's object store hands them out
    some = pair_counts(prediction, labels).among([1, 4])
    alone = pair_counts(prediction[[1, 4]], labels)
    assert some.n == alone.n
    assert (some.both_right == alone.both_right).all()
    assert (some.disagreement == alone.disagreement).all()


def test_counts_of_many_images_are_exact() -> None:
    prediction = np.zeros((2, 70_005), np.int32)  # more than the numbers of 16 bits reach
    prediction[1, ::3] = 1
    counts = pair_counts(prediction, np.zeros(prediction.shape[1], np.int32))
    assert counts.both_right[0, 1] == (prediction[1] == 0).sum()
    assert counts.disagreement[0, 1] == (prediction[1] == 1).sum()


@given(TABLES)
def test_kappa_is_that_of_geirhos(table: tuple[int, int, int, int]) -> None:
    a, b, inconsistency = fractions(table)
    expected = reference.kappa(table)
    assert inconsistency[0] == pytest.approx(float(reference.inconsistency(table) or 0))
    if expected is None:
        assert np.isnan(consistency.kappa(inconsistency, a, b)[0])
    else:
        assert consistency.kappa(inconsistency, a, b)[0] == pytest.approx(float(expected), abs=1e-9)


@given(TABLES)
def test_identities_of_error_inconsistency(table: tuple[int, int, int, int]) -> None:
    (a,), (b,), (inconsistency,) = fractions(table)
    both, only_a, only_b, neither = (count / sum(table) for count in table)
    mean = (a + b) / 2
    assert both == pytest.approx(mean - inconsistency / 2)
    assert neither == pytest.approx(1 - mean - inconsistency / 2)
    assert both + only_a + only_b == pytest.approx(mean + inconsistency / 2)
    least, greatest = consistency.attainable_inconsistency(np.array(a), np.array(b))
    assert least == pytest.approx(abs(a - b))
    assert least - 1e-12 <= inconsistency <= greatest + 1e-12


@given(st.integers(1, 25).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_attainable_kappa_is_attained(margins: tuple[int, int, int]) -> None:
    right_a, right_b, n = margins
    low, high = consistency.attainable_kappa(np.array([right_a / n]), np.array([right_b / n]))
    expected = reference.attainable_kappa(right_a, right_b, n)
    if expected is None:
        assert np.isnan([low[0], high[0]]).all()
    else:
        assert (low[0], high[0]) == pytest.approx([float(end) for end in expected], abs=1e-9)


def test_values_of_the_paper_notes() -> None:
    """Section 1.1: for accuracies .765 and .755, EI_exp = .3649, and kappa .8 to .4 correspond to EI .073 to .219."""
    a, b = np.full(5, 0.765), np.full(5, 0.755)
    assert consistency.expected_inconsistency(a, b)[0] == pytest.approx(0.3649, abs=5e-5)
    kappa = consistency.kappa(np.array([0.073, 0.109, 0.146, 0.182, 0.219]), a, b)
    assert kappa == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4], abs=2e-3)
