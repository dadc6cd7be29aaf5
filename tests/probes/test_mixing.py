"""Mixed features and compression: dimensions, claims on models made for them, and the controls."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from overlap.analysis.features.compression import compression_table, features_needed
from overlap.analysis.features.mixing import mixing_summary, mixing_table
from overlap.probes.compression import compression_rows, steps
from overlap.probes.downstream import downstream_table, judged
from overlap.probes.mixing import draw_columns, mix_halves, mix_pair
from tests.probes.scenes import seen, trial

TASK = trial(600, 400)
LEFT, RIGHT = seen(TASK, slice(0, 5), 16, 1, 0.7), seen(TASK, slice(3, 8), 16, 2, 0.7)


def test_draws() -> None:
    for rate, of_base, of_other, draws in [(0, 16, 0, 1), (0.25, 12, 4, 3), (0.5, 8, 8, 3), (1, 0, 16, 1)]:
        found = draw_columns("a", "b", 16, 16, rate, 3)
        assert [(len(a), len(b)) for a, b in found] == [(of_base, of_other)] * draws
        assert all(len({*a}) == of_base and len({*b}) == of_other for a, b in found)
    first, second, _ = draw_columns("a", "b", 16, 16, 0.5, 3)
    assert (first[0] != second[0]).any()
    assert (draw_columns("a", "b", 16, 16, 0.5, 3)[0][0] == first[0]).all()
    assert (draw_columns("a", "c", 16, 16, 0.5, 3)[0][0] != first[0]).any()
    # an other of fewer features gives all that it has; one of more gives a draw even where the base gives none
    assert [(len(a), len(b)) for a, b in draw_columns("a", "b", 16, 6, 0.75, 3)] == [(4, 6)] * 3
    assert [(len(a), len(b)) for a, b in draw_columns("a", "b", 16, 6, 1, 3)] == [(0, 6)]
    assert [(len(a), len(b)) for a, b in draw_columns("a", "b", 16, 40, 1, 3)] == [(0, 16)] * 3


def test_features_that_overlap_without_containing_each_other() -> None:
    pair, shuffled = mix_pair("a", "b", "dataset", LEFT, RIGHT, TASK)
    assert (pair.control, shuffled.control) == ("pair", "shuffled")
    assert Counter(row["rate"] for row in pair.rows) == {0.0: 1, 0.25: 3, 0.5: 3, 0.75: 3, 1.0: 1}
    assert {row["dimension"] for row in pair.rows} == {16}
    assert {row["trained_on"] for row in pair.rows} == {"train"}
    summary = mixing_summary([pair, shuffled])
    real, control = summary.iter_rows(named=True)
    assert real["gain_base_low"] > 0.01
    assert real["gain_other_low"] > 0.01
    assert control["gain_base_low"] < 0, "features of other images do not help"
    assert control["gain_base"] < real["gain_base_low"]
    table = mixing_table([pair, shuffled])
    mean = {rate: found["accuracy"].mean() for (rate,), found in table.filter(control="pair").group_by("rate")}
    assert real["gain_base"] == pytest.approx(mean[0.5] - mean[0.0])
    assert real["gain_other"] == pytest.approx(mean[0.5] - mean[1.0])
    chance = table.filter(control="shuffled", rate=1.0)["accuracy"][0]
    assert chance < 0.4
    assert table.filter(control="shuffled", rate=0.0)["accuracy"][0] == mean[0.0]


def test_one_model_s_halves_do_not_gain() -> None:
    found = mix_halves("a", seen(TASK, slice(0, 5), 33, 1, 0.7), TASK, draws=4)
    assert Counter(row["rate"] for row in found.rows) == dict.fromkeys((0.0, 0.25, 0.5, 0.75, 1.0), 4)
    assert {row["dimension"] for row in found.rows} == {16}
    row = mixing_summary([found]).row(0, named=True)
    assert (row["category"], row["control"], row["models"]) == (None, "halves", 1)
    assert abs(row["gain_base"]) < 0.03


def test_reinitialised_pairs_are_a_control_and_runs_repeat() -> None:
    first, _ = mix_pair("a", "b", "reinit", LEFT, RIGHT, TASK, 1)
    again, _ = mix_pair("a", "b", "reinit", LEFT, RIGHT, TASK, 1)
    assert first.control == "reinit"
    assert first.rows == again.rows
    assert (first.gains == again.gains).all()


def test_a_handful_of_images() -> None:
    task = trial(3, None)
    a, b = seen(task, slice(0, 4), 4), seen(task, slice(4, 8), 2)
    for found in (
        *mix_pair("a", "b", None, a, b, task),
        mix_halves("a", a, task),
        mix_halves("b", b.take(np.array([0])), task),
    ):
        assert all(row["accuracy"] is None or 0 <= row["accuracy"] <= 1 for row in found.rows)
    assert mixing_summary([mix_halves("b", b.take(np.array([0])), task)])["gain_base"].to_list() == [None]
    assert len(compression_rows("a", "b", None, a, b, task)) > 4


def test_steps_of_the_curve() -> None:
    assert steps(2048, 4096) == list(range(256, 4097, 256))
    assert steps(64, 100) == [*range(8, 97, 8), 100]
    assert steps(3, 5) == [1, 2, 3, 4, 5]
    assert steps(0, 2) == [1, 2]


def test_compression() -> None:
    task = trial(250, None)
    left, right = seen(task, slice(0, 5), 16, 1, 0.7), seen(task, slice(3, 8), 16, 2, 0.7)
    table = compression_table(compression_rows("a", "b", "dataset", left, right, task))
    assert set(table["trained_on"]) == {"5 folds"}
    for order in ("covariance", "random"):
        assert table.filter(order=order)["dimension"].to_list() == list(range(2, 33, 2))
    own = table.filter(order="base")
    assert own["dimension"].to_list() == [16]
    assert own["accuracy"][0] == pytest.approx(task.right(left).mean())
    ends = table.filter(dimension=32)["accuracy"].to_list()
    assert ends == [task.right(left.beside(right)).mean()] * 2
    assert features_needed(table)["dimension"].max() <= 16


def test_downstream() -> None:
    task = trial(600, None, seed=3)
    left, right = seen(task, slice(0, 5), 16, 1, 0.7), seen(task, slice(3, 8), 16, 2, 0.7)
    found = {("a", None): judged(task, left), ("b", None): judged(task, right), ("a", "b"): judged(task, left, right)}
    table = downstream_table("other", task, found)
    assert table["metric"].to_list() == ["accuracy"] * 3
    assert table["trained_on"].to_list() == ["5 folds"] * 3
    assert table["gain_low"][2] > 0
    several = replace(task, several=True)
    found = {("a", None): judged(several, left), ("b", None): judged(several, right)}
    found["a", "b"] = judged(several, left, right)
    table = downstream_table("other", several, found)
    assert table["metric"].to_list() == ["map_11"] * 3
    assert table["gain_low"][2] > 0
