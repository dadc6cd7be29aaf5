"""A table of as many pairs as 10,000 models have: written row group by row group, put into a store, and read by all
that reads it without holding it. Its figures are made up: what they mean costs nothing here, how many they are does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from overlap.analysis.notes import pair_notes
from overlap.analysis.pairs import CATEGORIES, SCHEMA, frame, pair_count, pair_indices
from overlap.analysis.specialisation.driving import driven_pairs
from overlap.published import read_results, write_results
from overlap.report.findings import find
from overlap.report.results import Results
from overlap.report.sentences import divergence
from overlap.store import Location, open_objects
from overlap.store.long_tables import GROUP, LongTable, Writer
from tests.benchmarks.comparison import Found, Said
from tests.benchmarks.options import Options
from tests.benchmarks.stages import GIB, Stages
from workflows.changes.news import _partners

BOUND = 3.0
"""GiB that the process may hold at any time: a column of numbers is 0.4, the median of one sorts a copy."""


def compared(options: Options) -> Iterator[Found]:
    """Rows of writing, of the store, and of each reader."""
    models = 300 if options.quick else 10_000
    names = [f"model-{number:05}" for number in range(models)]
    objects = open_objects(Location(str(options.folder / "store")))
    stages = Stages()
    held: dict[str, Any] = {}
    with stages.watched():

        def take(what: str, work: Callable[[], object]) -> None:
            started = time.perf_counter()
            with stages.stage(what):
                held[what] = work()
            held[what, "s"] = time.perf_counter() - started

        take("written", lambda: _written(names))
        table: LongTable = held["written"]
        assert table.rows == pair_count(models)
        accuracy = pl.DataFrame(
            {"model": names, "fingerprint": names, "n": [50_000] * models, "accuracy": [0.7] * models}
        )
        results = Results("s", "val", "d" * 64, "i" * 64, accuracy, table.frame(), files={"pairs": table})
        take("put twice, a folder", lambda: write_results(results, objects))
        take("read again and verified", lambda: read_results("val", objects))
        again: Results = held["read again and verified"]
        assert again.rows("pairs") == table.rows
        assert table.is_held or again.pairs.is_empty()
        rows = again.scan("pairs")
        take("notes", lambda: pair_notes(rows))
        take("findings", lambda: find(again))
        take("sentence on all pairs", lambda: divergence.pairs(again))
        take("pairs whose images are looked up", lambda: driven_pairs(rows))
        take("partners of one model", lambda: _partners(names[models // 2], rows))
    assert held["findings"].pairs == table.rows
    whats = [what for what in held if isinstance(what, str)]
    size = table.path.stat().st_size / GIB
    for what in whats:
        own = stages.all[what,].own["driver"] / GIB
        assert own <= BOUND, f"{what}: {own:.2f} GiB"
        said = f"{held[what, 's']:.1f} s, at most {own:.2f} GiB of its own"
        yield Said(
            "long pairs", f"{what}, {table.rows:,} rows of {size:.1f} GiB", said, {"s": held[what, "s"], "gib": own}
        )


def _written(names: list[str]) -> LongTable:
    random = np.random.default_rng(0)
    every = pair_count(len(names))
    with Writer(SCHEMA) as writer:
        for start in range(0, every, GROUP):
            first, second = pair_indices(len(names), slice(start, start + GROUP))
            count = random.integers(0, 50_000, len(first))
            share = random.random(len(first))
            texts = {"model_a": pl.Series(names).gather(first), "model_b": pl.Series(names).gather(second)}
            number = pl.Series([*CATEGORIES, None], dtype=pl.String()).gather((first + second) % (len(CATEGORIES) + 1))
            columns = {name: count if kind == pl.Int64() else share for name, kind in SCHEMA.items()}
            writer.add(frame(columns | texts | {"category": number, "n": np.full(len(first), 50_000)}, SCHEMA))
    return writer.table
