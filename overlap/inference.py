"""Checkpoints over decoded batches, on one device.

Guarantees: logits come from the numeric mode the checkpoint's fingerprint names (TF32 off unless it says otherwise,
classifier in float32 always); rows are those of the pixels, in order; the split into forward passes depends only on
the batch size, so that the same machine gives the same bits again. Memory: as many checkpoints as fit the given bytes
stay resident, least recently used out first; a batch that does not fit the device is halved.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from overlap.errors import CheckpointError
from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Checkpoint, Numeric
from overlap.zoo.loading import load
from overlap.zoo.weights import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDIT = 64
"""Leading images of a shard on which a reduced numeric mode is compared with float32."""


@dataclass(frozen=True)
class Inference:
    """What one checkpoint said of one batch of pixels."""

    logits: NDArray[np.float32]
    """Shape (images, classes)."""
    seconds: float
    """Wall time of the forward passes, without loading the weights."""
    batch_size: int
    """Images per forward pass that the device could hold."""
    audit: tuple[int, ...] = ()
    """Float32 arg-maxes of the leading images, where the mode is a reduced one."""


class Predictor:
    """One device with the checkpoints that are resident on it."""

    def __init__(self, objects: Objects, device: str, resident_bytes: int) -> None:
        self._objects = objects
        self._device = torch.device(device)
        self._limit = resident_bytes
        self._resident: OrderedDict[str, tuple[nn.Module, int]] = OrderedDict()
        self._batch_sizes: dict[str, int] = {}

    def predict(self, checkpoint: Checkpoint, pixels: NDArray[np.uint8], batch_size: int) -> Inference:
        """Run a checkpoint over prepared images.

        Args:
            checkpoint: what to run; loaded first if it is not resident.
            pixels: uint8, shape (images, height, width, 3); may be read-only.
            batch_size: images per forward pass.

        Raises:
            CheckpointError: it cannot be loaded, raises, runs out of memory with one image, or returns anything but
                (images, classes).
        """
        module = self._module(checkpoint)
        started = time.perf_counter()
        logits, used = self._forward_all(checkpoint, checkpoint.candidate.numeric, module, pixels, batch_size)
        seconds = time.perf_counter() - started
        audit: tuple[int, ...] = ()
        if not checkpoint.candidate.numeric.exact:
            exact, _ = self._forward_all(checkpoint, Numeric(), module, pixels[:AUDIT], batch_size)
            audit = tuple(int(row) for row in exact.astype("<f2").argmax(1))
        return Inference(logits, seconds, used, audit)

    def _module(self, checkpoint: Checkpoint) -> nn.Module:
        if checkpoint.fingerprint in self._resident:
            self._resident.move_to_end(checkpoint.fingerprint)
            return self._resident[checkpoint.fingerprint][0]
        while (
            self._resident and sum(size for _, size in self._resident.values()) + checkpoint.weights_bytes > self._limit
        ):
            self._resident.popitem(last=False)
        module = load(checkpoint.candidate, fetch(checkpoint.weights_digest, self._objects)).to(self._device)
        _keep_classifier_exact(module)
        self._resident[checkpoint.fingerprint] = (module, checkpoint.weights_bytes)
        return module

    def _forward_all(
        self, checkpoint: Checkpoint, numeric: Numeric, module: nn.Module, pixels: NDArray[np.uint8], batch_size: int
    ) -> tuple[NDArray[np.float32], int]:
        size = min(batch_size, self._batch_sizes.get(checkpoint.fingerprint, batch_size))
        logits = np.empty((len(pixels), checkpoint.candidate.classes), np.float32)
        start = 0
        while start < len(pixels):
            try:
                logits[start : start + size] = self._forward(checkpoint, numeric, module, pixels[start : start + size])
                start += size
            except torch.OutOfMemoryError:
                if size == 1:
                    raise CheckpointError(
                        f"checkpoint '{checkpoint.id}': one image does not fit the memory of {self._device}; "
                        "use a larger GPU or leave it out"
                    ) from None
                size = self._batch_sizes[checkpoint.fingerprint] = max(1, size // 2)
                torch.cuda.empty_cache()
        return logits, size

    def _forward(
        self, checkpoint: Checkpoint, numeric: Numeric, module: nn.Module, pixels: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        preprocessing = checkpoint.preprocessing
        mean = torch.tensor(preprocessing.mean, device=self._device).mul_(255).view(1, 3, 1, 1)
        std = torch.tensor(preprocessing.std, device=self._device).mul_(255).view(1, 3, 1, 1)
        with torch.inference_mode(), _mode(numeric, self._device):
            batch = torch.from_numpy(pixels.copy()).to(self._device).permute(0, 3, 1, 2).contiguous().float()
            try:
                output = module(batch.sub_(mean).div_(std))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # a user's module may raise anything; it must not take its neighbours down
                raise CheckpointError(
                    f"checkpoint '{checkpoint.id}': forward raised {type(error).__name__}: {str(error).splitlines()[0]}"
                ) from error
        expected = (len(pixels), checkpoint.candidate.classes)
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise CheckpointError(f"checkpoint '{checkpoint.id}' returned {shape}, not logits of shape {expected}")
        return output.float().cpu().numpy()


@contextmanager
def _mode(numeric: Numeric, device: torch.device) -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = numeric.tf32
    torch.backends.cudnn.allow_tf32 = numeric.tf32
    if numeric.autocast:
        with torch.autocast(device.type, dtype=getattr(torch, numeric.dtype)):
            yield
    else:
        yield


def _keep_classifier_exact(module: nn.Module) -> None:
    """Run the classifier in float32 whatever autocast says around it."""
    for classifier in _classifiers(module):
        exact: Callable[[torch.Tensor], Any] = classifier.forward

        def forward(features: torch.Tensor, exact: Callable[[torch.Tensor], Any] = exact) -> Any:
            with torch.autocast(features.device.type, enabled=False):
                return exact(features.float())

        classifier.forward = forward


def _classifiers(module: nn.Module) -> list[nn.Module]:
    if hasattr(module, "get_classifier"):  # timm's word for it; distilled models have two
        found: Any = module.get_classifier()  # type: ignore[operator]
        return [part for part in (found if isinstance(found, tuple) else (found,)) if isinstance(part, nn.Module)]
    linear: list[nn.Module] = [part for part in module.modules() if isinstance(part, nn.Linear)]
    return linear[-1:]
