"""What a user of timm runs: its loader over a folder of photographs, one pass for each model, logits kept once.

It is given what helps it: photographs as files (no archive to go through), models that are built and warm, uint8
batches that the main process normalises, the number of workers that was fastest in a round before, one thread for each
process.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from overlap.images.shards import read_samples

WORKERS = (1, 2, 3)
"""What is tried on the first model before anything is measured."""


def unpack(shards: Sequence[str], folder: Path) -> Path:
    """The photographs of some shards as a folder by class, as timm reads it."""
    if not folder.exists():
        for uri in shards:
            for sample in read_samples(uri):
                of_class = folder / str(sample.label)
                of_class.mkdir(parents=True, exist_ok=True)
                (of_class / f"{sample.key}.jpg").write_bytes(sample.image)
    return folder


class EvaluationLoop:
    """One process with the models; its loader starts others as timm does."""

    def __init__(self, networks: Sequence[tuple[str, dict[str, Any], Path]], photographs: Path, size: int) -> None:
        """Prepare.

        Args:
            networks: names in timm, arguments and weights.
            photographs: a folder by class.
            size: of the square that the networks see.
        """
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._networks, self._photographs, self._size = list(networks), photographs, size
        self.workers = 0
        """Those of the loader, chosen by `choose`."""

    def choose(self) -> None:
        """Try how many workers are best, on the first model; this also warms everything up."""
        few = self._networks[:1]
        self._pool.submit(_passes, self._networks, self._photographs, self._size, WORKERS[0], None).result()
        tried = {workers: self._run(few, workers, None) for workers in WORKERS}
        self.workers = min(tried, key=lambda workers: tried[workers])

    def run(self, into: Path) -> float:
        """Seconds of one pass for each model, logits written at the end of all."""
        return self._run(self._networks, self.workers, into)

    @property
    def settings(self) -> str:
        """What it was given, in words."""
        return (
            "timm.data.create_loader over an image folder, one pass for each model, "
            f"{self.workers} workers (the best of {', '.join(map(str, WORKERS))}) and a main process of one thread "
            f"each, batches of {BATCH}, uint8 collated, "
            "inference_mode, models warm, logits of all models written once as npz"
        )

    def stop(self) -> None:
        """End the process."""
        self._pool.shutdown()

    def _run(self, networks: list[Any], workers: int, into: Path | None) -> float:
        spent, rows = self._pool.submit(_passes, networks, self._photographs, self._size, workers, into).result()
        assert rows == [sum(1 for _ in self._photographs.glob("*/*.jpg"))] * len(networks), rows
        return float(spent)


BATCH = 16
"""What overlap uses on a CPU: more leaves its caches."""
_MODELS: dict[str, Any] = {}


def _passes(
    networks: list[tuple[str, dict[str, Any], Path]], photographs: Path, size: int, workers: int, into: Path | None
) -> tuple[float, list[int]]:
    import timm
    import torch
    from safetensors.torch import load_file
    from timm.data import create_dataset, create_loader

    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.set_num_threads(1)
    for name, arguments, weights in networks:
        if name not in _MODELS:
            _MODELS[name] = timm.create_model(name, num_classes=10, **arguments).eval()
            _MODELS[name].load_state_dict(load_file(weights))
    started = time.perf_counter()
    logits: dict[str, np.ndarray] = {}
    for name, _, _ in networks:
        loader = create_loader(
            create_dataset("", root=str(photographs)),
            (3, size, size),
            BATCH,
            use_prefetcher=True,
            interpolation="bicubic",
            crop_pct=0.875,
            num_workers=workers,
            persistent_workers=False,
            device=torch.device("cpu"),
        )
        with torch.inference_mode():
            logits[name] = np.concatenate([_MODELS[name](batch).numpy() for batch, _ in loader])
    if into is not None:
        np.savez(into, **logits)
    return time.perf_counter() - started, [len(each) for each in logits.values()]
