"""The tables of searches: steps, one row a search, weights, and the front of accuracy over cost.

Guarantees: gains are over the best single model of the selection split, on the test split, with their paired 95%
interval; an ensemble that is that model alone gains exactly nothing. Without images of the test split they are null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from overlap.analysis.ensembles.budgets import COSTS, front
from overlap.analysis.ensembles.forward import Found
from overlap.analysis.ensembles.likelihood import LEAST
from overlap.analysis.ensembles.outcomes import Outcomes
from overlap.analysis.ensembles.part import Counts
from overlap.analysis.ensembles.steps import Steps, steps_table
from overlap.analysis.ensembles.suite import Suite
from overlap.analysis.intervals import gain_interval
from overlap.analysis.pairs import frame

SEARCHES: dict[str, pl.DataType] = {
    "search": pl.String(),
    "kind": pl.String(),
    "anchor": pl.String(),
    "pool": pl.String(),
    "objective": pl.String(),
    "size": pl.Int64(),
    "distinct": pl.Int64(),
    "accuracy_select": pl.Float64(),
    "accuracy_test": pl.Float64(),
    "gain": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
    "optimism": pl.Float64(),
    "nll_test": pl.Float64(),
    "parameters": pl.Float64(),
    "gflops": pl.Float64(),
    "milliseconds": pl.Float64(),
    "uncertified": pl.Float64(),
    "reason": pl.String(),
}

WEIGHTS: dict[str, pl.DataType] = {"search": pl.String(), "model": pl.String(), "weight": pl.Float64()}

PARETO: dict[str, pl.DataType] = {
    "cost": pl.String(),
    "budget": pl.Float64(),
    "total": pl.Float64(),
    "members": pl.String(),
    "accuracy_select": pl.Float64(),
    "accuracy_test": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
}


@dataclass(frozen=True)
class Judged:
    """A suite with its outcomes, and what its tables need of the models.

    Attributes:
        models: M names, ascending.
        suite: the searches.
        outcomes: of `suite.ensembles`, over all images.
        single: (2,) images that the reference gets right on the selection and on the test split.
        images: (selected, tested).
        likelihood: (M, tested) float32 of the accepted classes together, out of fold, on the test split.
        costs: as in `suite.Zoo`.
    """

    models: Sequence[str]
    suite: Suite
    outcomes: Outcomes
    single: tuple[int, int]
    images: tuple[int, int]
    likelihood: NDArray[np.float32]
    costs: Mapping[str, NDArray[np.float64]]

    def steps(self) -> pl.DataFrame:
        """`ensembles.parquet`: one row a step of every search that has steps."""
        found = [
            Steps(one.name, one.members, counts)
            for one, counts in zip(self.suite.found, self.outcomes, strict=False)
            if one.members
        ]
        return steps_table(self.models, found, self.suite.reference, self.images)

    def searches(self) -> pl.DataFrame:
        """`searches.parquet`: one row a search, of its best prefix on the selection split."""
        rows = [self._row(one, counts) for one, counts in zip(self.suite.found, self.outcomes, strict=False)]
        return frame({name: [row.get(name) for row in rows] for name in SEARCHES}, SEARCHES)

    def weights(self) -> pl.DataFrame:
        """`ensemble_weights.parquet`: what every model weighs in every search, weights of a search summing to one."""
        rows = [(one.name, self.models[model], weight) for one in self.suite.found for model, weight in one.chosen]
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        return frame(dict(zip(WEIGHTS, map(list, columns), strict=True)), WEIGHTS)

    def pareto(self) -> pl.DataFrame:
        """`pareto.parquet`: by cost, the ensembles that none is both cheaper and better than on the selection split."""
        rows = [row for cost in COSTS if cost in self.costs for row in self._front(cost)]
        return frame({name: [row[name] for row in rows] for name in PARETO}, PARETO)

    def _row(self, one: Found, counts: Counts) -> dict[str, Any]:
        row: dict[str, Any] = {
            "search": one.name,
            "kind": one.kind,
            "anchor": None if one.anchor is None else self.models[one.anchor],
            "pool": one.pool,
            "objective": one.objective,
            "uncertified": one.uncertified,
            "reason": one.reason,
        }
        if not one.chosen:
            return row
        chosen = dict(one.chosen)
        row |= self._measured(one.chosen, counts[:, max(0, one.best - 1)])
        row |= {name: self._total(name, list(chosen)) for name in COSTS}
        row |= {"size": one.best or len(chosen), "distinct": len(chosen)}
        selected, tested = self.images
        if tested:
            mixed = sum(weight * self.likelihood[model].astype(np.float64) for model, weight in one.chosen)
            row["nll_test"] = round(-float(np.log(np.maximum(mixed, LEAST)).mean()), 12)
            fall = self.single[0] / selected - self.single[1] / tested
            row["optimism"] = row["accuracy_select"] - row["accuracy_test"] - fall
        return row

    def _measured(self, chosen: Sequence[tuple[int, float]], counts: Counts) -> dict[str, float | None]:
        """Accuracies and gain of one ensemble, from its (2, 3) counts."""
        selected, tested = self.images
        row: dict[str, float | None] = {"accuracy_select": int(counts[0, 0]) / selected}
        if tested:
            low, high = gain_interval(counts[1, 1], counts[1, 2], tested)
            alone = {model for model, _ in chosen} == {self.suite.reference}
            row["accuracy_test"] = int(counts[1, 0]) / tested
            row["gain"] = int(counts[1, 1] - counts[1, 2]) / tested
            row["gain_low"], row["gain_high"] = (0.0, 0.0) if alone else (float(low), float(high))
        return row

    def _total(self, name: str, models: Sequence[int]) -> float | None:
        """What models cost together; None where the cost of one is unknown."""
        cost = self.costs.get(name)
        total = np.nan if cost is None else float(sum(cost[model] for model in sorted(models)))
        return None if np.isnan(total) else total

    def _front(self, cost: str) -> list[dict[str, Any]]:
        """Every prefix of every search is a point."""
        budgets = [None] * len(self.suite.found) + [budget for _, budget, _ in self.suite.fronts]
        of = [cost] * len(self.suite.found) + [name for name, *_ in self.suite.fronts]
        rows: list[dict[str, Any]] = []
        for one, counts, budget, name in zip(self.suite.ensembles, self.outcomes, budgets, of, strict=True):
            for step in range(len(counts[0])):
                members = one.members[: step + 1]
                weights = one.weights or tuple((model, 1.0) for model in sorted(set(members)))
                total = self._total(cost, list(dict(weights)))
                if total is not None:
                    weighed = [f"{weight:.3g} {self.models[model]}" for model, weight in one.weights]
                    told = " + ".join(weighed or [self.models[model] for model in members])
                    figures = self._measured(weights, counts[:, step])
                    own = {"cost": cost, "budget": budget if name == cost else None, "total": total, "members": told}
                    rows.append(dict.fromkeys(PARETO) | own | {key: figures[key] for key in figures if key in PARETO})
        return [rows[place] for place in front([(row["total"], row["accuracy_select"]) for row in rows])]
