"""The fan-out against the work itself, and beside what is run instead: 8 cheap checkpoints over photographs.

The work itself is d, one decode pass, and F, the bare forwards of all checkpoints over decoded arrays, each by as many
single-threaded processes as overlap has predictors: on processors, that is also what decoding and forward passes take
that overlap perfectly. A user with a separate pass for each checkpoint pays k d + F.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
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
from overlap.store.location import open_objects
from overlap.study import Study, load_study
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.preprocessing import Signature
from tests.benchmarks import ray_data
from tests.benchmarks.comparison import Comparison, Found, Said, Spread, ratio, show
from tests.benchmarks.evaluation_loop import EvaluationLoop, unpack
from tests.benchmarks.options import Options
from tests.benchmarks.photographs import photograph_shards
from tests.benchmarks.table import peak_memory
from workflows.nodes.cluster import Cluster
from workflows.plan import Plan, location, make_plan, refresh
from workflows.predicting.crew import Crew
from workflows.predicting.decoding import decode_shard
from workflows.predicting.fanout import FanOut

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
Networks = tuple[tuple[str, dict[str, int]], ...]
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


def make_study(folder: Path, images: int, shards: int, networks: Networks, size: int = INPUT) -> Study:
    """A study of random networks over photographs."""
    import timm
    import torch

    lines = [
        'name = "benchmark"',
        f'[data.photos]\nshards = "{photograph_shards(folder / "photos", images, shards)}"\nclasses = 10',
        '[tracking]\nuri = "none"',
    ]
    for name, arguments in networks:
        path = weights_of(folder, name)
        if not path.exists():
            torch.manual_seed(0)
            save_file(timm.create_model(name, num_classes=10, **arguments).state_dict(), path)
        given = ", ".join(f"{key} = {value}" for key, value in arguments.items())
        lines.append(
            f'[[checkpoint]]\nid = "{name}"\nsource = "timm:{name}"\nweights = "{path}"\narguments = {{ {given} }}\n'
            f'preprocess = {{ input_size = {size}, crop_pct = 0.875, interpolation = "bicubic" }}'
        )
    (folder / "study.toml").write_text("\n".join(lines))
    return load_study(folder / "study.toml")


def weights_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


@dataclass
class Times:
    """Seconds of every round."""

    decode: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    data: list[float] = field(default_factory=list)
    """Ray Data, over all shards."""
    few: list[float] = field(default_factory=list)
    """Ray Data, over a quarter of them."""

    def add(self, decode: float, forward: float, ours: float, images: int) -> int:
        """Another round, as `_round` gives it; returns the images that overlap decoded."""
        for held, spent in ((self.decode, decode), (self.forward, forward), (self.ours, ours)):
            held.append(spent)
        return images

    @property
    def work(self) -> list[float]:
        """One decode pass and all forwards."""
        return [one + other for one, other in zip(self.decode, self.forward, strict=True)]


class Race:
    """Overlap, the work itself and what is run instead, over one study, in interleaved rounds on one Ray."""

    def __init__(self, folder: Path, study: Study, networks: Networks, size: int, *, data: bool = True) -> None:
        """Nothing starts yet.

        Args:
            folder: for what is written.
            study: of the networks.
            networks: in timm.
            size: of the square that they see.
            data: whether Ray Data takes part.
        """
        self._folder, self._study = folder, study
        self._shards = sorted(str(path) for path in (folder / "photos").glob("*.tar"))
        named = [(name, dict(arguments), weights_of(folder, name)) for name, arguments in networks]
        self.loop = EvaluationLoop(named, unpack(self._shards, folder / "unpacked"), size)
        self._networks, self._size, self._data = named, size, data
        self.images_decoded = 0
        """By overlap, in each round."""

    def run(self, rounds: int) -> Times:
        """The rounds that count, each followed by the others'."""
        times = Times()
        self.loop.choose()
        for number, measured in enumerate(_rounds(self._folder, self._study, rounds), 1):
            self.images_decoded = times.add(*measured)
            into = self._folder / f"said-{number}"
            times.loop.append(self.loop.run(into.with_suffix(".npz")))
            if self._data:
                few = self._shards[: max(1, len(self._shards) // 4)]
                for shards, held in ((self._shards, times.data), (few, times.few)):
                    into = into.with_suffix(f".{len(shards)}")
                    held.append(ray_data.run(shards, self._networks, self._size, into))
        self.loop.stop()
        return times


def compared(options: Options, images: int = 1000, shards: int = 8) -> Iterator[Found]:
    """Rows of 8 cheap checkpoints."""
    networks = CHEAP
    if options.quick:
        images, shards, networks = 24, 4, CHEAP[:2]
    study = make_study(options.folder, images, shards, networks)
    has_data = importlib.util.find_spec("ray.data") is not None and importlib.util.find_spec("pandas") is not None
    race = Race(options.folder, study, networks, INPUT, data=has_data)
    times = race.run(options.rounds)
    k, what = len(networks), f"{len(networks)} cheap checkpoints × {images:,} photographs, input {INPUT}"
    work = times.work
    limit = {"limit": "d + F: one decode pass, bare forwards", "bare": work, "wanted": "of the limit", "bound": 1.10}
    yield Comparison("fan-out", what, times.ours, "timm's evaluation loop", race.loop.settings, times.loop, **limit)
    name = "Ray Data map_batches"
    if has_data:
        yield Comparison("fan-out", what, times.ours, name, ray_data.SETTINGS, times.data)
        steady = [(whole - few) * 4 / 3 for whole, few in zip(times.data, times.few, strict=True)]
        settings = "a run over all shards less one over a quarter of them, times 4/3: what its start costs is left out"
        yield Comparison("fan-out", what, times.ours, f"{name}, without its start", settings, steady)
    else:
        yield Comparison("fan-out", what, times.ours, name, absent='not installed: pip install "overlap[benchmarks]"')
    apart = [k * d + f for d, f in zip(times.decode, times.forward, strict=True)]
    settings = "k · d + F: a pass for each checkpoint that wastes nothing; the ideal gain is (k · d + F) / (d + F)"
    yield Comparison("fan-out", what, times.ours, "perfect separate passes", settings, apart)
    for told, values in (("d", times.decode), ("F", times.forward)):
        yield Said("fan-out", told, Spread.of(values).as_time(), {"median": float(np.median(values))})
    ideal = ratio(apart, work)
    assert ideal is not None
    yield Said("fan-out", "ideal gain over separate passes", ideal.show(), {"median": ideal.median})
    yield Said("fan-out", "photographs decoded by overlap in a round", f"{race.images_decoded:,} of {images:,}")


def alone(folder: Path, images: int, shards: int, rounds: int = 5) -> Iterator[Found]:
    """Rows of overlap beside the work itself, without the programs that are run instead."""
    times = Times()
    for measured in _rounds(folder, make_study(folder, images, shards, CHEAP), rounds):
        times.add(*measured)
    what = f"{len(CHEAP)} cheap checkpoints × {images:,} photographs, input {INPUT}"
    limit = {"limit": "d + F: one decode pass, bare forwards", "bare": times.work, "wanted": "of the limit"}
    apart = [len(CHEAP) * d + f for d, f in zip(times.decode, times.forward, strict=True)]
    yield Comparison("fan-out", what, times.ours, "perfect separate passes", "k · d + F", apart, **limit, bound=1.10)


def _rounds(folder: Path, study: Study, rounds: int) -> Iterator[tuple[float, float, float, int]]:
    """The rounds that count, on one Ray that is there between them; one before them warms up."""
    with Cluster(None, folder) as cluster:
        cluster.start()
        plan, crew = make_plan(study, "photos", mapper=cluster.map), Crew(study)
        processes = [Bare() for _ in range(int(ray.cluster_resources()["CPU"]))]
        _round(plan, crew, processes, 0)
        for number in range(1, rounds + 1):
            yield _round(plan, crew, processes, number)
        crew.dismiss()
        for process in processes:
            process.stop()


def _round(plan: Plan, crew: Crew, processes: list[Bare], number: int) -> tuple[float, float, float, int]:
    """One interleaved round: d, F and overlap's wall time, in seconds, and the images that overlap decoded."""
    checkpoints = list(plan.distinct.values())
    signature = checkpoints[0].preprocessing.signature
    parts = [list(plan.dataset.shards[place :: len(processes)]) for place in range(len(processes))]
    weights = [Path(checkpoint.candidate.weights) for checkpoint in checkpoints]
    decoding = _timed([(p.start, (bare_decode, part, signature)) for p, part in zip(processes, parts, strict=True)])
    forward = _timed([(p.start, (bare_forward, checkpoints, weights)) for p in processes])
    _warm(parts, signature)
    wall, decoded = fan_out(plan, crew, number)
    return decoding, forward, wall, decoded


def _warm(parts: list[list[Shard]], signature: Signature) -> None:
    """Have a process for each decode task, with its imports: what ran before on this Ray may have taken their place."""
    task = decode_shard.options(num_returns=2)
    ray.get([task.remote(part[0], (signature,), None)[0] for part in parts])


def fan_out(plan: Plan, crew: Crew, number: int) -> tuple[float, int]:
    """Overlap's wall time of all units, as of a data set that was never seen, and the images that were decoded."""
    objects = open_objects(location(plan.study))
    fresh = refresh(replace(plan, dataset=replace(plan.dataset, name=f"photos-{number}-{time.time_ns()}")), objects)
    started = time.perf_counter()
    result = FanOut(fresh, crew).run()
    wall = time.perf_counter() - started
    images = len(plan.dataset.keys)
    assert result.images_decoded == images, f"{result.images_decoded} images decoded, not {images}"
    recorded = Ledger(objects, fresh.dataset.name).recorded()
    assert len(recorded) == len(plan.distinct)
    assert all(len(shards) == len(plan.dataset.shards) for shards in recorded.values())
    return wall, result.images_decoded


def _timed(calls: Sequence[tuple[Any, tuple[Any, ...]]]) -> float:
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
    parser.add_argument("--alone", action="store_true", help="without the programs that are run instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovl-") as folder:
        kept = options.dir or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        if options.alone:
            show([*alone(kept, options.images, options.shards)])
        else:
            show([*compared(Options(kept), options.images, options.shards)])
    print(f"peak resident memory of the driver: {peak_memory():.2f} GiB (limit 1.5)")


if __name__ == "__main__":
    main()
