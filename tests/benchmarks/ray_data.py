"""What a user of Ray Data runs: photographs decoded once by tasks, one pool of actors that hold all the models.

One pass over the data whatever the number of models, as overlap has it; outputs are written as Parquet. The actors are
started by each run, as Ray Data does it; a run over all shards less one over a few of them tells what it takes without
the start.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from overlap.images.shards import read_samples

BATCH = 16
SETTINGS = (
    "map_batches: photographs read from the same tars by read_webdataset, decoded once by tasks (Pillow and timm's "
    "transform, uint8), one pool of 2 actors that hold all models (one thread each, inference_mode, normalised "
    f"there), batches of {BATCH}, no CPU reserved by actors as in overlap, write_parquet of float16 logits"
)


def decoded(batch: dict[str, Any], size: int) -> dict[str, Any]:
    """Photographs of a batch as uint8 (n, 3, size, size), with their keys."""
    from PIL import Image
    from timm.data import create_transform

    from overlap.process import be_single_threaded

    be_single_threaded()
    transform = create_transform((3, size, size), interpolation="bicubic", crop_pct=0.875, use_prefetcher=True)
    images = [np.asarray(transform(Image.open(io.BytesIO(each)).convert("RGB"))) for each in batch["jpg"]]
    return {"key": batch["__key__"], "image": np.stack(images)}


class Models:
    """All the models, in one actor."""

    def __init__(self, networks: Sequence[tuple[str, dict[str, Any], Path]]) -> None:
        import timm
        import torch
        from safetensors.torch import load_file

        from overlap.process import be_single_threaded

        be_single_threaded()
        self._models = {}
        for name, arguments, weights in networks:
            self._models[name] = timm.create_model(name, num_classes=10, **arguments).eval()
            self._models[name].load_state_dict(load_file(weights))
        self._mean = torch.tensor((0.485, 0.456, 0.406)).mul(255).view(1, 3, 1, 1)
        self._std = torch.tensor((0.229, 0.224, 0.225)).mul(255).view(1, 3, 1, 1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import torch

        with torch.inference_mode():
            images = torch.from_numpy(np.array(batch["image"])).float().sub_(self._mean).div_(self._std)
            said = {name: model(images).numpy().astype(np.float16) for name, model in self._models.items()}
        return {"key": batch["key"], **said}


def run(shards: Sequence[str], networks: Sequence[tuple[str, dict[str, Any], Path]], size: int, into: Path) -> float:
    """Seconds from shards to Parquet; Ray is connected already."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    started = time.perf_counter()
    data = ray.data.read_webdataset(list(shards), decoder=None)
    data = data.map_batches(decoded, batch_size=BATCH, fn_kwargs={"size": size})
    data = data.map_batches(
        Models,
        batch_size=BATCH,
        fn_constructor_args=(list(networks),),
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.001,
    )
    data.write_parquet(str(into))
    spent = time.perf_counter() - started
    keys = [key for file in into.glob("*.parquet") for key in pq.read_table(file, columns=["key"])["key"].to_pylist()]
    held = {sample.key for uri in shards for sample in read_samples(uri)}
    assert len(keys) == len(held), f"{len(keys)} rows, not {len(held)}"
    assert set(keys) == held, "other photographs"
    return spent
