"""Every reduction of a study of ImageNet's size, timed: python -m tests.benchmarks.reductions [--models 100]

The store is made once, under --store (about 100 MB for a model of 50,000 images and 1,000 classes), and then reduced
as `overlap run` does it: with Ray on this machine, from certified units to the report. With --detailed N there are
detailed measures of so many pairs, and with --light two searches of few steps, as of a zoo of thousands of models. With
--hard instead 35 observers x 1,280 trials are imported, which must be reduced in 10 s after start-up.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from overlap.store import layout
from overlap.study import Study, load_study
from tests.benchmarks import large_store
from tests.benchmarks.stages import Stages

OBSERVERS, TRIALS, CATEGORIES = 35, 1280, 16
LIMIT = 10.0

STAGES: dict[str, tuple[str, ...]] = {
    "workflows.run:make_plan": ("plan",),
    "workflows.nodes.cluster:Cluster.start": ("start of Ray",),
    "workflows.reductions.subject:Subject.panel": ("hard predictions read",),
    "workflows.gate:Gate.judge": ("gate",),
    "workflows.reduce:choose": ("pairs: choice of the detailed",),
    "workflows.reductions.pairs:count": ("pairs: joint counts",),
    "workflows.reductions.pairs:count_some": ("pairs: joint counts of the detailed",),
    "workflows.reductions.pairs:write": ("pairs: table",),
    "workflows.reduce:tabulate": ("from the largest logits",),
    "workflows.reductions.tops.study:read": ("largest logits read once or recalled",),
    "workflows.reductions.tops.study:combine": ("ensembles of pairs from bounds",),
    "workflows.reductions.tops.study:search": ("searches from bounds",),
    "workflows.reduce:read": ("calibration, logits read once or recalled",),
    "workflows.reduce:combine": ("ensembles of pairs",),
    "workflows.reductions.kept_pairs:KeptPairs.of": ("recalled",),
    "workflows.reductions.pair_ensembles:_made": ("counted on every image; NLL, ECE, on the sample",),
    "workflows.reductions.pair_ensembles:_table": ("table",),
    "workflows.reduce:diverge": ("divergence",),
    "workflows.reductions.divergence:scores": ("scores of images",),
    "workflows.reductions.divergence:rasch.fit": ("Rasch model",),
    "workflows.reductions.divergence:_soft": ("probabilities of pairs, on the sample",),
    "workflows.reductions.divergence:difficulty_table": ("difficulty",),
    "workflows.reductions.divergence:compared": ("measures by model",),
    "workflows.reductions.divergence:axes_table": ("crossed axes",),
    "workflows.reduce:specialise": ("specialisation",),
    "workflows.reductions.specialisation:class_scores": ("classes",),
    "workflows.reductions.specialisation:group_scores": ("groups",),
    "workflows.reductions.specialisation:driving_images": ("driving images",),
    "workflows.reductions.specialisation:divisive_images": ("divisive images",),
    "workflows.reductions.specialisation:_by_pair": ("confidence plane of pairs",),
    "workflows.reduce:category_table": ("categories",),
    "workflows.reduce:gain_fits_table": ("gain against inconsistency",),
    "workflows.reduce:weak_helps": ("weak models help strong ones",),
    "workflows.reduce:costs.of": ("costs",),
    "workflows.reduce:search": ("searches",),
    "workflows.reductions.searches:_select": ("selection",),
    "workflows.reductions.searches:judge": ("judged on the other split",),
    "workflows.reduce:features.compare": ("features (none stored)",),
    "workflows.reduce:pictures": ("thumbnails",),
    "workflows.reduce:models_table": ("models",),
    "workflows.reduce:table_notes": ("notes",),
    "workflows.reduce:write_results": ("results written",),
    "workflows.publish:results": ("report and tracking",),
    "workflows.publish:draw_figures": ("figures",),
    "workflows.publish:render_page": ("page",),
}
"""Functions by where their caller finds them, with what they do."""
WAITS = {
    "workflows.reductions.divergence:fetch": ("divergence", ("rows of pairs", "means and tests by category")),
}
"""Waits for tasks, by the stage they are in."""


class Quiet:
    """Hears of progress and says nothing."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr)

    def progress(self, what: str, done: int, total: int) -> None:
        pass


