"""Checkpoints over decoded batches, on one device.

Guarantees: logits come from the numeric mode the checkpoint's fingerprint names (TF32 off unless it says otherwise,
classifier in float32 always); rows are those of the pixels, in order; the split into forward passes depends only on
the batch size (and on what the device can hold), so that the same machine gives the same bits again. Memory: as many
checkpoints as fit the given bytes stay resident (see `residents`), with the one that is wanted next brought beside them
(see `ahead`); where the device runs out of memory, first the others leave it, then the batch is halved.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from overlap.ahead import Ahead, State
from overlap.batch_sizes import BatchSizes
from overlap.errors import CheckpointError, gist
from overlap.feeding import Feed, filled
from overlap.penultimate import NoFeatures, Tap
from overlap.precision import in_force, keep_classifier_exact
from overlap.residents import Resident, Residents
from overlap.store.objects import Objects
from overlap.zoo.checkpoint import Checkpoint
from overlap.zoo.loading import load
from overlap.zoo.numeric import Numeric
from overlap.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from overlap.compiled import Compiled

BATCH_SIZES = {"cuda": 128, "cpu": 16}
"""Images per forward pass by kind of device, where the study does not say; more than this leaves a CPU's caches."""

AUDIT = 64
"""Leading images of a shard on which a reduced numeric mode is compared with float32."""


@dataclass(frozen=True)
class Inference:
    """What one checkpoint said of one batch of pixels."""

    logits: NDArray[np.float32]
    """Shape (images, classes)."""
    seconds: float
    """Wall time of the forward passes, without loading the weights and without compiling."""
    batch_size: int
    """Images per forward pass that the device could hold."""
    audit: tuple[int, ...] = ()
    """Float32 arg-maxes of the leading images, where the mode is a reduced one."""
    features: NDArray[np.float32] | None = None
    """Shape (images, D): penultimate features, of a checkpoint of which they are wanted."""


