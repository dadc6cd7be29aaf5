"""A small study of a hundred classes: noisy patterns, networks of random features with heads by least squares."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from overlap.images.packing import Sample, pack
from tests import small_nets
from tests.small_study import DATA, ROOT, Entry, SmallStudy, net

CLASSES, IMAGES, SHARDS = 100, 1200, 3


def pictures(images: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, 8, 8, 3) and their classes: a fixed pattern of each class under noise."""
    patterns = np.random.default_rng(0).integers(60, 196, (CLASSES, 8, 8, 3))
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, images)
    pixels = patterns[labels] + random.normal(0, noise, (images, 8, 8, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def entries(models: int = 4) -> list[Entry]:
    found = [net(f"net-{seed}", seed, width=24 + 8 * (seed % 2), classes=CLASSES) for seed in range(models)]
    for entry in found:
        entry["training"]["architecture"] = f"width {entry['arguments']['width']}"
    return found


def save(folder: Path, entry: Entry) -> None:
    torch.manual_seed(entry["training"]["seed"])
    module = small_nets.Net.build(entry["arguments"]["width"], CLASSES)
    torch.nn.init.normal_(module.hidden.weight, std=0.3)
    pixels, labels = pictures(4000, 1, 60)
    with torch.no_grad():
        inputs = torch.tensor(pixels).permute(0, 3, 1, 2).float().div(255).sub(0.5).div(0.25)
        features = torch.relu(module.hidden(module.pool(inputs).flatten(1)))
        features = torch.cat([features, torch.ones(len(features), 1)], 1).double()
        wanted = torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).double()
        found = torch.linalg.solve(features.T @ features + torch.eye(features.shape[1]), features.T @ wanted)
        module.head.weight.data, module.head.bias.data = found[:-1].T.float() * 12, found[-1].float() * 12
    path = folder / entry["weights"]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)


def make(folder: Path, **predict: object) -> SmallStudy:
    """The study, with these keys under [predict]."""
    sections = {"tracking": {"uri": "none"}, DATA: {"classes": CLASSES}, "predict": predict}
    study = SmallStudy(folder, entries(), sections)
    samples = []
    for number, (pixels, label) in enumerate(zip(*pictures(IMAGES, 2, 60), strict=True)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        samples.append(Sample(f"image-{number:04d}", file.getvalue(), "png", int(label)))
    pack(samples, folder / "data", prefix="part", shards=SHARDS)
    shutil.copy(ROOT / "tests" / "small_nets.py", folder)
    for entry in study.entries:
        save(folder, entry)
    study.write()
    return study
