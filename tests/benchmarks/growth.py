"""How time and memory grow: pairs and the search with models and images, planning and status with checkpoints."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from overlap.analysis.consistency import disagreement_counts, joint_counts
from overlap.analysis.ensembles.forward import forward
from overlap.analysis.pairs import pairs_table
from overlap.methodology import Training, pair_categories
from overlap.panel import Panel
from overlap.store.location import open_objects
from tests.analysis.zoo import pair_counts
from tests.benchmarks import large_store
from tests.benchmarks.comparison import Found, Growth
from tests.benchmarks.greedy import Zoo
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.pairs import hard_predictions
from tests.benchmarks.stages import GIB, Stages
from workflows import publish
from workflows.nodes.cluster import Cluster
from workflows.plan import location, make_plan
from workflows.reductions import pairs


def compared(options: Options) -> Iterator[Found]:
    """Rows of all."""
    yield from _pairs(options)
    yield from _tables(options)
    yield from _search(options)
    yield from _records(options)


def medians(work: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each piece of work, the median of interleaved rounds after one that warms up."""
    times = [[seconds(one) for one in work] for _ in range(rounds + 1)][1:]
    return np.median(times, axis=0).tolist()  # type: ignore[no-any-return]


def _pairs(options: Options) -> Iterator[Found]:
    models, images = ((10, 20, 40), 2000) if options.quick else ((125, 250, 500, 1000), 50_000)
    prediction, labels = hard_predictions(models[-1], images)
    correct = prediction == labels
    counts = {size: pair_counts(prediction[:size], labels) for size in models[:-1]}
    names = [f"model-{number:04}" for number in range(models[-1])]
    least = models[1]
    parts = [images // 8, images // 4, images // 2, images]
    grown: list[tuple[str, str, Sequence[int], list[Callable[[], object]], str]] = [
        ("joint counts", "models", models,
         [lambda m=m: joint_counts(correct[:m], correct[:m]) for m in models], "2"),
        ("agreement of predictions", "models", models,
         [lambda m=m: disagreement_counts(prediction[:m], prediction[:m]) for m in models], "2"),
        ("intervals and bounds, one thread", "models", models[:-1],
         [lambda m=m: pairs_table(names[:m], counts[m]) for m in models[:-1]], "2"),
        ("joint counts and agreement", "images", parts,
         [lambda n=n: pair_counts(prediction[:least, :n], labels[:n]) for n in parts], "1"),
    ]  # fmt: skip
    for what, axis, sizes, work, expected in grown:
        rounds = 2 if what.startswith("intervals") else options.rounds
        yield Growth("pairs", what, axis, sizes, medians(work, rounds), "s", expected)


def _tables(options: Options) -> Iterator[Found]:
    """The whole of pairs.parquet as Ray tasks: time, and what driver and workers hold of their own."""
    sizes, images = ((20, 40, 80), 2000) if options.quick else ((125, 250, 500, 1000), 50_000)
    prediction, labels = hard_predictions(sizes[-1], images)
    names = tuple(f"model-{number:04}" for number in range(sizes[-1]))
    stages, spent = Stages(), []
    with Cluster(None, options.folder) as cluster, stages.watched():
        cluster.start()
        for models in (sizes[0], *sizes):  # the first starts workers, and compiles there
            panel = Panel(names[:models], range(images), labels, prediction[:models])  # type: ignore[arg-type]
            categories = pair_categories(panel.models, [Training()] * models, [None] * models)
            with stages.stage(str(models)):
                spent.append(seconds(lambda panel=panel, categories=categories: pairs.write(panel, categories)))
    what = "pairs.parquet as Ray tasks"
    yield Growth("pairs", what, "models", sizes, spent[1:], "s", "2")
    for kind in ("driver", "worker"):
        own = [stages.all[str(models),].own[kind] / GIB for models in sizes]
        yield Growth("pairs", f"own memory of the {kind}, {what}", "models", sizes, own, "GiB", "near 0; at most 1")


def _search(options: Options) -> Iterator[Found]:
    models, images = ((3, 6, 12), 400) if options.quick else ((50, 100, 200, 400), 4000)
    folder = options.folder / "zoo"
    folder.mkdir()
    zoo = Zoo(folder, models[-1], images)
    kept = [zoo.largest(model) for model in range(models[-1])]
    steps = 4

    def search(first: int, last: int) -> object:
        """Among some models, on the leading images."""
        few = Zoo.__new__(Zoo)  # the same files, read in part
        few.folder, few.models, few.images, few.labels = folder, first, last, zoo.labels[:last]
        parts = few.parts([one.take(slice(0, last)) for one in kept[:first]])
        return forward("x", parts, last, max_size=steps, patience=steps)

    by_models = medians([lambda m=m: search(m, images) for m in models], options.rounds)
    yield Growth("greedy search", f"{steps} steps, {images:,} images", "models", models, by_models, "s", "1")
    parts = [images // 8, images // 4, images // 2, images]
    by_images = medians([lambda n=n: search(models[-1], n) for n in parts], options.rounds)
    yield Growth("greedy search", f"{steps} steps, {models[-1]} models", "images", parts, by_images, "s", "1")


def _records(options: Options) -> Iterator[Found]:
    """A store that grows in checkpoints whose predictions are made up: `plan` and `status` as whole processes."""
    sizes = (4, 8, 16) if options.quick else (125, 250, 500, 1000)
    images, shards = (32, 4) if options.quick else (256, 16)
    runs: dict[str, list[list[tuple[float, float]]]] = {"plan": [], "status": []}
    for models in sizes:
        study = large_store.make(options.folder / "store", large_store.Size(models, images, 10, shards))
        publish.plan(make_plan(study, large_store.DATA), open_objects(location(study)))
        for verb, held in runs.items():
            held.append([_process(verb, study.path) for _ in range(2 if options.quick else 3)])
    for verb, held in runs.items():
        spent = [float(np.median([took for took, _ in of_size])) for of_size in held]
        memory = [max(peak for _, peak in of_size) for of_size in held]
        what = f"overlap {verb}, {shards} shards, everything certified, a whole process"
        yield Growth("records", what, "checkpoints", sizes, spent, "s", "at most 1; starting Python is in it")
        yield Growth("records", f"peak memory of overlap {verb}", "checkpoints", sizes, memory, "GiB", "near 0")


MEASURED = """
import atexit, sys
from pathlib import Path
atexit.register(lambda: sys.stderr.write(Path("/proc/self/status").read_text()))
from overlap.cli import main
sys.argv[0] = "overlap"
main()
"""
"""The command, which at its end tells what it held: the system's own figure for a child begins with its parent's."""


def _process(verb: str, study: Path) -> tuple[float, float]:
    """Seconds and peak GiB of a command."""
    started = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, verb, str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - started
    assert done.returncode == 0, f"overlap {verb}: exit {done.returncode}: {done.stderr}"
    peak = next(line for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    return took, int(peak.split()[1]) / 2**20
