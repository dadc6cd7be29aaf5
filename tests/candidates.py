"""Checkpoints for tests: real architectures with seeded random weights, in files such as people keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from overlap.identity import digest_file
from overlap.store import Objects
from overlap.zoo.checkpoint import Architecture, Candidate, Checkpoint
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing
from overlap.zoo.sources import source
from overlap.zoo.weights import stage

torch.set_num_threads(1)  # as workers have it; two that wait for each other on a busy machine are slower than one


def timm_candidate(name: str, weights: Path, *, classes: int = 10, dtype: str = "float32", **changes: Any) -> Candidate:
    preprocessing = source("timm").preprocessing(name)
    return Candidate(
        id=changes.pop("id", name),
        architecture=Architecture("timm", name, changes.pop("arguments", {})),
        preprocessing=changes.pop("preprocessing", preprocessing),
        numeric=Numeric.of(dtype),
        classes=classes,
        weights=str(weights),
        **changes,
    )


def factory_candidate(
    folder: Path,
    factory: str,
    weights: Path,
    *,
    size: int = 8,
    classes: int = 3,
    dtype: str = "float32",
    **changes: Any,
) -> Candidate:
    return Candidate(
        id=changes.pop("id", "mine"),
        architecture=Architecture("factory", factory, changes.pop("arguments", {}), "f" * 64, str(folder)),
        preprocessing=Preprocessing((size, size), crop_pct=1.0, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        numeric=Numeric.of(dtype),
        classes=classes,
        weights=str(weights),
        **changes,
    )


def timm_module(name: str, *, classes: int = 10, seed: int = 0, **arguments: Any) -> nn.Module:
    """A timm model that does not answer the same to every image, in evaluation mode."""
    import timm

    torch.manual_seed(seed)
    module: nn.Module = timm.create_model(name, num_classes=classes, **arguments).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
        for label, buffer in module.named_buffers():
            if label.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            if label.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return module


def saved(module: nn.Module, path: Path) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in module.state_dict().items()}, path)
    return path


def staged(candidate: Candidate, objects: Objects) -> Checkpoint:
    """The checkpoint, its weights in the store."""
    found = stage(candidate.weights, objects)
    assert found.digest == digest_file(Path(candidate.weights))
    return Checkpoint(candidate, found.digest, found.bytes)
