"""Categories of pairs: a table of cases, and everything else against the obvious reference."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from overlap.methodology import CATEGORIES, LINEAGE, Training, category, pair_categories
from tests.reference import divergence

FULL = Training(dataset="in1k", framework="supervised", architecture="resnet50", hyper_parameters="a1", seed="0")


def changed(**columns: str | None) -> Training:
    return FULL.model_copy(update=columns)


TABLE = [
    # the other training, and what the two are
    (changed(), "reinit"),
    (changed(seed="1"), "reinit"),
    (changed(seed=None), "reinit"),
    (changed(hyper_parameters="a2"), "hyper_parameters"),
    (changed(architecture="vit", hyper_parameters="a2"), "architecture"),
    (changed(framework="simclr", architecture="vit"), "framework"),
    (changed(dataset="jft", framework="simclr", architecture="vit", hyper_parameters="x"), "dataset"),
    (changed(dataset="jft", hyper_parameters=None), "dataset"),
    (changed(architecture="vit", hyper_parameters=None), "architecture"),
    (changed(hyper_parameters=None), None),
    (changed(framework=None, architecture="vit"), None),
    (changed(dataset=None, framework="simclr"), None),
    (changed(parent="a"), "shared_lineage"),
    (changed(teacher="a", dataset="jft"), "shared_lineage"),
    (changed(dataset=None, parent="a"), "shared_lineage"),
    (changed(parent="p"), "reinit"),
    (changed(teacher="t"), "reinit"),
    (Training(), None),
]


@pytest.mark.parametrize(("other", "expected"), TABLE)
def test_table(other: Training, expected: str | None) -> None:
    assert category("a", FULL, "w1", "b", other, "w2") == expected
    assert category("b", other, "w2", "a", FULL, "w1") == expected


def test_a_shared_parent_is_lineage_and_a_shared_teacher_is_not() -> None:
    assert category("a", changed(parent="p"), None, "b", changed(parent="p"), None) == "shared_lineage"
    assert category("a", changed(teacher="t"), None, "b", changed(teacher="t"), None) == "reinit"


def test_equal_weights_go_before_everything() -> None:
    assert category("a", FULL, "w", "b", changed(dataset="jft", parent="a"), "w") == "duplicate"
    assert category("a", Training(), "w", "b", Training(), "w") == "duplicate"
    assert category("a", FULL, None, "b", FULL, None) == "reinit"


def test_columns_are_text_or_nothing() -> None:
    assert Training(seed=3, hyper_parameters=0.1).seed == "3"  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Training(dataset="")
    with pytest.raises(ValidationError):
        Training(tutor="x")  # type: ignore[call-arg]


IDS = [f"m{number}" for number in range(7)]
value = st.sampled_from([None, "x", "y"])
relation = st.sampled_from([None, None, *IDS, "elsewhere"])
trainings = st.builds(
    Training,
    dataset=value,
    framework=value,
    architecture=value,
    hyper_parameters=value,
    seed=value,
    parent=relation,
    teacher=relation,
)
zoos = st.lists(st.tuples(trainings, st.sampled_from([None, None, "w1", "w2", "w3"])), max_size=len(IDS))


@given(zoos)
@settings(max_examples=200, deadline=None)
def test_pairs_and_matrix_agree_with_the_reference(zoo: list[tuple[Training, str | None]]) -> None:
    ids = IDS[: len(zoo)]
    categories = pair_categories(ids, [training for training, _ in zoo], [weights for _, weights in zoo])
    everyone = np.arange(len(zoo))
    found = categories[everyone[:, None], everyone]
    assert found.shape == (len(zoo), len(zoo)) == (len(categories), len(categories))
    assert found.dtype == np.object_
    assert categories.numbers(everyone[:, None], everyone).dtype == np.int8
    everyone = np.arange(len(categories))
    assert (categories.related(everyone[:, None], everyone) == np.isin(found, LINEAGE)).all()
    some = everyone[::-2]
    few = np.arange(len(some))
    assert (categories.among(some.tolist())[few[:, None], few] == found[np.ix_(some, some)]).all()
    told = [
        {"id": name, "weights": weights, **training.model_dump()}
        for name, (training, weights) in zip(ids, zoo, strict=True)
    ]
    for i in range(len(zoo)):
        assert found[i, i] is None
        for j in range(i):
            expected = divergence.category(told[i], told[j])
            assert expected in {None, *CATEGORIES, *LINEAGE}
            assert category(ids[i], *zoo[i], ids[j], *zoo[j]) == expected
            assert category(ids[j], *zoo[j], ids[i], *zoo[i]) == expected
            assert found[i, j] == found[j, i] == expected


def test_a_large_zoo_takes_no_loop_over_pairs() -> None:
    zoo = [changed(seed=str(i), architecture=str(i % 40), hyper_parameters=str(i % 7)) for i in range(1500)]
    started = perf_counter()
    categories = pair_categories([f"c{i}" for i in range(1500)], zoo, [f"w{i}" for i in range(1500)])
    found = categories[np.triu_indices(1500, 1)]
    assert perf_counter() - started < 2  # 1.1 million calls of `category` take longer
    assert set(np.unique(found)) == {"architecture", "hyper_parameters", "reinit"}
