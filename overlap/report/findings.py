"""The few facts a person wants first, taken from the tables: best single, categories, best pair, best ensemble.

A best prefix of a greedy search is chosen by its accuracy on the selection split alone, so that its accuracy on the
test split stays an honest number. The best pair is the largest of many and said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from overlap.report.palette import in_order
from overlap.report.results import Results
from overlap.report.sentences.sentence import most


@dataclass(frozen=True)
class Step:
    """One member added by a greedy search. Accuracies are fractions, 0-1."""

    number: int
    model: str
    accuracy_select: float
    accuracy_test: float | None
    """None where the test split has no image; gains are absent then too."""
    gain_low: float | None
    gain_high: float | None


@dataclass(frozen=True)
class Search:
    """One greedy search: all its steps, and how many of them make the best ensemble on the selection split."""

    name: str
    steps: tuple[Step, ...]
    best: int

    @property
    def chosen(self) -> Step:
        """The last step of the best prefix."""
        return self.steps[self.best - 1]

    @property
    def members(self) -> tuple[Step, ...]:
        """The steps of the best prefix; a model that was drawn twice appears twice."""
        return self.steps[: self.best]


@dataclass(frozen=True)
class Findings:
    """What a study found. Rows are those of the tables, as dictionaries; None where a table has no such row."""

    models: int
    pairs: int
    images: int
    best_single: dict[str, object] | None
    most_alike: dict[str, object] | None
    most_unlike: dict[str, object] | None
    best_pair: dict[str, object] | None
    categories: tuple[dict[str, object], ...]
    searches: tuple[Search, ...]

    @property
    def best_search(self) -> Search | None:
        """The search whose best prefix has the highest accuracy on the selection split; the first one of equals."""
        return max(self.searches, key=lambda search: search.chosen.accuracy_select, default=None)


def find(results: Results) -> Findings:
    """Read the findings off the tables. Ties go to the row that comes first."""
    models = results.models.filter(pl.col("accuracy").is_not_null())
    if "status" in models.columns:
        models = models.filter(pl.col("status").fill_null("") != "quarantined")
    others = results.scan("pairs").filter(pl.col("category").fill_null("") != "duplicate")
    counts = models["n"].drop_nulls().to_list()
    return Findings(
        models=models.height,
        pairs=results.rows("pairs"),
        images=max((int(count) for count in counts), default=0),
        best_single=_extreme(models, "accuracy", highest=True),
        most_alike=_extreme(others, "kappa", highest=True),
        most_unlike=_extreme(others, "kappa", highest=False),
        best_pair=None if _undecided(results) else _extreme(results.pair_ensembles, "gain_best", highest=True),
        categories=tuple(in_order(results.categories).to_dicts()) if results.categories.width else (),
        searches=_searches(results.ensembles),
    )


def _undecided(results: Results) -> bool:
    """Whether an image that the largest logits leave open could make another pair the best."""
    bounds = results.table("pair_ensemble_bounds")
    return bool(bounds.width and (bounds["undecided"] > 0).any())


def _extreme(table: pl.DataFrame | pl.LazyFrame, column: str, *, highest: bool) -> dict[str, object] | None:
    row = most(table, column, least=not highest)
    return None if row is None else dict(row)


def _searches(table: pl.DataFrame) -> tuple[Search, ...]:
    if table.is_empty():
        return ()
    found = []
    for name in table["search"].unique(maintain_order=True):
        rows = table.filter(pl.col("search") == name).sort("step").to_dicts()
        steps = tuple(
            Step(
                row["step"],
                row["model"],
                row["accuracy_select"],
                row["accuracy_test"],
                row["gain_low"],
                row["gain_high"],
            )
            for row in rows
        )
        if any(step.accuracy_select is None for step in steps):
            continue  # undecided images leave open which prefix is the best (see ensemble_bounds)
        best = max(range(len(steps)), key=lambda place: (steps[place].accuracy_select, -place)) + 1
        found.append(Search(str(name), steps, best))
    return tuple(found)
