"""All benchmarks: python -m tests.benchmarks [--only NAME] [--quick] [--json FILE] [--cache DIR]

Each stage runs in a process of its own, one after the other: its peak memory is its own, and one that fails, or lacks
what it is compared with, is a row that says so. One thread for each process of numpy, torch and numba.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.comparison import Found, Said, read, show
from tests.benchmarks.options import Options
from tests.benchmarks.table import peak_memory
from tests.servers import tied

STAGES: dict[str, str] = {
    "fanout": "tests.benchmarks.fanout",
    "heavy": "tests.benchmarks.heavy",
    "decoders": "tests.benchmarks.decoders",
    "pairs": "tests.benchmarks.pairs",
    "stored": "tests.benchmarks.stored",
    "blocks": "tests.benchmarks.blocks",
    "long-pairs": "tests.benchmarks.long_pairs",
    "greedy": "tests.benchmarks.greedy",
    "top": "tests.benchmarks.top",
    "start": "tests.benchmarks.start",
    "nothing-new": "tests.benchmarks.nothing_new",
    "growth": "tests.benchmarks.growth",
    "fanout-growth": "tests.benchmarks.fanout_growth",
}
"""Modules with a function `compared(options)` that yields rows."""
MOST = 1800.0
"""Seconds after which a stage is given up."""


def main() -> None:
    """Run the stages that are asked for and print what they found."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=STAGES, help="a stage; may be given several times")
    parser.add_argument("--quick", action="store_true", help="small sizes: do the programs work?")
    parser.add_argument("--json", type=Path, help="a file for the record")
    parser.add_argument("--cache", type=Path, help="a folder that is kept, where autogluon.core is installed")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovl-") as folder:
        options = Options(Path(folder), asked.quick, asked.cache)
        if asked.stage:
            with asked.into.open("a", encoding="utf-8") as file:
                _run(STAGES[asked.stage], options, lambda row: print(json.dumps(row.record()), file=file, flush=True))
            return
        names = asked.only or [name for name, module in STAGES.items() if _exists(module)]
        record = {"machine": _machine(), "quick": asked.quick, "stages": {}, "rows": []}
        found: list[Found] = []
        for name in names:
            rows, told = _apart(name, options)
            found += rows
            record["stages"][name] = told
            record["rows"] += [row.record() for row in rows]
            print(f"{name}: {told['seconds']:.0f} s, load {told['load']:.1f}", file=sys.stderr, flush=True)
            if asked.json:
                asked.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(found)
    print(", ".join(f"{name} {value}" for name, value in record["machine"].items()))
    sys.exit(any(told["failed"] for told in record["stages"].values()))


def _run(module: str, options: Options, tell: Callable[[Found], None]) -> None:
    compared: Callable[[Options], Iterable[Found]] = importlib.import_module(module).compared
    stage = module.rpartition(".")[2]
    for row in compared(options):
        tell(row)
        stage = row.stage
    tell(Said(stage, "peak resident memory of its process", f"{peak_memory():.2f} GiB", {"gib": peak_memory()}))


def _apart(name: str, options: Options) -> tuple[list[Found], dict[str, Any]]:
    """Run a stage in a process of its own; returns its rows, and what became of it."""
    into = options.folder / f"{name}.jsonl"
    into.touch()
    command = [sys.executable, "-m", "tests.benchmarks", "--stage", name, "--into", str(into)]
    command += ["--quick"] if options.quick else []
    command += ["--cache", str(options.cache)] if options.cache else []
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(options.folder)}
    try:
        done = subprocess.run(tied(command), env=environment, capture_output=True, text=True, timeout=MOST, check=False)
        failed = (
            "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        )
        if failed:
            print(done.stderr, file=sys.stderr)
    except subprocess.TimeoutExpired:
        failed = f"was given up after {MOST:.0f} s"
    rows = [read(json.loads(line)) for line in into.read_text(encoding="utf-8").splitlines()]
    if failed:
        rows.append(Said(name, "failed", failed))
    told = {"seconds": time.perf_counter() - started, "load": os.getloadavg()[0], "failed": failed}
    return rows, told


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _machine() -> dict[str, str]:
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    versions = {name: version(name) for name in ("numpy", "torch", "timm", "ray", "polars", "scikit-learn")}
    return {"cpu": cpu, "cores": str(os.cpu_count()), "python": platform.python_version(), **versions}


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(errors="replace").splitlines() if file.exists() else []


if __name__ == "__main__":
    main()
