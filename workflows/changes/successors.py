"""Best ensembles of each size beside those of the reduction before, judged on the same images.

Earlier ensembles are judged anew, on today's test images and with today's temperatures. What lost a member, or had one
replaced, cannot be judged and is said to be so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from overlap.analysis.ensembles.successors import Succession, successions
from overlap.earlier import Earlier
from overlap.news import SizeNews
from workflows.reductions.answers import Answers
from workflows.reductions.counting import LookedUp
from workflows.reductions.judging import rights

SEARCH = "greedy"
"""The search whose ensembles are compared, size by size: a prefix of its steps is its best of that size."""


def members(ensembles: pl.DataFrame) -> list[str]:
    """Members of the main search in the order of their selection."""
    if ensembles.is_empty():
        return []
    return ensembles.filter(pl.col("search") == SEARCH).sort("step")["model"].to_list()


def _tested(ensembles: pl.DataFrame) -> list[float | None]:
    """What the main search reaches on the test split, by step."""
    return ensembles.filter(pl.col("search") == SEARCH).sort("step")["accuracy_test"].to_list()


def sizes(
    earlier: Earlier,
    ensembles: pl.DataFrame,
    kept: Collection[str],
    answers: Answers,
) -> tuple[list[SizeNews], LookedUp]:
    """Each size of either search, earlier ensembles judged now where all their members are still as they were; and the
    logits that were read for it.

    Args:
        earlier: the reduction before.
        ensembles: the table now.
        kept: models that are what they were.
        answers: of the models that have logits.
    """
    was, new = members(earlier.ensembles), members(ensembles)
    if not was or not new:
        return [], LookedUp()
    then, today = _tested(earlier.ensembles), _tested(ensembles)
    reasons, judged = dict[int, str](), list[int]()
    for size in range(1, max(len(was), len(new)) + 1):
        if size > min(len(was), len(new)):
            reasons[size] = f"there {'was' if size > len(was) else 'is'} none of this size"
        elif lost := [name for name in dict.fromkeys(was[:size]) if name not in kept or name not in answers.models]:
            why = [f"{name} {'was replaced' if name in answers.models else 'takes no part any more'}" for name in lost]
            reasons[size] = f"it cannot be judged any more: {', '.join(why)}"
        elif sorted(was[:size]) != sorted(new[:size]):
            judged.append(size)
    before, now = [was[:size] for size in judged], [new[:size] for size in judged]
    compared, looked_up = _judged(before, now, answers)
    found = dict(zip(judged, compared, strict=False))
    rows = []
    for size in range(1, max(len(was), len(new)) + 1):
        both = (tuple(was[:size]) if size <= len(was) else (), tuple(new[:size]) if size <= len(new) else ())
        one = found.get(size)
        told = SizeNews(
            size,
            *both,
            changed=sorted(both[0]) != sorted(both[1]) or size in reasons,
            accuracy_then=then[size - 1] if size <= len(then) else None,
            accuracy_now=today[size - 1] if size <= len(today) else None,
            reason=reasons.get(size, "there are no test images" if size in judged and one is None else None),
            **({} if one is None else _compared(one)),
        )
        rows.append(told)
    return rows, looked_up


def _judged(
    before: Sequence[Sequence[str]], now: Sequence[Sequence[str]], answers: Answers
) -> tuple[list[Succession], LookedUp]:
    """Earlier ensembles beside later ones on the test images, as they are judged today."""
    number = {model: place for place, model in enumerate(answers.models)}
    asked = [tuple(number[model] for model in one) for one in (*before, *now)]
    distinct = list(dict.fromkeys(asked))
    if not distinct or answers.selection.all():
        return [], LookedUp()
    right, looked_up = rights(distinct, answers)
    right = right[:, ~answers.selection]
    rows = [distinct.index(one) for one in asked]
    return successions(right[rows[: len(before)]], right[rows[len(before) :]]), looked_up


def _compared(one: Succession) -> dict[str, Any]:
    return {
        "accuracy_before": one.accuracy_before,
        "gain": one.gain,
        "gain_low": one.gain_low,
        "gain_high": one.gain_high,
        "p_value": one.p_value,
        "p_adjusted": one.p_adjusted,
        "beyond": one.beyond,
    }