def reduce(study: Study, title: str) -> Stages:
    """Run a study that is wholly predicted; returns its stages."""
    from workflows.run import run

    # what was reduced before is reduced again
    (Path(study.store.uri) / layout.results(large_store.DATA, "reduction.json")).unlink(missing_ok=True)
    stages = Stages()
    for where, names in STAGES.items():
        stages.wrap(where, *names)
    for where, (within, names) in WAITS.items():
        stages.wrap(where, *names, within=within)
    with stages.watched(), stages.stage("overlap run"):
        outcomes = run(study, Quiet())
    for outcome in outcomes:
        assert outcome.results is not None, outcome
        assert not outcome.computed, "something was predicted"
        tables = outcome.results.tables()
        print(", ".join(f"{name} {table.height:,}" for name, table in tables.items()), "rows")
        for note in outcome.results.notes:
            print(f"note: {note}")
    stages.show(title)
    return stages


def hard(folder: Path) -> None:
    """Import hard predictions and reduce them."""
    path = folder / "study.toml"
    path.write_text('name = "observers"\n[tracking]\nuri = "none"\n', encoding="utf-8")
    observers(folder / "trials.csv")
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "overlap.cli", "import", path, folder / "trials.csv"], check=True)
    print(f"overlap import: {time.perf_counter() - start:.2f} s")
    stages = reduce(load_study(path), f"{OBSERVERS} observers x {TRIALS:,} trials, hard predictions")
    spent = {stage.name: stage.seconds for stage in stages.all.values()}
    after = spent["overlap run"] - spent["start of Ray"]
    print(f"after start-up: {after:.2f} s (limit {LIMIT:.0f})")


def observers(path: Path) -> None:
    """Trials of observers that find the same ones hard, as a csv."""
    random = np.random.default_rng(0)
    labels, ease = random.integers(0, CATEGORIES, TRIALS), random.standard_normal(TRIALS)
    lure = random.integers(0, CATEGORIES, TRIALS)  # what most take it for who are wrong
    tables = []
    for observer in range(OBSERVERS):
        right = ease + random.standard_normal(TRIALS) > random.normal(-1, 0.3)
        guess = np.where(random.random(TRIALS) < 0.5, lure, random.integers(0, CATEGORIES, TRIALS))
        tables.append(
            pl.DataFrame(
                {
                    "model": [f"observer-{observer:02}"] * TRIALS,
                    "key": [f"trial-{trial:04}" for trial in range(TRIALS)],
                    "label": [f"class-{label:02}" for label in labels],
                    "prediction": [f"class-{label:02}" for label in np.where(right, labels, guess)],
                }
            )
        )
    pl.concat(tables).write_csv(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "overlap-benchmark")
    parser.add_argument("--shards", type=int, default=large_store.SHARDS)
    parser.add_argument("--detailed", type=int, help="pairs that have detailed measures, at most")
    parser.add_argument("--light", action="store_true", help="two searches of four steps")
    parser.add_argument("--make", action="store_true", help="the store alone")
    parser.add_argument("--hard", action="store_true", help="imported hard predictions instead")
    arguments = parser.parse_args()
    if arguments.hard:
        with tempfile.TemporaryDirectory() as folder:
            hard(Path(folder))
        return
    size = large_store.Size(arguments.models, arguments.images, arguments.classes, arguments.shards)
    folder = arguments.store / f"{size.models}-{size.images}-{size.classes}"
    start = time.perf_counter()
    study = large_store.make(folder, size)
    print(f"made in {time.perf_counter() - start:.1f} s: {folder}; load {os.getloadavg()[0]:.1f}", flush=True)
    if arguments.make:
        return
    changed: dict[str, Any] = {}
    if arguments.detailed is not None:
        changed["analysis"] = study.analysis.model_copy(update={"detailed_pairs": arguments.detailed})
    if arguments.light:
        light = {"max_size": 4, "bags": 0, "weights": False, "objectives": ("accuracy",)}
        changed["ensembles"] = study.ensembles.model_copy(update=light)
    study = study.model_copy(update=changed)
    reduce(study, f"{size.models} models x {size.images:,} images x {size.classes:,} classes")


if __name__ == "__main__":
    main()
