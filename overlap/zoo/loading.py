"""From a checkpoint and its weights file to a module ready to run, strictly: every tensor fits or nothing is loaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overlap.errors import CheckpointError
from overlap.zoo import factories
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.sources import source

if TYPE_CHECKING:
    import torch
    from torch import nn

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Under which of its keys a training checkpoint keeps the state dict, best first."""


def load(candidate: Candidate, weights: Path) -> nn.Module:
    """Build the module and load its weights; in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: unknown architecture, a factory that fails, an unreadable or refused file, or tensors that do
            not fit; the text names the checkpoint, the tensors and their shapes.
    """
    import torch

    try:
        module = _build(candidate)
        state = _state_dict(weights, candidate)
        _load_strictly(module, state, candidate)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint '{candidate.id}': {error}") from error.__cause__
    return module.eval().to(torch.float32).requires_grad_(False)


def _build(candidate: Candidate) -> nn.Module:
    architecture = candidate.architecture
    if architecture.source == "factory":
        return factories.build(architecture.name, architecture.arguments, architecture.search_path)
    try:
        return source(architecture.source).build(architecture.name, candidate.classes, architecture.arguments)
    except CheckpointError:
        raise
    except Exception as error:  # libraries raise anything for arguments they cannot take
        raise CheckpointError(
            f"{architecture.source} cannot build '{architecture.name}' with {architecture.arguments}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _state_dict(path: Path, candidate: Candidate) -> dict[str, torch.Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        magic = file.read(2)
    try:
        if magic == b"PK" or magic[:1] == b"\x80":  # a zip of tensors, or the pickle of older torch versions
            loaded = torch.load(path, map_location="cpu", weights_only=not candidate.allow_pickle)
        else:
            loaded = load_file(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"weights {candidate.weights} hold more than tensors and were refused ({str(error).splitlines()[0]}); "
            "set allow_pickle = true for this checkpoint only if you trust who made the file"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"weights {candidate.weights} cannot be read ({str(error).splitlines()[0]}); "
            "the file is truncated or no safetensors / torch file"
        ) from None
    return _unwrapped(loaded, candidate)


def _unwrapped(loaded: Any, candidate: Candidate) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise CheckpointError(f"weights {candidate.weights} hold no state dict")
    return {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}


def _load_strictly(module: nn.Module, state: dict[str, torch.Tensor], candidate: Candidate) -> None:
    expected = module.state_dict()
    missing = sorted(set(expected) - set(state))
    foreign = sorted(set(state) - set(expected))
    misshapen = [
        f"{name} is {tuple(state[name].shape)} in the file, {tuple(expected[name].shape)} in the module"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    complaints = [
        _some("missing", missing),
        _some("not in the module", foreign),
        _some("of another shape", misshapen),
    ]
    if any(complaints):
        raise CheckpointError(
            f"weights {candidate.weights} do not fit {candidate.architecture.name}: "
            f"{'; '.join(filter(None, complaints))}; check architecture, arguments and classes ({candidate.classes})"
        )
    module.load_state_dict(state, strict=True)


def _some(what: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {what}: {', '.join(names[:3])}{rest}"
