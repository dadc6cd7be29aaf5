"""Which ensemble is meant: the best one of a search, a shorter or longer one of it, or models by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from overlap.ensemble.description import Tested
from overlap.errors import StudyError
from overlap.report.results import Results

MAIN = "greedy"
"""The search that starts from the best single model and may take everything."""
NAMED = "models"
"""What stands for a search where models were named."""

UNKNOWN = Tested(None, None, None, None, None)


@dataclass(frozen=True)
class Choice:
    """An ensemble by the names of its members."""

    search: str
    weights: dict[str, float]
    """Share of each model, summing to one."""
    members: tuple[str, ...] = ()
    """In the order in which they were selected, a model once or several times; empty for searches of weights."""
    tested: Tested = UNKNOWN

    @property
    def size(self) -> int:
        """Members, each as often as it was taken."""
        return len(self.members) or len(self.weights)


def choose(results: Results, search: str | None = None, size: int | None = None, models: Sequence[str] = ()) -> Choice:
    """The ensemble that is asked for.

    Args:
        results: of a data set.
        search: a name of the table `searches`; the main one without it.
        size: members; those of the best step on the selection split without it.
        models: names instead of a search; one may be there several times.

    Raises:
        StudyError: no such search, size or model, or no ensembles at all.
    """
    if models:
        return _named(results, models, search, size)
    searches = results.table("searches")
    known = [] if not searches.height else searches["search"].to_list()
    name = MAIN if search is None else search
    if name not in known:
        what = f"no search '{name}'; there are: {', '.join(known)}" if known else "no ensembles: no model has logits"
        raise StudyError(f"{results.data}: {what}")
    row = searches.row(known.index(name), named=True)
    if row["size"] is None:
        raise StudyError(f"{results.data}: search '{name}' found nothing ({row['reason'] or 'no model is ever right'})")
    steps = results.ensembles.filter(pl.col("search") == name).sort("step")
    if size is not None and not 1 <= size <= steps.height:
        has = f"has sizes 1 to {steps.height}" if steps.height else "weighs its models and has no sizes"
        raise StudyError(f"{results.data}: search '{name}' {has}; --size {size} is none of them")
    reference = _reference(results)
    if steps.height:
        taken = steps.row((size or row["size"]) - 1, named=True)
        members = tuple(steps["model"].to_list()[: taken["step"]])
        gain = None if taken["accuracy_test"] is None else taken["accuracy_test"] - _accuracy(results)
        tested = Tested(taken["accuracy_test"], gain, taken["gain_low"], taken["gain_high"], reference)
        return Choice(name, equal(members), members, tested)
    weighed = results.table("ensemble_weights").filter(pl.col("search") == name)
    tested = Tested(row["accuracy_test"], row["gain"], row["gain_low"], row["gain_high"], reference)
    return Choice(name, dict(weighed.select("model", "weight").iter_rows()), (), tested)


def equal(members: Sequence[str]) -> dict[str, float]:
    """The share of each model where every member counts alike, in order of first appearance."""
    return {model: members.count(model) / len(members) for model in dict.fromkeys(members)}


def fingerprints(results: Results, choice: Choice) -> dict[str, str]:
    """Fingerprints of an ensemble's models.

    Raises:
        StudyError: one has no weights in this study: its predictions were imported.
    """
    known = dict(results.models.select("model", "fingerprint").iter_rows())
    for model in choice.weights:
        if known.get(model) is None:
            raise StudyError(f"model '{model}' has no weights here (its predictions were imported); leave it out")
    return {model: known[model] for model in choice.weights}


def _named(results: Results, models: Sequence[str], search: str | None, size: int | None) -> Choice:
    if search is not None or size is not None:
        raise StudyError("models are named, so there is no search and no size; leave --search and --size out")
    known = set(results.models.filter(pl.col("accuracy").is_not_null())["model"].to_list())
    for model in models:
        if model not in known:
            raise StudyError(
                f"{results.data}: no model '{model}' with predictions; there are: {', '.join(sorted(known))}"
            )
    return Choice(NAMED, equal(models), tuple(models), Tested(None, None, None, None, _reference(results)))


def _reference(results: Results) -> str | None:
    """The best single model of the selection split: the first step of the main search."""
    first = (
        results.ensembles.filter((pl.col("search") == MAIN) & (pl.col("step") == 1))
        if results.ensembles.width
        else None
    )
    return str(first["model"][0]) if first is not None and first.height else None


def _accuracy(results: Results) -> float:
    first = results.ensembles.filter((pl.col("search") == MAIN) & (pl.col("step") == 1))
    return float(first["accuracy_test"][0])
