"""The fan-out against the work itself: k cheap checkpoints over photographs that are decoded once.

The work itself is d, one decode pass, and F, the bare forwards of all checkpoints over decoded arrays, each by as many
single-threaded processes as overlap has predictors. A user with a separate pass for each checkpoint pays k d + F.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import ray
from safetensors.torch import save_file

from overlap.images.decoding import decode
from overlap.images.shards import Shard
from overlap.inference import BATCH_SIZES
from overlap.process import be_single_threaded
from overlap.store.ledger import Ledger
from overlap.store.objects import open_objects
from overlap.study import Study, load_study
from overlap.zoo.checkpoint import Checkpoint
from tests.benchmarks.photographs import photograph_shards
from tests.benchmarks.table import Row, peak_memory, show
from workflows.cluster import Cluster
from workflows.crew import Crew
from workflows.fanout import FanOut
from workflows.plan import Plan, location, make_plan, refresh

INPUT = 128
CHEAP: tuple[tuple[str, dict[str, int]], ...] = (
    ("mobilenetv3_small_050", {}),
    ("mobilenetv3_small_075", {}),
    ("lcnet_050", {}),
    ("lcnet_075", {}),
    ("test_vit", {"img_size": INPUT}),
    ("test_vit2", {"img_size": INPUT}),
    ("test_efficientnet", {}),
    ("test_resnet", {}),
)
"""Architectures whose forward pass is cheap beside decoding a photograph."""
ROUNDS = 5
BATCH = BATCH_SIZES["cpu"]


class Bare:
    """One single-threaded process that decodes and predicts without anything around it."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def start(self, function: Any, *arguments: Any) -> Future[Any]:
        """Run something there."""
        return self._pool.submit(function, *arguments)

    def stop(self) -> None:
        """End the process."""
        self._pool.shutdown()


_PIXELS: list[Any] = []
_MODULES: dict[str, Any] = {}


def bare_decode(shards: list[Shard], signature: Any) -> None:
    """One decode pass; the arrays stay for the forwards."""
    be_single_threaded()
    _PIXELS[:] = [decode(shard, [signature])[signature] for shard in shards]


def bare_forward(checkpoints: list[Checkpoint], weights: list[Path]) -> int:
    """All checkpoints over the decoded arrays; modules are loaded in the first round."""
    import torch

    from overlap.zoo.loading import load

    rows = 0
    for checkpoint, path in zip(checkpoints, weights, strict=True):
        if checkpoint.id not in _MODULES:
            _MODULES[checkpoint.id] = load(checkpoint.candidate, path)
        mean = torch.tensor(checkpoint.preprocessing.mean).mul(255).view(1, 3, 1, 1)
        std = torch.tensor(checkpoint.preprocessing.std).mul(255).view(1, 3, 1, 1)
        with torch.inference_mode():
            for pixels in _PIXELS:
                for start in range(0, len(pixels), BATCH):
                    batch = torch.from_numpy(pixels[start : start + BATCH]).permute(0, 3, 1, 2).contiguous().float()
                    rows += len(_MODULES[checkpoint.id](batch.sub_(mean).div_(std)).numpy())
    return rows


def make_study(folder: Path, images: int, shards: int, networks: tuple[tuple[str, dict[str, int]], ...]) -> Study:
    """A study of random networks over photographs."""
    import timm
    import torch

    lines = [
        'name = "benchmark"',
        f'[data.photos]\nshards = "{photograph_shards(folder / "photos", images, shards)}"\nclasses = 10',
        '[tracking]\nuri = "none"',
    ]
    for name, arguments in networks:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            save_file(timm.create_model(name, num_classes=10, **arguments).state_dict(), path)
        given = ", ".join(f"{key} = {value}" for key, value in arguments.items())
        lines.append(
            f'[[checkpoint]]\nid = "{name}"\nsource = "timm:{name}"\nweights = "{path}"\narguments = {{ {given} }}\n'
            f'preprocess = {{ input_size = {INPUT}, crop_pct = 0.875, interpolation = "bicubic" }}'
        )
    (folder / "study.toml").write_text("\n".join(lines))
    return load_study(folder / "study.toml")


def measure(folder: Path, images: int, shards: int) -> None:
    """Print the table of the fan-out."""
    study = make_study(folder, images, shards, CHEAP)
    with Cluster(None, folder) as cluster:
        cluster.start()
        plan = make_plan(study, "photos", mapper=cluster.map)
        crew = Crew(study)
        processes = [Bare() for _ in range(int(ray.cluster_resources()["CPU"]))]
        rounds = [_round(plan, crew, processes, number) for number in range(ROUNDS + 1)][1:]  # the first one warms up
        crew.dismiss()
        for process in processes:
            process.stop()
    decode_times, forward_times, walls = (np.array(column) for column in zip(*rounds, strict=True))
    work = decode_times + forward_times
    ideal = (len(CHEAP) * decode_times + forward_times) / work
    gain = (len(CHEAP) * decode_times + forward_times) / walls
    show(
        f"{len(CHEAP)} checkpoints x {images} photographs, input {INPUT}, {len(processes)} cores, medians of {ROUNDS}",
        [
            Row("one decode pass (d)", decode_times, "s"),
            Row("bare forwards of all checkpoints (F)", forward_times, "s"),
            Row("overlap, from shards to certified predictions", walls, "s"),
            Row("overlap / (d + F), limit 1.15", walls / work, "x"),
            Row("ideal gain over separate passes, (k d + F) / (d + F)", ideal, "x"),
            Row("overlap's gain over separate passes", gain, "x"),
            Row("share of the ideal gain, at least 0.85", gain / ideal, "x"),
        ],
    )
    print(f"peak resident memory of the driver: {peak_memory():.2f} GiB (limit 1.5)")


def _round(plan: Plan, crew: Crew, processes: list[Bare], number: int) -> tuple[float, float, float]:
    """One interleaved round: d, F and overlap's wall time, in seconds."""
    checkpoints = list(plan.distinct.values())
    signature = checkpoints[0].preprocessing.signature
    parts = [list(plan.dataset.shards[place :: len(processes)]) for place in range(len(processes))]
    weights = [Path(checkpoint.candidate.weights) for checkpoint in checkpoints]
    decoding = _timed([(p.start, (bare_decode, part, signature)) for p, part in zip(processes, parts, strict=True)])
    forward = _timed([(p.start, (bare_forward, checkpoints, weights)) for p in processes])
    objects = open_objects(location(plan.study))
    fresh = refresh(replace(plan, dataset=replace(plan.dataset, name=f"photos-{number}-{time.time_ns()}")), objects)
    started = time.perf_counter()
    result = FanOut(fresh, crew).run()
    wall = time.perf_counter() - started
    images = len(plan.dataset.keys)
    assert result.images_decoded == images, f"{result.images_decoded} images decoded, not {images}"
    assert all(
        len(shards) == len(plan.dataset.shards) for shards in Ledger(objects, fresh.dataset.name).recorded().values()
    )
    return decoding, forward, wall


def _timed(calls: list[tuple[Any, tuple[Any, ...]]]) -> float:
    started = time.perf_counter()
    for future in [start(*arguments) for start, arguments in calls]:
        future.result()
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--dir", type=Path, help="kept for the next time; a temporary folder without it")
    options = parser.parse_args()
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
        measure(options.dir, options.images, options.shards)
        return
    with tempfile.TemporaryDirectory(prefix="overlap-benchmark-") as folder:
        measure(Path(folder), options.images, options.shards)


if __name__ == "__main__":
    main()
