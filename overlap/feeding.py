"""Pixels on their way to a device: the next batch is copied while one is computed on.

Guarantees: batches arrive in the order in which they were given, whole and unchanged. On a CPU a batch is a copy. On a
GPU it goes through one of two buffers of pinned memory and a stream of its own; the host is at most two batches ahead
of the device, so that memory on it does not grow with the number of batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

AHEAD = 2
"""Batches that the host may have under way."""


class Feed:
    """Brings uint8 batches to one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._pinned: list[torch.Tensor] = []
        self._used: list[torch.cuda.Event] = []
        self._given = 0

    def bring(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Bring a batch; what was asked of the device before may still be running.

        Args:
            pixels: uint8, shape (images, height, width, 3); may be read-only, and may change after this returned.

        Returns:
            uint8, the same shape, on the device.
        """
        if self._stream is None:
            return torch.from_numpy(pixels.copy())
        slot = self._given % AHEAD
        if self._given:  # what the device was given until now includes the use of the batch before
            self._used[(self._given - 1) % AHEAD].record(torch.cuda.current_stream(self._device))
        if len(self._used) <= slot:
            self._pinned.append(torch.empty(0, dtype=torch.uint8, pin_memory=True))
            self._used.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
        self._used[slot].synchronize()
        if self._pinned[slot].numel() < pixels.size:
            self._pinned[slot] = torch.empty(pixels.size, dtype=torch.uint8, pin_memory=True)
        held = self._pinned[slot][: pixels.size].view(pixels.shape)
        np.copyto(held.numpy(), pixels)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            batch = held.to(self._device, non_blocking=True)
        computing.wait_stream(self._stream)
        batch.record_stream(computing)
        self._given += 1
        return batch


def filled(pixels: NDArray[np.uint8], images: int) -> NDArray[np.uint8]:
    """A batch of so many images: those given, then the last of them again and again."""
    if len(pixels) >= images:
        return pixels
    return np.concatenate([pixels, np.repeat(pixels[-1:], images - len(pixels), axis=0)])
