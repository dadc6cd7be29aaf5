"""What a command takes that has nothing to do, as whole processes: help, status of a large store, a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import large_store
from tests.benchmarks.comparison import Comparison, Found, Said
from tests.benchmarks.options import Options, seconds

COMMAND = [sys.executable, "-m", "overlap.cli"]
HELP, STATUS, RUN = 0.4, 3.0, 5.0
"""Seconds that each may take."""


def compared(options: Options) -> Iterator[Found]:
    """Rows of help, of status over 100 checkpoints × 192 shards, and of a run that finds everything done."""
    size = large_store.Size(4, 128, 10, 8) if options.quick else large_store.Size(100, 1920, 10, 192)
    study = large_store.make(options.folder / "store", size)
    units = size.models * size.shards
    idle = {"limit": "an interpreter that does nothing"}
    first = seconds(lambda: _overlap("run", str(study.path)))
    done = _overlap("status", str(study.path))
    assert f"{units} of {units} units" in done, done
    again = _overlap("run", str(study.path), "--json")
    assert '"computed": 0' in again, again
    spent: dict[str, list[float]] = {"bare": [], "help": [], "status": [], "run": [], "listing": []}
    folder = Path(study.store.uri)
    for _ in range(options.rounds):
        spent["bare"].append(seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True)))
        spent["help"].append(seconds(lambda: _overlap("--help")))
        spent["status"].append(seconds(lambda: _overlap("status", str(study.path))))
        spent["run"].append(seconds(lambda: _overlap("run", str(study.path))))
        spent["listing"].append(seconds(lambda: sum(len(files) for _, _, files in os.walk(folder / "records"))))
    yield Comparison("start", "overlap --help", spent["help"], **idle, bare=spent["bare"], wanted="seconds", bound=HELP)
    what = f"overlap status, {units:,} units in a folder"
    both = [one + other for one, other in zip(spent["bare"], spent["listing"], strict=True)]
    yield Comparison("start", what, spent["status"], limit="the same, and a walk over the records", bare=both,
                     wanted="seconds", bound=STATUS)  # fmt: skip
    what = f"overlap run with nothing to do, {units:,} units"
    yield Comparison("start", what, spent["run"], **idle, bare=spent["bare"], wanted="seconds", bound=RUN)
    yield Said("start", "the run before, which reduced the same", f"{first:.0f} s", {"seconds": first})


def _overlap(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout
