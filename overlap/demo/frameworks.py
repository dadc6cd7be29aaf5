"""Frameworks: objectives by which a network becomes a classifier of the training images.

Every framework changes the network in place and draws all random numbers from torch's global generator, which the
caller seeds. Guarantees nothing about accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from overlap.demo.recipes import HyperParameters

DISTILLATION_TEMPERATURE: Final = 4.0
DISTILLATION_WEIGHT: Final = 0.9
"""Share of the loss that the teacher's logits have; the labels have the rest."""


@dataclass(frozen=True)
class Task:
    """What a framework is given beside the network."""

    images: Tensor
    """Normalised training images (n, 3, size, size) float32."""
    labels: Tensor
    """Their classes (n,) int64."""
    black: float
    """What a black pixel is after normalisation: the background of every digit."""
    pixel: int
    """How many input pixels wide a pixel of the 8x8 original is."""
    hyper: HyperParameters
    teacher: nn.Module | None = None
    """Frozen, in evaluation mode."""


Framework = Callable[[nn.Module, Task], None]


def supervised(model: nn.Module, task: Task) -> None:
    """Cross-entropy on the labels."""

    def loss(chosen: Tensor) -> Tensor:
        logits = model(shifted(task.images[chosen], task, task.hyper.shift))
        return functional.cross_entropy(logits, task.labels[chosen], label_smoothing=task.hyper.label_smoothing)

    model.train()
    descend(model.parameters(), loss, task, task.hyper.steps)


def distilled(model: nn.Module, task: Task) -> None:
    """Knowledge distillation (Hinton, Vinyals, Dean 2015) on randomly shifted images, which the teacher sees too."""
    teacher = task.teacher
    if teacher is None:
        raise ValueError("distillation needs a teacher")

    def loss(chosen: Tensor) -> Tensor:
        images = shifted(task.images[chosen], task, 1)
        with torch.no_grad():
            taught = functional.log_softmax(teacher(images) / DISTILLATION_TEMPERATURE, dim=1)
        logits = model(images)
        learned = functional.log_softmax(logits / DISTILLATION_TEMPERATURE, dim=1)
        imitation = functional.kl_div(learned, taught, reduction="batchmean", log_target=True)
        truth = functional.cross_entropy(logits, task.labels[chosen])
        return DISTILLATION_WEIGHT * DISTILLATION_TEMPERATURE**2 * imitation + (1 - DISTILLATION_WEIGHT) * truth

    model.train()
    descend(model.parameters(), loss, task, task.hyper.steps)


def descend(parameters: Iterable[nn.Parameter], loss: Callable[[Tensor], Tensor], task: Task, steps: int) -> None:
    """Minimise a loss over mini-batches.

    Args:
        parameters: what is changed.
        loss: from the numbers (batch,) int64 of the images chosen for a step to a scalar.
        task: its hyper-parameters set optimiser, peak learning rate and batch.
        steps: how many.
    """
    hyper = task.hyper
    optimizer: torch.optim.Optimizer
    if hyper.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, hyper.learning_rate, weight_decay=hyper.weight_decay, fused=True)
    elif hyper.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            parameters, hyper.learning_rate, momentum=0.9, weight_decay=hyper.weight_decay, fused=True
        )
    else:
        raise ValueError(f"unknown optimiser '{hyper.optimizer}'")
    waiting = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        if len(waiting) < hyper.batch:
            waiting = torch.randperm(len(task.images))
        chosen, waiting = waiting[: hyper.batch], waiting[hyper.batch :]
        for group in optimizer.param_groups:
            group["lr"] = hyper.learning_rate * _schedule(step / steps)
        optimizer.zero_grad(set_to_none=True)
        loss(chosen).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def shifted(images: Tensor, task: Task, reach: int) -> Tensor:
    """Each image moved by up to `reach` pixels of the original in both directions, over a black background."""
    if reach == 0:
        return images
    margin = reach * task.pixel
    count, _, height, width = images.shape
    padded = functional.pad(images, (margin, margin, margin, margin), value=task.black)
    rows = torch.randint(0, 2 * reach + 1, (count, 1)) * task.pixel + torch.arange(height)
    columns = torch.randint(0, 2 * reach + 1, (count, 1)) * task.pixel + torch.arange(width)
    numbers = torch.arange(count)
    moved: Tensor = padded[numbers[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


def _schedule(progress: float) -> float:
    """Share of the peak learning rate: linear warm-up over the first tenth, then a cosine to zero."""
    if progress < 0.1:
        return 0.1 + 9 * progress
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


OBJECTIVES: Final[Mapping[str, Framework]] = {"supervised": supervised, "distilled": distilled}
"""Frameworks that train encoder and head together, by their name on the framework axis."""
