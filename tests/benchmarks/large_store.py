"""A whole study of ImageNet's size whose predictions are made up: shards, weights, certified units, manifests.

Logits are sums of what all models see in an image, of what those of one training data set, framework, architecture and
recipe see, and of a model's own noise, so that the five categories of pairs differ as a real zoo's do: accuracies of
60 to 80%, a quarter of predictions unlike. Noise is cut out of one pool of 16 million normal numbers, which is faster
than drawing it. Everything goes through the ledger as predictors leave it, less the waits for the disk.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from overlap.images.packing import Sample, is_packed, pack
from overlap.images.shards import Shard
from overlap.process import be_single_threaded
from overlap.store.folder import Folder
from overlap.store.ledger import Ledger
from overlap.store.tables import from_logits
from overlap.store.tops import tops_from_logits
from overlap.study import Study, load_study
from workflows.certify import certify
from workflows.plan import make_plan, refresh

DATA, SHARDS = "val", 64
GROUP = 20
"""Classes of one group, among which models err."""
LEVELS = ("dataset", "framework", "architecture", "hyper_parameters", "seed")
CELLS = sorted(product(range(2), range(2), range(3), range(2)), key=lambda cell: (np.count_nonzero(cell), cell))
"""Trainings, such that already the first few models have pairs of all five categories."""
POOL = (1 << 24) + 1
SEEN_BY_ALL, ON_LEVEL = (
    1.8,
    {"dataset": 0.6, "framework": 0.5, "architecture": 0.45, "hyper_parameters": 0.35, "seed": 0.5},
)
"""Standard deviations of noise on the classes of the image's own group; elsewhere every level has `FAR`."""
FAR = 0.55


@dataclass(frozen=True)
class Size:
    """How much of a zoo."""

    models: int
    images: int
    classes: int
    shards: int = SHARDS
    output: str = "logits"


class Undelayed(Folder):
    """A store in a folder that does not wait for the disk: a benchmark's store can be made again."""

    def put(self, key: str, data: bytes) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if absent := not self.path(key).exists():
            self.put(key, data)
        return absent


