"""From a checkpoint and its weights file to a module ready to run, strictly: every tensor fits or nothing is loaded.

Guarantees: in one process, one module is built at a time; what it draws from torch's generator while it is built, and
keeps elsewhere than in its state, is the same whatever was built before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from overlap.errors import CheckpointError, gist
from overlap.zoo import factories
from overlap.zoo.checkpoint import Candidate
from overlap.zoo.sources import source
from overlap.zoo.state_dicts import read_state_dict, without_prefixes

if TYPE_CHECKING:
    import torch
    from torch import nn

COUNTER = ".num_batches_tracked"
"""Counts training steps, changes nothing in evaluation, and is absent from files of the first torch versions."""
_ALONE = threading.RLock()
"""Held while a module is built: libraries and users' factories need not be safe for threads."""


def load(candidate: Candidate, weights: Path | dict[str, torch.Tensor]) -> nn.Module:
    """Build the module and load its weights; in evaluation mode, float32, on the CPU.

    Args:
        candidate: what to build.
        weights: the file, or the tensors that `read_state_dict` found in it.

    Raises:
        CheckpointError: unknown architecture, a factory that fails, an unreadable or refused file, or tensors that do
            not fit; the text names the checkpoint, the tensors and their shapes.
    """
    import torch

    try:
        with _ALONE, _same_draws():
            module = _build(candidate).to(torch.float32)  # before loading: half a module would round what is loaded
        state = weights if isinstance(weights, dict) else _read(candidate, weights)
        _load_strictly(module, state, candidate)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint '{candidate.id}': {error}") from error.__cause__
    return module.eval().requires_grad_(False)


@contextmanager
def _same_draws() -> Iterator[None]:
    """Seed torch's generator, and leave it as it was."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        yield


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
            f"{architecture.source} cannot build '{architecture.name}' with {architecture.arguments}: {gist(error)}"
        ) from error


def _read(candidate: Candidate, weights: Path) -> dict[str, torch.Tensor]:
    return read_state_dict(weights, candidate.weights, allow_pickle=candidate.allow_pickle)


def _load_strictly(module: nn.Module, state: dict[str, torch.Tensor], candidate: Candidate) -> None:
    expected = module.state_dict()
    state = without_prefixes(state, expected)
    state = {name: tensor for name, tensor in expected.items() if name.endswith(COUNTER)} | state
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
