"""Numeric modes of a forward pass: what is in force inside, and that the classifier is float32 in all of them.

Guarantees: nothing that a user's module set before (TF32, autotuning, reduced precision on the CPU) has a say inside a
mode, and everything is as it was after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from overlap.zoo.numeric import Numeric


@contextmanager
def in_force(numeric: Numeric, device: torch.device) -> Iterator[None]:
    """Run what is inside in a numeric mode, with repeatable algorithms."""
    backends: Any = torch.backends
    on_gpu = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    on_cpu = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)
    # One by one: the older switches (allow_tf32) leave convolutions in TF32 where the general one says so.
    precision = [(each, "tf32" if numeric.tf32 else "ieee") for each in on_gpu] + [(each, "ieee") for each in on_cpu]
    before = [each.fp32_precision for each, _ in precision]
    tuned, repeatable = backends.cudnn.benchmark, backends.cudnn.deterministic
    try:
        for each, wanted in precision:
            each.fp32_precision = wanted
        backends.cudnn.benchmark, backends.cudnn.deterministic = False, True
        with torch.autocast(device.type, getattr(torch, numeric.dtype), enabled=numeric.autocast):
            yield
    finally:
        for (each, _), was in zip(precision, before, strict=True):
            each.fp32_precision = was
        backends.cudnn.benchmark, backends.cudnn.deterministic = tuned, repeatable


def keep_classifier_exact(module: nn.Module, classes: int) -> None:
    """Run the classifier in float32 whatever autocast says around it."""
    for classifier in named_classifiers(module) or layers_of(module, classes):
        classifier.forward = _in_float32(classifier.forward)


def _in_float32(exact: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's forward pass, in float32; held in a closure, as torch's compiler keeps default arguments for ever."""

    def forward(features: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor | Any:
        with torch.autocast(features.device.type, enabled=False):
            return exact(features.float(), *rest, **named)

    return forward


def named_classifiers(module: nn.Module) -> list[nn.Module]:
    """The layers that a module itself says make its logits, as timm's do (distilled ones have two); else none."""
    if not hasattr(module, "get_classifier"):
        return []
    found: Any = module.get_classifier()  # type: ignore[operator]
    several = isinstance(found, tuple | list | nn.ModuleList)
    named = [part for part in (found if several else (found,)) if part is not None]
    return named if all(isinstance(part, nn.Module) for part in named) else []


def layers_of(module: nn.Module, outputs: int) -> list[nn.Module]:
    """All linear and convolutional layers of so many outputs."""
    return [
        part
        for part in module.modules()
        if (isinstance(part, nn.Linear) and part.out_features == outputs)
        or (isinstance(part, nn.Conv2d) and part.out_channels == outputs)
    ]
