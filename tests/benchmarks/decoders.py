"""Pillow's and torchvision's decoder, their speed and what they do to predictions: python -m tests.benchmarks.decoders

Networks trained on ImageNet cannot be had without a hub, so small ones are trained here on real photographs: which one
a crop is of, and from which part of it, as Pillow decodes it. Crops near the edge of two parts are close calls, as in
any data. Reported are the predictions that the other decoder turns over, and how consistent a network is with itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional

from overlap.analysis.pairs import pairs_table
from overlap.process import be_single_threaded
from overlap.zoo.decoders import open_image
from overlap.zoo.preprocessing import Preprocessing
from tests.analysis.zoo import pair_counts
from tests.benchmarks.comparison import Comparison, Found, Said, Spread
from tests.benchmarks.options import Options
from tests.benchmarks.photographs import QUALITY, SIZE
from tests.benchmarks.table import Row, show
from tests.photographs import encoded

GRID = (4, 3)
"""Parts of a photograph, across and down: 24 classes of two photographs."""
SEEN = Preprocessing((96, 96), crop_pct=0.95)
TIMED = Preprocessing((224, 224))
NETWORKS = ("mobilenetv3_small_050", "test_efficientnet", "test_resnet")
ROUNDS = 5


def crops(count: int, seed: int) -> tuple[list[bytes], np.ndarray]:
    """JPEGs of ImageNet's size, and their classes."""
    random = np.random.default_rng(seed)
    sources = [Image.fromarray(array) for array in load_sample_images().images]
    images, labels = [], np.empty(count, np.int64)
    for number in range(count):
        source = sources[number % len(sources)]
        scale = random.uniform(0.3, 0.5)
        width, height = int(source.width * scale), int(source.height * scale)
        left, top = random.integers(source.width - width), random.integers(source.height - height)
        column = int(left * GRID[0] / (source.width - width))
        row = int(top * GRID[1] / (source.height - height))
        labels[number] = (number % len(sources) * GRID[1] + row) * GRID[0] + column
        crop = source.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
        images.append(encoded(crop, quality=QUALITY))
    return images, labels


def pixels(images: list[bytes], preprocessing: Preprocessing) -> np.ndarray:
    transform = preprocessing.transform()
    return np.stack([transform(open_image(image, preprocessing.decoder)) for image in images])


def tensor(batch: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def trained(name: str, batch: np.ndarray, labels: np.ndarray, epochs: int) -> nn.Module:
    """A network that tells the classes apart; from a fixed seed."""
    torch.manual_seed(0)
    sizes = {"img_size": SEEN.input_size[0]} if "vit" in name else {}
    network: nn.Module = timm.create_model(name, num_classes=2 * GRID[0] * GRID[1], **sizes)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    steps = epochs * (len(labels) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps)
    targets = torch.from_numpy(labels)
    for _ in range(epochs):
        for some in torch.randperm(len(labels))[: len(labels) // 64 * 64].split(64):
            loss = functional.cross_entropy(network(tensor(batch[some.numpy()])), targets[some])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def predictions(network: nn.Module, batch: np.ndarray) -> np.ndarray:
    """(n,) classes."""
    return np.concatenate(
        [network(tensor(part)).argmax(1).numpy() for part in np.array_split(batch, -(-len(batch) // 64))]
    )


def rate(images: list[bytes], preprocessing: Preprocessing) -> float:
    """Images per second of one thread."""
    transform = preprocessing.transform()
    start = time.perf_counter()
    for image in images:
        transform(open_image(image, preprocessing.decoder))
    return len(images) / (time.perf_counter() - start)


def measure(test: int, train: int, epochs: int) -> tuple[list[tuple[float, float]], dict[str, list[Row]]]:
    """Images per second by Pillow and torchvision in each round, and the rows of both tables by title."""
    be_single_threaded()
    images, labels = crops(test, seed=1)
    timed, faster = images[:200], replace(TIMED, decoder="torchvision")
    speeds = [(rate(timed, TIMED), rate(timed, faster)) for _ in range(ROUNDS)]
    apart = np.abs(pixels(timed, TIMED).astype(int) - pixels(timed, faster))
    rows = [
        Row("pillow, one thread", [exact for exact, _ in speeds], "images/s"),
        Row("torchvision, one thread", [other for _, other in speeds], "images/s"),
        Row("torchvision / pillow", [other / exact for exact, other in speeds], "x"),
        Row("difference of a value, mean", [float(apart.mean())], "levels"),
        Row("difference of a value, largest", [float(apart.max())], "levels"),
    ]
    tables = {f"decode, resize and crop to {TIMED.input_size[0]}, medians of {ROUNDS}": rows}

    exact, other = (pixels(images, one) for one in (SEEN, replace(SEEN, decoder="torchvision")))
    seen = crops(train, seed=0)
    batch = pixels(seen[0], SEEN)
    torch.set_num_threads(2)
    networks = [trained(name, batch, seen[1], epochs) for name in NETWORKS]
    said = [[predictions(network, one) for one in (exact, other)] for network in networks]
    own = [pairs_table(["a", "b"], pair_counts(np.stack(pair), labels)) for pair in said]
    between = pairs_table(list(NETWORKS), pair_counts(np.stack([pair[0] for pair in said]), labels))
    tables[f"{len(NETWORKS)} networks, {test:,} photographs: {', '.join(NETWORKS)}"] = [
        Row("accuracy with pillow", [float((pair[0] == labels).mean()) for pair in said], ""),
        Row("accuracy with torchvision", [float((pair[1] == labels).mean()) for pair in said], ""),
        Row("top-1 turned over by the decoder", [100 * float((a != b).mean()) for a, b in said], "%"),
        Row("error inconsistency with itself", [100 * table["error_inconsistency"][0] for table in own], "%"),
        Row("kappa with itself", [table["kappa"][0] for table in own], ""),
        Row("error inconsistency between two", [100 * each for each in between["error_inconsistency"]], "%"),
        Row("kappa between two", between["kappa"].to_list(), ""),
    ]
    return speeds, tables


def compared(options: Options) -> Iterator[Found]:
    """Rows of one of 1,000 photographs by both decoders, and what the faster one does to predictions."""
    speeds, tables = measure(*((200, 128, 1) if options.quick else (4000, 2000, 8)))
    ours, theirs = ([1000 / speed[place] for speed in speeds] for place in (1, 0))
    what = f'1,000 photographs, decoder = "torchvision", input {TIMED.input_size[0]}, one thread'
    yield Comparison("decoders", what, ours, 'decoder = "pillow"', "the default, exactly timm's pixels", theirs)
    for title, rows in list(tables.items())[1:]:
        for row in rows:
            values = [value for value in row.values if value is not None]
            if values:
                spread = Spread.of(values)
                told = f"{spread.show()} {row.unit}".rstrip()
                yield Said("decoders", f"{row.name}; {title}", told, {"median": spread.median})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--train", type=int, default=2000, help="crops that networks are trained on")
    parser.add_argument("--test", type=int, default=4000, help="crops that predictions are compared on")
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    for title, rows in measure(asked.test, asked.train, asked.epochs)[1].items():
        show(title, rows)


if __name__ == "__main__":
    main()
