"""What one image costs a checkpoint, known before anything runs: floating-point operations, parameters, memory.

Counted on the meta device, where tensors have shapes and no numbers, for architectures of the libraries; a factory's
code is not run to be costed. Where nothing was counted, operations are guessed from the size of the weights. Memory is
a lower bound: weights, the largest module's input and output, and what the device's libraries take for themselves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from overlap.identity import canonical_json, digest
from overlap.store import memo
from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Candidate, Checkpoint
from overlap.zoo.sources import SOURCES, source

GUESS = 300
"""Operations for a parameter of an image of 224 by 224: ResNet-50 has 320, ViT-B/16 400, EfficientNet-B0 150."""
PIXELS = 224 * 224
SCHEMA = 1
"""Version of what is remembered."""
BYTES = 4
"""Of a float32 number."""
RESERVED = 1 << 29
"""Bytes that CUDA's context and libraries take of a GPU before the first tensor."""
BUDGET = 5.0
"""Seconds that one plan spends on counting; what is left over is counted by the next."""


@dataclass(frozen=True)
class Cost:
    """Of one image."""

    flops: float
    """Floating-point operations; a multiplication and an addition are two."""
    parameters: int
    activation_bytes: int
    """Input and output of the module where they are the largest, in float32; a lower bound of what is held at once."""
    counted: bool
    """Whether the operations were counted; else they are guessed from the parameters."""

    @property
    def least_bytes(self) -> int:
        """Device memory without which not even one image can be run."""
        return BYTES * self.parameters + self.activation_bytes + RESERVED


def guess(checkpoint: Checkpoint) -> Cost:
    """From the size of the weights file alone, taken for float32."""
    parameters = checkpoint.weights_bytes // BYTES
    pixels = checkpoint.preprocessing.bytes_per_image // 3
    return Cost(GUESS * parameters * pixels / PIXELS, parameters, 3 * pixels * BYTES, counted=False)


def count(candidate: Candidate) -> Cost | None:
    """Count one architecture on the meta device; None where it cannot be built or run there."""
    import torch
    from torch import Tensor, nn
    from torch.utils.flop_counter import FlopCounterMode

    architecture = candidate.architecture
    largest = 0

    def look(module: nn.Module, given: tuple[object, ...], made: object) -> None:
        nonlocal largest
        held = sum(tensor.numel() for tensor in (*given, made) if isinstance(tensor, Tensor))
        largest = max(largest, held * BYTES)

    try:
        with torch.device("meta"), torch.inference_mode():
            module = source(architecture.source).build(architecture.name, candidate.classes, architecture.arguments)
            for part in module.eval().modules():
                part.register_forward_hook(look)
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(1, 3, *candidate.preprocessing.input_size))
    except (Exception, SystemExit):  # some architectures compute with numbers, which meta tensors lack
        return None
    parameters = sum(tensor.numel() for tensor in module.parameters())
    return Cost(float(counter.get_total_flops()), parameters, largest, counted=True)


def costs(checkpoints: Sequence[Checkpoint], objects: Objects, budget: float = BUDGET) -> dict[str, Cost]:
    """By fingerprint what one image costs: as counted before, else counted now as far as the budget goes, else guessed.

    Args:
        checkpoints: to be costed, those first that are to be counted first.
        objects: the store, which remembers what was counted, one object for each version of the libraries.
        budget: seconds for counting.
    """
    library = [one for one in checkpoints if one.candidate.architecture.source in SOURCES]
    questions = {one.fingerprint: _question(one.candidate) for one in library}
    place = memo.key("costs", [SCHEMA, *(source(name).version() for name in SOURCES)]) if library else ""
    known: dict[str, dict[str, Any] | None] = (memo.recall(place, objects) if library else None) or {}
    before, end = len(known), time.monotonic() + budget
    for one in library:
        question = questions[one.fingerprint]
        if question not in known and time.monotonic() < end:
            counted = count(one.candidate)
            known[question] = None if counted is None else asdict(counted)
    if len(known) > before:
        memo.remember(place, known, objects)
    found: dict[str, Cost] = {}
    for one in checkpoints:
        told = known.get(questions.get(one.fingerprint, ""))
        found[one.fingerprint] = guess(one) if told is None else Cost(**told)
    return found


def _question(candidate: Candidate) -> str:
    """Digest of what decides the cost."""
    fields = {**candidate.architecture.identity(), "name": candidate.architecture.name.partition(".")[0]}
    return digest(canonical_json([fields, candidate.classes, list(candidate.preprocessing.input_size)]))[:32]
