"""What is new in a reduction since the one before it: who came, went or changed, and where newcomers stand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from overlap.analysis import bits
from overlap.analysis.newcomers import only_right, rank
from overlap.analysis.shares import wilson
from overlap.earlier import Earlier
from overlap.identity import canonical_json, differences
from overlap.news import Change, ModelNews, News, Partner, Place
from overlap.panel import Panel
from overlap.report.results import Results
from overlap.store import layout
from overlap.store.objects import Objects, get_many
from workflows.changes.successors import SEARCH, members, sizes
from workflows.gate import QUARANTINED
from workflows.reductions.answers import Answers
from workflows.reductions.counting import LookedUp

ORDER: tuple[Change, ...] = ("added", "replaced", "back", "withdrawn", "failed", "quarantined")
TEXT = 60
"""Characters of a value of an identity that are told."""


def since(
    earlier: Earlier,
    results: Results,
    panel: Panel,
    answers: Answers,
    objects: Objects,
) -> tuple[News, LookedUp]:
    """Compare a reduction with the one before; and the logits that were read for it.

    Args:
        earlier: the reduction before.
        results: the tables now.
        panel: of the models that take part.
        answers: of those that have logits.
        objects: the store, which holds the identities behind fingerprints.
    """
    before, now = _states(earlier.models, earlier.absent), _states(results.models, results.absent)
    steps = members(results.ensembles)
    kept = [name for name, state in now.items() if name in before and before[name].fingerprint == state.fingerprint]
    # of the largest logits alone no earlier ensemble can be judged anew
    searched = results.ensembles if answers.models else results.ensembles.clear()
    compared, looked_up = sizes(earlier, searched, kept, answers)
    correct, n = panel.correct, len(panel.keys)
    alone = only_right(correct) if panel.models else np.empty(0, np.int64)
    words = bits.packed(correct)

    def place(model: str) -> Place:
        row = panel.row(model)
        ranked, right = rank(row, words), int(correct[row].sum())
        low, high = wilson(right / n, n)
        nearest, farthest = _partners(model, results.scan("pairs"))
        return Place(
            n,
            right / n,
            low,
            high,
            ranked.place,
            ranked.low,
            ranked.high,
            ranked.of,
            int(alone[row]),
            nearest,
            farthest,
            tuple(size for size in range(1, len(steps) + 1) if model in steps[:size]),
        )

    gone = {state.fingerprint: name for name, state in before.items() if name not in now and state.fingerprint}
    models = []
    for change, name in _changes(before, now):
        state = now.get(name) or before[name]
        old = before.get(name)
        models.append(
            ModelNews(
                name,
                change,
                state.fingerprint,
                reason=None if state.takes_part else state.reason,
                fields=_fields(name, old, state, objects) if old is not None and name in now else (),
                renamed=gone.get(state.fingerprint or "") if change == "added" else None,
                accuracy_before=None if old is None else old.accuracy,
                place=place(name) if name in now and state.takes_part and n else None,
            )
        )
    news = News(
        earlier.inputs_digest,
        earlier.dataset_digest,
        earlier.reduced,
        results.inputs_digest,
        None if earlier.news is None else str(earlier.news["id"]),
        earlier.dataset_digest != results.dataset_digest,
        sum(state.takes_part for state in before.values()),
        sum(state.takes_part for state in now.values()),
        tuple(models),
        SEARCH if compared else None,
        tuple(compared),
    )
    return news, looked_up


@dataclass(frozen=True)
class State:
    """What a reduction says of one model."""

    fingerprint: str | None
    takes_part: bool
    quarantined: bool = False
    accuracy: float | None = None
    reason: str | None = None


def _states(models: pl.DataFrame, absent: Mapping[str, str]) -> dict[str, State]:
    states = {name: State(None, False, reason=reason) for name, reason in absent.items()}
    for row in models.select("model", "fingerprint", "status", "accuracy").iter_rows(named=True):
        name, status = row["model"], row["status"]
        states[name] = State(
            row["fingerprint"],
            status in ("complete", "imported"),
            status == QUARANTINED,
            row["accuracy"],
            absent.get(name),
        )
    return states


def _changes(before: Mapping[str, State], now: Mapping[str, State]) -> Iterator[tuple[Change, str]]:
    """Models of which something is new, those that take part first, each kind by name."""
    found: dict[Change, list[str]] = {change: [] for change in ORDER}
    for name in sorted({*before, *now}):
        change = _change(before.get(name), now.get(name))
        if change is not None:
            found[change].append(name)
    for change, names in found.items():
        yield from ((change, name) for name in names)


def _change(old: State | None, new: State | None) -> Change | None:
    if new is None:
        return "withdrawn"
    if new.takes_part:
        if old is None:
            return "added"
        if not old.takes_part:
            return "back"
        return "replaced" if old.fingerprint != new.fingerprint else None
    if old is not None and not old.takes_part and old.quarantined == new.quarantined:
        return None
    return "quarantined" if new.quarantined else "failed"


def _fields(name: str, old: State, new: State, objects: Objects) -> tuple[tuple[str, str, str], ...]:
    """What differs between two identities of one name, as texts; nothing where one is not in the store."""
    if old.fingerprint is None or new.fingerprint is None or old.fingerprint == new.fingerprint:
        return ()
    keys = [layout.identity(name, one) for one in (old.fingerprint, new.fingerprint)]
    read = get_many(objects, keys)
    if len(read) < 2:
        return ()
    found = differences(*(json.loads(read[key]) for key in keys))
    return tuple((field, _text(then), _text(now)) for field, then, now in found)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value).decode()
    return text if len(text) <= TEXT else f"{text[:TEXT]}…"


def _partners(model: str, pairs: pl.LazyFrame) -> tuple[Partner | None, Partner | None]:
    """The partners with the largest and the smallest kappa, duplicates left out; of equals the first by name."""
    held = pairs.filter(
        ((pl.col("model_a") == model) | (pl.col("model_b") == model))
        & (pl.col("category").fill_null("") != "duplicate")
        & pl.col("kappa").is_not_null()
        & pl.col("kappa").is_not_nan()
    ).with_columns(partner=pl.when(pl.col("model_a") == model).then(pl.col("model_b")).otherwise(pl.col("model_a")))
    mine = held.select("partner", "kappa", "kappa_low", "kappa_high").collect(engine="streaming")
    if mine.is_empty():
        return None, None

    def first(*, descending: bool) -> Partner:
        row = mine.sort("kappa", "partner", descending=[descending, False]).row(0, named=True)
        return Partner(row["partner"], row["kappa"], row["kappa_low"], row["kappa_high"])

    return first(descending=True), first(descending=False)
