"""Training of one recipe: a pure function of the recipe and its images, one thread, seeded.

Guarantees: on one machine the same recipe gives the same bytes, in whatever process and order; a checkpoint appears
whole or not at all, and its record after it; what is current is not trained again. The process's random numbers, thread
count and determinism flag are as before afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor, nn

from overlap.demo import nets, recipes
from overlap.demo.checkpoints import is_trained, recipe_digest, record, record_path, weights_path
from overlap.demo.data import evaluation_folder, read_shards, training_folder
from overlap.demo.frameworks import OBJECTIVES, Framework, Task
from overlap.demo.pretraining import PRETRAINING
from overlap.demo.recipes import MEAN, STD, Recipe
from overlap.errors import StoreError
from overlap.identity import canonical_json

FRAMEWORKS: dict[str, Framework] = {**OBJECTIVES, **PRETRAINING}
"""All frameworks by their name on the framework axis."""


def train(recipe: Recipe, folder: Path) -> Path:
    """Train a recipe, or keep the checkpoint that is there.

    Args:
        recipe: the recipes it needs must have been trained into the same folder.
        folder: the demo's folder, with its images prepared.

    Returns:
        Its safetensors file: a state dict that loads strictly into what the study file names.

    Raises:
        DataError: the images were not prepared.
        CheckpointError: a checkpoint that the recipe needs is not there.
        StoreError: the folder cannot be written.
    """
    path = weights_path(recipe, folder)
    if is_trained(recipe, folder):
        return path
    recipe_digest(recipe, folder)  # says what is missing before any work is done
    start = time.perf_counter()
    with _reproducible(recipe.seed):
        model = _fitted(recipe, folder)
    _write(recipe, folder, model, time.perf_counter() - start)
    return path


def load(recipe: Recipe, folder: Path) -> nn.Module:
    """A trained recipe's network, frozen and in evaluation mode."""
    from safetensors.torch import load_file

    model = build(recipe)
    model.load_state_dict(load_file(weights_path(recipe, folder)), strict=True)
    return model.eval().requires_grad_(False)


def build(recipe: Recipe) -> nn.Module:
    """A recipe's network with fresh weights from torch's global generator."""
    net = recipe.net
    if net.factory is not None:
        owner, _, method = net.factory.partition(":")[2].partition(".")
        model: nn.Module = getattr(getattr(nets, owner), method)(**recipe.arguments())
    else:
        import timm

        model = timm.create_model(str(net.source).partition(":")[2], num_classes=10, **recipe.arguments())
    if recipe.hyper.initialisation == "orthogonal":
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.orthogonal_(parameter)
    return model


def accuracy(recipe: Recipe, folder: Path) -> float:
    """Share of the evaluation images that a trained recipe gets right, by the preprocessing it was trained with."""
    labelled = read_shards(evaluation_folder(folder))
    with _reproducible(recipe.seed), torch.no_grad():
        logits = load(recipe, folder)(tensor(labelled.images, recipe))
    return float((logits.argmax(dim=1) == torch.tensor(labelled.labels)).double().mean())


def tensor(images: tuple[Image, ...], recipe: Recipe) -> Tensor:
    """Images (RGB, square) as the recipe's network sees them: (n, 3, size, size) float32, normalised."""
    size, resampling = recipe.net.size, Resampling[recipe.net.interpolation.upper()]
    pixels = np.stack([np.asarray(image.resize((size, size), resampling)) for image in images])
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32) / 255
    return ((scaled - MEAN) / STD).contiguous()


def _fitted(recipe: Recipe, folder: Path) -> nn.Module:
    labelled = read_shards(training_folder(folder, recipe.dataset))
    task = Task(
        images=tensor(labelled.images, recipe),
        labels=torch.tensor(labelled.labels),
        black=-MEAN / STD,
        pixel=recipe.net.size // 8,
        hyper=recipe.hyper,
        teacher=None if recipe.teacher is None else load(recipes.recipe(recipe.teacher), folder),
    )
    parent = None if recipe.parent is None else load(recipes.recipe(recipe.parent), folder)
    model = build(recipe) if parent is None else parent.requires_grad_(True)
    FRAMEWORKS[recipe.framework](model, task)
    return model.eval()


def _write(recipe: Recipe, folder: Path, model: nn.Module, seconds: float) -> None:
    from safetensors.torch import save

    state = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    try:
        _replace(weights_path(recipe, folder), save(state))
        _replace(record_path(recipe, folder), canonical_json(record(recipe, folder, seconds)))
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}); free space or name another folder") from None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
