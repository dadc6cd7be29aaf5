"""All searches of a study and their tables: against plain Python, whatever the parts, and at the edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from overlap.analysis import truths
from overlap.analysis.ensembles import outcomes, suite, sums
from overlap.analysis.ensembles.part import Part
from overlap.analysis.ensembles.parts import Parts
from overlap.analysis.ensembles.plans import Asked
from overlap.analysis.ensembles.tables import PARETO, SEARCHES, WEIGHTS, Judged
from tests.analysis.ensembles.test_weights import zoo_of
from tests.analysis.ensembles.zoo import Given, Zoo, never, several
from tests.reference import intervals
from tests.reference import selection as reference


@dataclass
class Study:
    """A zoo over both splits."""

    zoo: Zoo
    selection: np.ndarray

    @property
    def names(self) -> list[str]:
        return [f"m{number}" for number in range(len(self.zoo.probabilities))]

    @property
    def likelihood(self) -> np.ndarray:
        classes = truths.accepted(self.zoo.labels)
        rows = self.zoo.probabilities[:, np.arange(len(classes))[:, None], classes] * (classes != truths.NONE)
        return np.asarray(rows.sum(axis=2).astype(np.float32))

    def parts(self, pieces: int) -> Parts:
        zoo, images = self.zoo, np.flatnonzero(self.selection)
        return Parts.here(
            [
                Part(
                    [one.take(some) for one in zoo.largest],
                    zoo.labels[some],
                    some,
                    zoo.full,
                    zoo.probabilities.shape[2],
                )
                for some in np.array_split(images, pieces)
            ]
        )

    def judged(self, asked: Asked, pieces: int = 1, costs: dict[str, np.ndarray] | None = None) -> Judged:
        zoo, n = self.zoo, len(self.selection)
        models = len(zoo.probabilities)
        categories = np.full((models, models), "reinit", object)
        categories[: models // 2, models // 2 :] = "dataset"
        parts = self.parts(pieces)
        told = suite.Zoo(
            self.names, int(self.selection.sum()), self.likelihood[:, self.selection], categories, costs or {}
        )
        found = suite.searches(asked, told, parts)
        counted = [
            outcomes.outcomes(
                found.ensembles,
                found.reference,
                {model: Given.of(zoo.probabilities[model][some], zoo.labels[some]) for model in range(models)},
                zoo.labels[some],
                self.selection[some],
                never,
            )
            for some in np.array_split(np.arange(n), pieces)
        ]
        right = truths.right(zoo.probabilities[found.reference].argmax(axis=1), zoo.labels)
        single = int(right[self.selection].sum()), int(right[~self.selection].sum())
        images = int(self.selection.sum()), int((~self.selection).sum())
        likelihood = self.likelihood[:, ~self.selection]
        return Judged(self.names, found, outcomes.added(counted), single, images, likelihood, costs or {})


def study(models: int = 6, images: int = 150, classes: int = 5, seed: int = 0) -> Study:
    zoo = zoo_of(models, images, classes, seed=seed)
    return Study(zoo, np.random.default_rng(seed).random(images) < 0.4)


COSTS = {"parameters": np.array([3e6, 1e6, 2e6, np.nan, 5e6, 1e6]), "gflops": np.array([3.0, 1, 2, 4, 5, 1])}
ASKED = Asked(anchors=(2,), max_size=4, bags=3, budgets={"parameters": 4e6, "milliseconds": 1.0})


def tables(judged: Judged) -> list[pl.DataFrame]:
    return [judged.steps(), judged.searches(), judged.weights(), judged.pareto()]


def test_neither_parts_nor_ranges_change_a_table() -> None:
    one = study().judged(ASKED, 1, COSTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "CHUNK", 100)
        several_ = study().judged(ASKED, 7, COSTS)
    for table, again in zip(tables(one), tables(several_), strict=True):
        assert table.equals(again)
    assert one.suite == several_.suite


@pytest.mark.parametrize("labels", ["one", "several"])
def test_tables_are_those_of_plain_python(labels: str) -> None:
    study_ = study()
    if labels == "several":
        zoo = study_.zoo
        study_.zoo = Zoo(zoo.probabilities, several(zoo.labels, 5, np.random.default_rng(9)), 3)
    judged = study_.judged(ASKED, 2, COSTS)
    zoo, test = study_.zoo, np.flatnonzero(~study_.selection)
    select = np.flatnonzero(study_.selection)

    def right(weights: dict[int, float], images: np.ndarray) -> list[bool]:
        scores = [[one[image] for image in images] for one in zoo.scores]
        return [
            bool(reference.weighted_right([[row[place]] for row in scores], weights, [zoo.truth[image]]))
            for place, image in enumerate(images)
        ]

    best = {judged.suite.reference: 1.0}
    rows = {row["search"]: row for row in judged.searches().iter_rows(named=True)}
    for one in judged.suite.found:
        row = rows[one.name]
        if not one.chosen:
            assert row["reason"]
            assert row["accuracy_test"] is None
            continue
        chosen = dict(one.chosen)
        if one.members:  # counted, so that sums are exact
            chosen = {model: float(one.members[: one.best].count(model)) for model in chosen}
        tested, alone = right(chosen, test), right(best, test)
        n = len(test)
        plus = sum(a and not b for a, b in zip(tested, alone, strict=True))
        minus = sum(b and not a for a, b in zip(tested, alone, strict=True))
        assert row["accuracy_test"] == sum(tested) / n
        assert row["accuracy_select"] == sum(right(chosen, select)) / len(select)
        assert row["gain"] == pytest.approx((sum(tested) - sum(alone)) / n)
        if set(chosen) != set(best):
            assert (row["gain_low"], row["gain_high"]) == pytest.approx(intervals.gain_interval(plus, minus, n))
        fall = sum(right(best, select)) / len(select) - sum(alone) / n
        assert row["optimism"] == pytest.approx(row["accuracy_select"] - row["accuracy_test"] - fall)
        mixed = sum(weight * study_.likelihood[model, test].astype(float) for model, weight in one.chosen)
        assert row["nll_test"] == pytest.approx(-np.log(mixed).mean())
        for cost, values in COSTS.items():
            total = sum(values[model] for model in chosen)
            assert row[cost] == (None if np.isnan(total) else total)
        assert row["distinct"] == len(chosen)
    assert rows["within 1 milliseconds"]["reason"] == "milliseconds of no model are known"
    assert rows["within 4,000,000 parameters"]["parameters"] <= 4e6
    assert rows["greedy from m2"]["anchor"] == "m2"
    assert rows["control for m2"]["kind"] == "control"
    assert rows["bagged greedy"]["size"] == rows["bagged greedy"]["distinct"]


def test_what_was_certified_is_what_comes_out() -> None:
    judged = study(seed=3).judged(ASKED, 3, COSTS)
    checked = 0
    for one, counts in zip(judged.suite.ensembles, judged.outcomes, strict=True):
        if one.members and one.objective == "accuracy":
            assert counts[0, :, 0].tolist() == list(one.values)
            checked += 1
    assert checked > 10
    weights = judged.weights().group_by("search").agg(pl.col("weight").sum())
    assert weights["weight"].to_list() == pytest.approx([1] * len(weights))
    steps = judged.steps()
    assert set(steps["search"]) == {one.name for one in judged.suite.found if one.members}


def test_the_front_rises() -> None:
    front = study().judged(ASKED, 1, COSTS).pareto()
    assert set(front["cost"]) == {"parameters", "gflops"}
    for cost in COSTS:
        rows = front.filter(pl.col("cost") == cost)
        assert rows["total"].is_sorted()
        assert rows["accuracy_select"].is_sorted()
        assert rows["total"].n_unique() == rows["accuracy_select"].n_unique() == len(rows)
        assert (
            (rows.filter(pl.col("budget").is_not_null()).select(pl.col("total") <= pl.col("budget"))).to_series().all()
        )
    assert "m3" not in " ".join(front.filter(pl.col("cost") == "parameters")["members"]), "its cost is unknown"


def test_only_what_is_asked_for_is_searched() -> None:
    asked = Asked(max_size=2, bags=0, without_replacement=False, weights=False, objectives=("accuracy",))
    names = [one.name for one in study().judged(asked).suite.found]
    assert names[0] == "greedy"
    assert {name.partition(" for ")[0] for name in names[1:]} <= {
        "weak models",
        "weak models of other training",
        "control",
    }


@pytest.mark.parametrize("case", ["one", "identical", "always right", "never right", "all", "none", "constant"])
def test_edges(case: str) -> None:
    study_ = study(1 if case == "one" else 3, 30, 4)
    zoo = study_.zoo
    probabilities = zoo.probabilities.copy()
    if case == "identical":
        probabilities[:] = probabilities[0]
    if case == "always right":
        probabilities[0] = np.eye(4, dtype=np.float32)[zoo.labels]
    if case == "never right":
        probabilities[:] = np.eye(4, dtype=np.float32)[(zoo.labels + 1) % 4]
    if case == "constant":
        probabilities[:] = 0.25
        zoo.labels[::2] = 0
    study_.zoo = Zoo(probabilities, zoo.labels, 2)
    if case in ("all", "none"):
        study_.selection[:] = case == "all"
    costs = {"gflops": np.arange(1.0, len(probabilities) + 1)}
    judged = study_.judged(Asked(max_size=3, bags=2, budgets={"gflops": 0.5}), 2, costs)
    steps, rows, weights, front = tables(judged)
    assert (rows.columns, weights.columns, front.columns) == (list(SEARCHES), list(WEIGHTS), list(PARETO))
    for table in (steps, rows, weights, front):
        for column in table.select(pl.col(pl.Float64)):
            assert not column.is_nan().any()
    if case in ("never right", "none"):
        assert not len(weights)
        assert set(rows["reason"]) == {"no model is right on any image of the selection split"}
        return
    first = rows.row(0, named=True)
    assert first["search"] == "greedy"
    if case == "one":
        assert (first["gain"], first["gain_low"], first["gain_high"], first["optimism"]) == (0, 0, 0, 0)
    if case == "all":
        assert first["accuracy_test"] is None
        assert first["gain"] is None
    else:
        assert first["accuracy_test"] is not None
    (budget,) = rows.filter(pl.col("kind") == "budget").iter_rows(named=True)
    assert budget["reason"] == "no model is known to cost as little"