def make(folder: Path, size: Size, processes: int = os.cpu_count() or 1) -> Study:
    """The study, made where it is not there yet; one that was left half done is completed."""
    if not is_packed(folder / "shards"):
        pack(_samples(size), folder / "shards", prefix=DATA, shards=min(size.shards, size.images))
    _write_study(folder, size)
    study = load_study(folder / "study.toml")
    plan = make_plan(study, DATA)
    assert not plan.rejected, plan.rejected
    store = Undelayed(Path(study.store.uri))
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=be_single_threaded) as pool:
        wanted = {shard.name: shard for shards in plan.missing.values() for shard in shards}
        models: dict[str, list[tuple[int, str]]] = {name: [] for name in wanted}
        for number, checkpoint in enumerate(plan.checkpoints):
            for shard in plan.missing.get(checkpoint.fingerprint, ()):
                models[shard.name].append((number, checkpoint.fingerprint))
        jobs = [(shard, models[name], study.store.uri) for name, shard in wanted.items()]
        for _ in pool.map(partial(_predict, size), jobs):
            pass

        def everywhere(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            return pool.map(function, items)

        damaged = certify(refresh(plan, store), everywhere)
    assert not damaged, damaged[0]
    return study


def _samples(size: Size) -> Iterator[Sample]:
    """Images of 8 x 8 pixels, a few hundred different ones."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(256):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    labels = random.permutation(np.arange(size.images) % size.classes)
    for number in range(size.images):
        yield Sample(f"image-{number:08}", images[number % len(images)], "png", int(labels[number]))


def training(model: int, models: int) -> dict[str, str]:
    """The training columns of one model of so many."""
    each = max(2, -(-models // len(CELLS)))
    cell = CELLS[min(model // each, len(CELLS) - 1)]
    named = {level: f"{level}-{value}" for level, value in zip(LEVELS[:-1], cell, strict=True)}
    return {**named, "seed": str(model)}


def _write_study(folder: Path, size: Size) -> None:
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "net.py").write_text("", encoding="utf-8")
    groups = [f"{label},group {label // GROUP:03}" for label in range(size.classes)]
    (folder / "groups.csv").write_text("\n".join(["class,group", *groups]) + "\n", encoding="utf-8")
    entries = [
        f'name = "large"\n[tracking]\nuri = "none"\n[data.{DATA}]\nshards = "shards"\nclasses = {size.classes}\n'
        f'groups = "groups.csv"\n[predict]\noutput = "{size.output}"\n[analysis]\naccuracy_band = [0.66, 0.72]'
    ]
    for model in range(size.models):
        path = folder / f"weights/{model:04}.safetensors"
        if not path.exists():
            path.write_bytes(f"weights {model:04}".encode() * (100 + 37 * model % 400))
        told = ", ".join(f'{name} = "{value}"' for name, value in training(model, size.models).items())
        entries.append(
            f'[[checkpoint]]\nid = "net-{model:04}"\nfactory = "net:build"\nweights = "weights/{path.name}"\n'
            f"preprocess = {{ input_size = 224 }}\ntraining = {{ {told} }}"
        )
    (folder / "study.toml").write_text("\n".join(entries) + "\n", encoding="utf-8")


def _predict(size: Size, job: tuple[Shard, list[tuple[int, str]], str]) -> None:
    """Certify the units of some models on one shard."""
    shard, models, uri = job
    ledger = Ledger(Undelayed(Path(uri)), DATA)
    scene = Scene(shard.name, np.array(shard.labels), size)
    about = {"device": "made up", "host": "benchmark", "torch": "none", "batch_size": 256}
    stored = tops_from_logits if size.output == "top" else from_logits
    for model, fingerprint in models:
        predictions = stored(shard.keys, scene.logits(model))
        seconds = len(shard) * (1 + model % 7) / 1000
        ledger.certify(fingerprint, shard.digest, predictions, seconds=seconds, provenance=about)


class Scene:
    """The images of a shard as all models see them, and as each does."""

    def __init__(self, name: str, labels: np.ndarray, size: Size) -> None:
        self._name, self._size, self._rows = name, size, np.arange(len(labels))[:, None]
        self._labels = labels
        self._near = np.minimum(labels[:, None] // GROUP * GROUP + np.arange(GROUP), size.classes - 1)
        self._common = 2 * self._noise("all", size.classes) * FAR
        near = 6 + SEEN_BY_ALL * self._noise("near", GROUP)
        self._near_common, self._ease = near, self._noise("ease", 1)[:, 0]

    def logits(self, model: int) -> np.ndarray:
        """(n, K) float32."""
        told = training(model, self._size.models)
        random = np.random.default_rng(model)
        strength, sharpness = 5.6 + 0.7 * random.uniform(-1, 1), random.uniform(0.8, 1.5)
        z, near = self._common.copy(), self._near_common.copy()
        for level in LEVELS:
            known = "/".join(told[name] for name in LEVELS[: LEVELS.index(level) + 1])  # of one training so far
            z += _pool(FAR)[self._place(known, self._size.classes)].reshape(z.shape)
            near += ON_LEVEL[level] * self._noise(f"near {known}", GROUP)
        near[self._rows[:, 0], self._labels % GROUP] += strength + 2.4 * self._ease
        z[self._rows, self._near] = near
        z *= sharpness
        return z

    def _noise(self, known: str, width: int) -> np.ndarray:
        return _pool(1.0)[self._place(known, width)].reshape(len(self._labels), width)

    def _place(self, known: str, width: int) -> slice:
        """Where in the pool the noise of something on this shard is."""
        length = len(self._labels) * width
        start = zlib.crc32(f"{known} {self._name}".encode()) % (POOL - length)
        return slice(start, start + length)


@cache
def _pool(deviation: float) -> np.ndarray:
    return np.float32(deviation) * np.random.default_rng(0).standard_normal(POOL, np.float32)