class Predictor:
    """One device with the checkpoints that are resident on it."""

    def __init__(self, objects: Objects, device: str, resident_bytes: int, ahead_bytes: int = 0) -> None:
        """Nothing is resident yet.

        Args:
            objects: where weights are.
            device: `cpu` or `cuda`.
            resident_bytes: of the checkpoints that stay on the device.
            ahead_bytes: of host memory for the one that is prepared, where the device is no CPU; on a CPU it counts
                among the resident ones.
        """
        self._device = torch.device(device)
        self._feed = Feed(self._device)
        self._resident = Residents(resident_bytes)
        host_limit = None if self._device.type == "cpu" else ahead_bytes
        self.ahead = Ahead(objects, self._built, self._resident, host_limit)
        """What is brought for the checkpoint after this one; another thread may have it bring."""
        self._batch_sizes: dict[str, int] = {}
        name, memory = self._device.type, 0
        if self._device.type == "cuda":
            name, memory = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[1]
        self._remembered = BatchSizes(objects, name, memory)

    @property
    def resident(self) -> tuple[str, ...]:
        """Fingerprints of the checkpoints that need not be loaded, the one used last at the end."""
        return tuple(self._resident)

    def predict(self, checkpoint: Checkpoint, pixels: NDArray[np.uint8], batch_size: int | None = None) -> Inference:
        """Run a checkpoint over prepared images.

        Args:
            checkpoint: what to run; loaded first if it is not resident.
            pixels: uint8, shape (images, height, width, 3); may be read-only.
            batch_size: images per forward pass; that of `BATCH_SIZES` without it.

        Raises:
            CheckpointError: it cannot be loaded or compiled, raises, runs out of memory with one image, returns
                anything but (images, classes of its head), or has no features that can be found where they are wanted.
        """
        held = self._held(checkpoint)
        compiled_before = held.compiled.seconds if held.compiled else 0.0
        started = time.perf_counter()
        batch_size = batch_size or BATCH_SIZES[self._device.type]
        logits, features, used = self._forward_all(checkpoint, held, pixels, batch_size)
        seconds = time.perf_counter() - started
        if held.compiled is not None:
            seconds -= held.compiled.seconds - compiled_before
        audit: tuple[int, ...] = ()
        if not checkpoint.candidate.numeric.exact:
            plain = held._replace(tap=None, compiled=None)
            exact, _, _ = self._forward_all(checkpoint, plain, pixels[:AUDIT], batch_size, Numeric())
            audit = tuple(int(row) for row in exact.astype("<f2").argmax(1))
        return Inference(logits, seconds, used, audit, features)

    def _held(self, checkpoint: Checkpoint) -> Resident:
        if (resident := self._resident.use(checkpoint.fingerprint)) is not None:
            return resident
        with self.ahead.turn(checkpoint) as module:
            return self._taken_in(checkpoint, module)

    def _built(self, checkpoint: Checkpoint, weights: Path | State) -> nn.Module:
        module = load(checkpoint.candidate, weights)
        if self._is_channels_last(checkpoint.candidate.numeric):
            return module.to(memory_format=torch.channels_last)
        return module

    def _taken_in(self, checkpoint: Checkpoint, module: nn.Module) -> Resident:
        tensors = (*module.parameters(), *module.buffers())
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.ahead.make_room(size)  # again: a file of half precision takes twice its size
        try:
            module = self._moved(module)
        except torch.OutOfMemoryError:
            raise self._too_small(checkpoint, "its weights do") from None
        keep_classifier_exact(module, checkpoint.candidate.classes)
        tap = None
        if checkpoint.candidate.features is not None:
            try:
                tap = Tap(module, checkpoint.candidate.classes, checkpoint.candidate.features)
            except NoFeatures as error:
                raise self._without_features(checkpoint, error) from None
        compiled: Compiled | None = None
        if checkpoint.candidate.numeric.compiled:
            from overlap.compiled import Compiled  # the compiler takes seconds to import

            compiled = Compiled(checkpoint.id, module, tap, self._device)
        return self._resident.add(checkpoint.fingerprint, Resident(module, size, tap, compiled))

    def _moved(self, module: nn.Module) -> nn.Module:
        try:
            return module.to(self._device)
        except torch.OutOfMemoryError:
            self._resident.leave()
        return module.to(self._device)

    def _too_small(self, checkpoint: Checkpoint, what: str) -> CheckpointError:
        return CheckpointError(
            f"checkpoint '{checkpoint.id}': {what} not fit the memory of {self._device}; "
            "use a larger GPU or leave it out"
        )

    def _without_features(self, checkpoint: Checkpoint, why: NoFeatures) -> CheckpointError:
        return CheckpointError(
            f"checkpoint '{checkpoint.id}' has no penultimate features: {why}; name the layer that makes its logits "
            '(features = "LAYER" beside its id), or leave its features out (features = false)'
        )

    def _forward_all(
        self,
        checkpoint: Checkpoint,
        held: Resident,
        pixels: NDArray[np.uint8],
        batch_size: int,
        numeric: Numeric | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, int]:
        found_before = self._batch_sizes.get(checkpoint.fingerprint) or self._remembered.recall(checkpoint.candidate)
        size = tried = min(batch_size, found_before or batch_size)
        numeric = numeric or checkpoint.candidate.numeric
        scale = self._scale(checkpoint.preprocessing)
        network = held.compiled or held.module
        catch = held.tap and (held.compiled or held.tap)
        on_gpu = self._device.type == "cuda"
        logits = torch.empty((len(pixels), checkpoint.candidate.outputs), pin_memory=on_gpu)
        features: list[NDArray[np.float32]] = []
        start = 0
        while start < len(pixels):
            some = pixels[start : start + size]
            try:
                found = self._forward(
                    checkpoint, numeric, network, some if network is held.module else filled(some, size), scale
                )[: len(some)]
                if catch is not None:
                    features.append(catch.taken(len(some)).cpu().numpy())
            except torch.OutOfMemoryError:
                found = None
            except NoFeatures as error:
                raise self._without_features(checkpoint, error) from None
            if found is not None:
                logits[start : start + size].copy_(found, non_blocking=True)
                start += size
            elif not self._resident.leave(checkpoint.fingerprint):  # not in the handler: the error holds what was large
                if size == 1:
                    raise self._too_small(checkpoint, "one image does")
                size = self._batch_sizes[checkpoint.fingerprint] = size // 2
        if size < tried:
            self._remembered.remember(checkpoint.candidate, size)
        if on_gpu:
            torch.cuda.synchronize(self._device)  # until here the host only said what to do
        return logits.numpy(), np.concatenate(features) if features else None, size

    def _scale(self, preprocessing: Preprocessing) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of pixels from 0 to 255; made once for many batches, as making them waits."""
        mean, std = (torch.tensor(each, device=self._device) for each in (preprocessing.mean, preprocessing.std))
        return mean.mul_(255).view(1, 3, 1, 1), std.mul_(255).view(1, 3, 1, 1)

    def _forward(
        self,
        checkpoint: Checkpoint,
        numeric: Numeric,
        network: nn.Module | Compiled,
        pixels: NDArray[np.uint8],
        scale: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        mean, std = scale
        # CUDA graphs are recorded with tensors that are none of inference mode.
        without_gradients = torch.inference_mode() if isinstance(network, nn.Module) else torch.no_grad()
        with without_gradients, in_force(numeric, self._device):
            batch = self._feed.bring(pixels).permute(0, 3, 1, 2)  # which is channels_last as it comes
            batch = (batch if self._is_channels_last(numeric) else batch.contiguous()).float()
            try:
                output = network(batch.sub_(mean).div_(std))
            except (torch.OutOfMemoryError, torch.AcceleratorError, CheckpointError, NoFeatures):
                raise
            except Exception as error:  # a user's module may raise anything; it must not take its neighbours down
                raise CheckpointError(f"checkpoint '{checkpoint.id}': forward raised {gist(error)}") from error
        expected = (len(pixels), checkpoint.candidate.classes)
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != expected:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise CheckpointError(f"checkpoint '{checkpoint.id}' returned {shape}, not logits of shape {expected}")
        if output.dtype in (torch.bfloat16, torch.float16):
            raise CheckpointError(
                f"checkpoint '{checkpoint.id}' makes its logits in {str(output.dtype).removeprefix('torch.')}, and "
                'none of its layers could be kept in float32; set predict.dtype = "float32"'
            )
        mapped = checkpoint.candidate.class_map
        return output.float() if mapped is None else mapped.apply(output.float())

    def _is_channels_last(self, numeric: Numeric) -> bool:
        """Whether convolutions see channels last: on a GPU, where the mode has them run on its tensor cores."""
        return self._device.type == "cuda" and numeric.autocast
