"""How the fan-out scales: the same units by one, two and four workers, each lease mostly sleeping.

    python -m tests.benchmarks.scaling

The networks sleep so long in every forward pass that cores are no bottleneck: what is measured is whether workers are
kept at work. Workers are shares of GPUs that are declared to a Ray started here and not there (it computes on CPUs).
Efficiency = seconds of one worker / (n x seconds of n workers); at least 0.9 is wanted of 2 and of 4. Predictors are
started and warm before the clock runs, as they are from a study's second data set on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from overlap.report.schedule import balance
from overlap.store import schedules
from overlap.store.location import open_objects
from overlap.study import Study, load_study
from tests.benchmarks.table import Row, show
from tests.small_study import DATA, SmallStudy, net
from workflows.plan import Plan, location, make_plan, refresh
from workflows.predicting.crew import Crew
from workflows.predicting.fanout import FanOut

WORKERS = (1, 2, 4)
WANTED = 0.9


def study_of(folder: Path, checkpoints: int, delay: float) -> Study:
    """Networks of unlike cost, from half the delay to one and a half of it."""
    spread = [0.5 + number / max(1, checkpoints - 1) for number in range(checkpoints)]
    entries = [net(f"net-{n}", n, delay=delay * share) for n, share in enumerate(spread)]
    made = SmallStudy.make(folder, entries)
    made.sections["predict"] = {"batch_size": 1000}
    made.write()
    return load_study(made.path)


def timed(plan: Plan, crew: Crew) -> tuple[float, float]:
    """Seconds of a fan-out of everything, and how many times the ideal of its own leases that is."""
    objects = open_objects(location(plan.study))
    fresh = refresh(replace(plan, dataset=replace(plan.dataset, name=f"run-{time.time_ns()}")), objects)
    started = time.perf_counter()
    result = FanOut(fresh, crew).run()
    seconds = time.perf_counter() - started
    assert result.computed == fresh.units
    schedule = schedules.newest(fresh.dataset.name, objects)
    ran = balance(schedule) if schedule is not None else None
    assert ran is not None
    return seconds, ran.ratio


def measure(folder: Path, checkpoints: int, delay: float, rounds: int) -> dict[int, list[float]]:
    """Seconds by number of workers, a list over rounds; prints the table."""
    import ray

    os.environ["OVERLAP_DEVICE"] = "cpu"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_gpus=max(WORKERS), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    study = study_of(folder, checkpoints, delay)
    plan = make_plan(study, DATA)
    seconds: dict[int, list[float]] = {}
    ratios: dict[int, list[float]] = {}
    try:
        for workers in WORKERS:
            share = study.predict.model_copy(update={"gpus_per_worker": max(WORKERS) / workers})
            shared = study.model_copy(update={"predict": share})
            crew = Crew(shared)
            runs = [timed(replace(plan, study=shared), crew) for _ in range(rounds + 1)][1:]  # the first one warms up
            crew.dismiss()
            seconds[workers] = [run[0] for run in runs]
            print(f"{workers} workers: {', '.join(f'{each:.2f} s' for each in seconds[workers])}", flush=True)
            ratios[workers] = [run[1] for run in runs]
    finally:
        ray.shutdown()
    one = sorted(seconds[1])[len(seconds[1]) // 2]
    rows = []
    for workers in WORKERS:
        rows.append(Row(f"{workers} workers", seconds[workers], "s"))
        rows.append(Row("  times the ideal of its leases", ratios[workers], "x"))
        rows.append(Row(f"  efficiency, at least {WANTED}", [one / workers / s for s in seconds[workers]], "x"))
    show(f"{plan.units} units of {checkpoints} checkpoints, {delay:g} s asleep in each on average", rows)
    return seconds


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=16)
    parser.add_argument("--delay", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovl-") as folder:
        measure(Path(folder) / "study", options.checkpoints, options.delay, options.rounds)


if __name__ == "__main__":
    main()
