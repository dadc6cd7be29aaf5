"""How the fan-out grows: with checkpoints, photographs and declared workers, and what its driver holds meanwhile.

All is measured warm: processes are there, checkpoints are resident. What is left of a fan-out's time without one bare
decode pass is what the checkpoints cost.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from overlap.study import Study, load_study
from tests.benchmarks.comparison import Found, Growth
from tests.benchmarks.fanout import CHEAP, Bare, bare_decode, fan_out, make_study, weights_of
from tests.benchmarks.options import Options, seconds
from tests.benchmarks.stages import GIB, Stages
from workflows.nodes.cluster import Cluster
from workflows.plan import Plan, make_plan
from workflows.predicting.crew import Crew


def compared(options: Options) -> Iterator[Found]:
    """Rows of all three sizes."""
    images, shards, most = (16, 4, 4) if options.quick else (256, 8, 32)
    rounds = 1 if options.quick else 3
    study = _study(options.folder, images, shards, most)
    with Cluster(None, options.folder) as cluster:
        cluster.start()
        plan = make_plan(study, "photos", mapper=cluster.map)
        crew = Crew(study)
        sizes = [2**power for power in range(most.bit_length()) if 2**power <= most]
        plans = [_of(plan, number, shards) for number in sizes]
        decode = _decode(plan, int(ray.cluster_resources()["CPU"]), rounds)
        times, memory = _measure(plans, crew, rounds)
        what = f"{images} photographs, less a bare decode pass of {decode:.2f} s"
        left = [max(spent - decode, 1e-3) for spent in times]
        yield Growth("fan-out", what, "checkpoints", sizes, left, "s", "1, for as long as forwards outweigh the rest")
        yield Growth(
            "fan-out", f"{images} photographs, all of it", "checkpoints", sizes, times, "s", "below 1: d + k f"
        )
        yield Growth("fan-out", "peak memory of the driver", "checkpoints", sizes, memory, "GiB", "0")
        k = min(8, most)
        some = [shards // 4, shards // 2, shards]
        times, memory = _measure([_of(plan, k, number) for number in some], crew, rounds)
        photographs = [images * number // shards for number in some]
        yield Growth("fan-out", f"{k} checkpoints", "photographs", photographs, times, "s", "1")
        crew.dismiss()
    k = min(8, most)
    workers = (1, 2) if options.quick else (1, 2, 4, 8)
    times = [_with(study, options.folder, k, shards, number, rounds) for number in workers]
    expected = "−1 up to the number of cores, 0 beyond"
    yield Growth(
        "fan-out", f"{k} checkpoints × {images} photographs", "declared workers", workers, times, "s", expected
    )


def _study(folder: Path, images: int, shards: int, checkpoints: int) -> Study:
    """Copies of the cheap networks under other names, each with weights of its own."""
    study = make_study(folder, images, shards, CHEAP)
    text = study.path.read_text(encoding="utf-8")
    head, *entries = text.split("[[checkpoint]]")
    lines = [head]
    for number in range(checkpoints):
        name, _ = CHEAP[number % len(CHEAP)]
        own = weights_of(folder, f"{name}-{number}")
        shutil.copy(weights_of(folder, name), own)
        _perturb(own, number)
        entry = entries[number % len(CHEAP)]
        entry = entry.replace(f'id = "{name}"', f'id = "{name}-{number}"')
        lines.append(entry.strip().replace(f'"{weights_of(folder, name)}"', f'"{own}"'))
    study.path.write_text("\n[[checkpoint]]\n".join(lines), encoding="utf-8")
    return load_study(study.path)


def _perturb(path: Path, number: int) -> None:
    """Other weights, so that the checkpoint is another."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.dtype == torch.float32)
    tensors[name] = tensors[name] + number / 1e6  # of zeros too
    save_file(tensors, path)


def _of(plan: Plan, checkpoints: int, shards: int) -> Plan:
    """The plan of some of the checkpoints on some of the shards."""
    few = plan.checkpoints[:checkpoints]
    held = plan.dataset.shards[:shards]
    missing = {one.fingerprint: held for one in few}
    return replace(plan, checkpoints=few, dataset=replace(plan.dataset, shards=held), missing=missing)


def _decode(plan: Plan, processes: int, rounds: int) -> float:
    """Seconds of one bare decode pass by so many processes, the median."""
    bare = [Bare() for _ in range(processes)]
    signature = plan.checkpoints[0].preprocessing.signature
    parts = [list(plan.dataset.shards[place::processes]) for place in range(processes)]

    def decode() -> None:
        futures = [one.start(bare_decode, part, signature) for one, part in zip(bare, parts, strict=True)]
        for future in futures:
            future.result()

    spent = [seconds(decode) for _ in range(rounds + 1)][1:]
    for one in bare:
        one.stop()
    return float(np.median(spent))


def _measure(plans: Sequence[Plan], crew: Crew, rounds: int) -> tuple[list[float], list[float]]:
    """Median seconds of each fan-out in interleaved rounds, after one that warms up; and the driver's peak, in GiB.

    Memory is sampled in a last round whose times do not count: looking at all processes takes time itself.
    """
    times = [[fan_out(plan, crew, number)[0] for plan in plans] for number in range(rounds + 1)][1:]
    memory = []
    for plan in plans:
        stages = Stages()
        with stages.watched(), stages.stage("fan-out"):
            fan_out(plan, crew, rounds + 1)
        memory.append(stages.all["fan-out",].resident["driver"] / GIB)
    return np.median(times, axis=0).tolist(), memory


def _with(study: Study, folder: Path, checkpoints: int, shards: int, workers: int, rounds: int) -> float:
    """Seconds of a fan-out where Ray is told of so many CPUs."""
    with Cluster(None, folder) as cluster:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        try:
            plan = _of(make_plan(study, "photos", mapper=cluster.map), checkpoints, shards)
            crew = Crew(study)
            (time,), _ = _measure([plan], crew, rounds)
            crew.dismiss()
        finally:
            ray.shutdown()
    return time
