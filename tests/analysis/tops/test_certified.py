"""What is certified from the largest logits is what all logits say, ties and near-ties included; the rest counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlap.analysis import truths
from overlap.analysis.calibration import probabilities
from overlap.analysis.combining import COMBINERS, count_pairs
from overlap.analysis.ensembles.shortlists import answered
from overlap.analysis.pairs import pair_indices
from overlap.analysis.tops.counts import Disagreement, PairCounts, Whole, count
from overlap.analysis.tops.ensembles import Range
from overlap.analysis.tops.spread import OPEN, Spread, verdicts
from tests.analysis.tops.zoo import KINDS, bounded_of, logits_of, related

Zoo = list[np.ndarray]


def nothing(models: int, classes: int) -> Whole:
    empty = np.empty((0, classes), np.float16)
    return Whole(np.empty(0, np.int64), (empty,) * models, np.empty(0, np.bool_))


def some(zoo: Zoo, rows: Sequence[int], audited: Sequence[int] = ()) -> Whole:
    places = np.array(rows, np.int64)
    return Whole(places, tuple(z[places] for z in zoo), np.isin(places, audited))


def close(images: int, classes: int, seed: int, apart: float) -> Zoo:
    """Three models whose ensembles are decided by hardly anything, or by nothing."""
    random = np.random.default_rng(seed)
    base = random.normal(0, 2, (images, classes))
    zoo = [base + random.normal(0, apart, (images, classes)) for _ in range(2)]
    mirrored = zoo[0].copy()
    for row in mirrored:  # the two largest changed for each other: with the first, a tie of probabilities
        one, two = np.argsort(row)[-2:]
        row[one], row[two] = row[two], row[one]
    return [z.astype(np.float16) for z in (*zoo, mirrored)]


def labels_of(zoo: Zoo, seed: int, several: bool) -> np.ndarray:
    """Classes that some model says, and that none does; beyond the largest 64 of some models among them."""
    random = np.random.default_rng(seed)
    images, classes = zoo[0].shape
    said = np.stack([z.argmax(axis=1) for z in zoo])
    labels = np.where(random.random(images) < 0.7, said[random.integers(0, len(zoo), images), np.arange(images)], -1)
    labels = np.where(labels < 0, random.integers(0, classes, images), labels).astype(np.int32)
    if several:
        return np.column_stack([labels, np.where(random.random(images) < 0.5, (labels + 1) % classes, -1)])
    return labels


def pairs_of(zoo: Zoo, labels: np.ndarray, seed: int, whole: Whole | None = None) -> tuple[PairCounts, np.ndarray]:
    """What bounds count, and what all logits do."""
    random = np.random.default_rng(seed)
    images, classes = zoo[0].shape
    folds = random.integers(0, 5, images).astype(np.int8)
    temperatures = [random.uniform(0.4, 2.5, 5)[folds] for _ in zoo]
    first, second = pair_indices(len(zoo))
    weights = random.uniform(0, 1.5, (len(first), 5, 2))
    kept = [bounded_of(z, t) for z, t in zip(zoo, temperatures, strict=True)]
    found = count(kept, labels, folds, first, second, weights, whole or nothing(len(zoo), classes))
    full = [answered([z], labels, t, classes) for z, t in zip(zoo, temperatures, strict=True)]
    exact = count_pairs(full, labels, folds, first, second, weights, lambda model, places: zoo[model][places])
    return found, exact.counts


def sums_of(zoo: Zoo, temperatures: Sequence[np.ndarray], members: Sequence[int]) -> np.ndarray:
    total = np.zeros(zoo[0].shape)
    for model in members:
        total += probabilities(zoo[model], temperatures[model])
    return total


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from([*KINDS, "close", "closer", "equal"]),
    classes=st.sampled_from([65, 66, 90, 300]),
    several=st.booleans(),
)
def test_what_is_certified_is_what_all_logits_say(seed: int, kind: str, classes: int, several: bool) -> None:
    apart = {"close": 1e-2, "closer": 1e-4, "equal": 0.0}
    zoo = (
        close(40, classes, seed, apart[kind])
        if kind in apart
        else [logits_of(kind, 40, classes, seed + n) for n in range(3)]
    )
    labels = labels_of(zoo, seed, several)
    found, exact = pairs_of(zoo, labels, seed)
    assert (found.together.counts <= exact).all()
    assert (exact <= found.together.counts + found.undecided).all()

    random = np.random.default_rng(seed)
    temperatures = [random.uniform(0.4, 2.5, 40) for _ in zoo]
    kept = [Spread.of(bounded_of(z, t)) for z, t in zip(zoo, temperatures, strict=True)]
    for members in ([], [0], [0, 1], [0, 0, 2], [1, 2, 0, 2]):
        said = verdicts([kept[model] for model in members], kept, truths.accepted(labels))
        for candidate in range(3):
            right = truths.right(sums_of(zoo, temperatures, [*members, candidate]).argmax(axis=1), labels)
            decided = said[:, candidate] != OPEN
            assert (said[decided, candidate] == right[decided]).all()


def test_nearly_everything_is_certified_where_networks_are_calibrated() -> None:
    zoo = related(3, 400, 1000)
    found, exact = pairs_of(zoo, labels_of(zoo, 0, several=False), 0)
    assert found.undecided.sum() <= 0.001 * 400 * exact.shape[0] * len(COMBINERS)
    assert found.together.counts.sum() > 100


def test_stored_logits_decide_what_bounds_leave_open_and_are_compared() -> None:
    zoo = close(60, 80, 1, 0.0)
    labels = labels_of(zoo, 1, several=False)
    without, exact = pairs_of(zoo, labels, 1)
    assert without.undecided.sum() > 0
    assert not without.compared.any()
    found, _ = pairs_of(zoo, labels, 1, some(zoo, range(60), range(0, 60, 2)))
    assert not found.undecided.any()
    assert (found.together.counts == exact).all()
    assert (found.compared[:, 0] == 30 * len(COMBINERS)).all()
    assert 0 < found.compared[:, 1].sum() < found.compared[:, 0].sum()


def test_a_disagreement_with_all_logits_is_an_error() -> None:
    zoo = [logits_of("wide", 50, 80, seed) for seed in range(3)]
    labels = labels_of(zoo, 2, several=False)
    other = [np.roll(z, 1, axis=1) for z in zoo]
    with pytest.raises(Disagreement, match="certified is another by all logits"):
        pairs_of(zoo, labels, 2, some(other, range(50), range(50)))
    bounded = tuple(bounded_of(z, np.ones(50)) for z in zoo)
    part = Range(bounded, labels, np.ones(50, np.bool_), some(other, range(50), range(50)))
    with pytest.raises(Disagreement, match="ensemble of"):
        part.judged((0, 1), 0)


def test_ranges_count_what_plain_sums_do() -> None:
    zoo = [logits_of("wide", 90, 200, seed) for seed in range(4)]
    labels = labels_of(zoo, 3, several=True)
    selection = np.arange(90) % 3 == 0
    temperatures = [np.full(90, t) for t in (0.7, 1.1, 1.9, 0.5)]
    bounded = tuple(bounded_of(z, t) for z, t in zip(zoo, temperatures, strict=True))
    part = Range(bounded, labels, selection, some(zoo, range(90), range(0, 90, 3)))
    counted = part.counted((1, 3), (0, 2))
    members = (1, 3, 0, 1)
    judged = part.judged(members, 2)
    single = truths.right(zoo[2].argmax(axis=1), labels)
    for place, candidate in enumerate((0, 2)):
        right = truths.right(sums_of(zoo, temperatures, (1, 3, candidate)).argmax(axis=1), labels)
        assert counted[:, place].tolist() == [int((right & selection).sum()), 0]
    for step in range(4):
        right = truths.right(sums_of(zoo, temperatures, members[: step + 1]).argmax(axis=1), labels)
        for place, chosen in enumerate((selection, ~selection)):
            expected = [(right & chosen).sum(), 0, (right & ~single & chosen).sum(), (~right & single & chosen).sum()]
            assert judged[step, 4 * place : 4 * place + 4].tolist() == expected
        assert judged[step, 8] == (30 if step else 0)
